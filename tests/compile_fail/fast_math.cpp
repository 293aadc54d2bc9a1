// expect: negood must not be compiled with -ffast-math
// flags: -ffast-math
#include <negood/error.hpp>
int main() {}
