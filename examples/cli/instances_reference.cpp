#define NEGOOD_CLI_DEFINES_INSTANCES
#include "instances.hpp"

NEGOOD_CLI_INSTANCES(, negood::reference::context<double>)
