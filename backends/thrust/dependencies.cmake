# Installed as negood-thrust-dependencies.cmake. Thrust's headers and TBB are looked for on the consumer's machine.

set(negood_dependencies OpenMP)

function(negood_complete_thrust)
  include("${negood_DIR}/NegoodThrust.cmake")
  if(NOT TARGET negood_thrust_headers::thrust)
    message(FATAL_ERROR "negood: component 'thrust' needs thrust/version.h (Debian: libthrust-dev)")
  endif()
  target_link_libraries(negood::thrust INTERFACE negood_thrust_headers::thrust)
  find_package(TBB CONFIG QUIET)
  if(TBB_FOUND)
    target_link_libraries(negood::thrust INTERFACE TBB::tbb)
    target_compile_definitions(negood::thrust INTERFACE NEGOOD_HAVE_TBB=1)
  endif()
endfunction()
