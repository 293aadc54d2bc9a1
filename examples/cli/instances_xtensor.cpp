#if NEGOOD_CLI_XTENSOR
#define NEGOOD_CLI_DEFINES_INSTANCES
#include "instances.hpp"

NEGOOD_CLI_INSTANCES(, negood::xtensor::context<float>)
#endif
