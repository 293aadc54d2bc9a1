#if NEGOOD_CLI_THRUST
#define NEGOOD_CLI_DEFINES_INSTANCES
#include "instances.hpp"

NEGOOD_CLI_INSTANCES(, negood::thrust_omp::context<float>)
#endif
