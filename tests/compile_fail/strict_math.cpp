// expect-success
// flags: -O3 -fno-math-errno
#include <negood/error.hpp>
int main() {}
