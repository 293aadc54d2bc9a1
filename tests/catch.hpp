/// \file catch.hpp  Catch2, whichever major version is installed. Tests include this and nothing else of Catch2.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // Catch2 2.x offers it unqualified
#else
#include <catch2/catch.hpp>
#endif
