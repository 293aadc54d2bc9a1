/// \file further_backends.hpp  The backends of NEGOOD_CLI_BACKENDS, which CMake turns into NEGOOD_CLI_<NAME>.
#pragma once

#if defined(NEGOOD_CLI_TORCH)
#include <negood/backend/torch.hpp>
#endif
#if defined(NEGOOD_CLI_THRUST)
#include <negood/backend/thrust_omp.hpp>
#endif
#if defined(NEGOOD_CLI_XTENSOR)
#include <negood/backend/xtensor.hpp>
#endif
