# Installed as negood-eigen-dependencies.cmake. Set NEGOOD_ONEDNN to OFF before find_package(negood) to do without oneDNN.

set(negood_dependencies "Eigen3 3.4" Threads)

function(negood_complete_eigen)
  if(DEFINED NEGOOD_ONEDNN AND NOT NEGOOD_ONEDNN)
    return()
  endif()
  include("${negood_DIR}/NegoodOneDNN.cmake")
  if(TARGET negood_onednn::dnnl)
    target_link_libraries(negood::eigen INTERFACE negood_onednn::dnnl)
  endif()
endfunction()
