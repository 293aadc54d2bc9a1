/// \file catch.hpp  Catch2, whichever major version is installed. Tests include this and nothing else of Catch2.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#define NEGOOD_CATCH_VERSION 3
#else
#include <catch2/catch.hpp>
#define NEGOOD_CATCH_VERSION 2
#endif

using Catch::Approx;
