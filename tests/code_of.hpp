/// \file code_of.hpp  The code of the negood::error that an action throws, or "no error".
#pragma once

#include <negood/error.hpp>

#include <string>

template <class Action>
std::string code_of(Action&& action) {
  try {
    action();
  } catch (const negood::error& e) {
    return e.code();
  }
  return "no error";
}
