#if NEGOOD_CLI_TORCH
#define NEGOOD_CLI_DEFINES_INSTANCES
#include "instances.hpp"

NEGOOD_CLI_INSTANCES(, negood::libtorch::context<float>)
#endif
