// expect: negood must not be compiled with -ffast-math
// flags: -O2 -ffinite-math-only
#include <negood/config.hpp>
int main() {}
