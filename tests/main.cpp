// The one translation unit that holds Catch2 2.x's runner; it takes a quarter of a minute to compile, so it is built
// once.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
