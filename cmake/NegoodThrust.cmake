# Defines the imported target negood_thrust_headers::thrust: Thrust's headers for processors.
#
# The CUDA toolkit's Thrust is taken where there is one, in every translation unit, so that sources for processors and for
# devices see the same. Without a toolkit Thrust must be told not to look for CUDA's headers; no device code can be
# compiled then, so that nothing disagrees with that macro.

find_package(CUDAToolkit QUIET)
set(negood_cuda_include_dirs "")
if(CUDAToolkit_FOUND)
  set(negood_cuda_include_dirs ${CUDAToolkit_INCLUDE_DIRS})
endif()
find_path(NEGOOD_THRUST_INCLUDE_DIR thrust/version.h HINTS ${negood_cuda_include_dirs} PATH_SUFFIXES cccl)
mark_as_advanced(NEGOOD_THRUST_INCLUDE_DIR)
if(NEGOOD_THRUST_INCLUDE_DIR AND NOT TARGET negood_thrust_headers::thrust)
  add_library(negood_thrust_headers::thrust INTERFACE IMPORTED GLOBAL)
  target_include_directories(negood_thrust_headers::thrust INTERFACE "${NEGOOD_THRUST_INCLUDE_DIR}")
  if(CUDAToolkit_FOUND)
    target_include_directories(negood_thrust_headers::thrust INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
  else()
    target_compile_definitions(negood_thrust_headers::thrust
                               INTERFACE THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP)
  endif()
endif()
