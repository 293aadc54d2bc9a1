#if !NEGOOD_CLI_CUDA
#define NEGOOD_CLI_DEFINES_INSTANCES
#include "instances.hpp"

NEGOOD_CLI_INSTANCES(, negood::eigen::context<double>)
#endif
