# Installed as negood-torch-dependencies.cmake.

set(negood_dependencies Torch Threads)

function(negood_complete_torch)
  separate_arguments(torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
  target_link_libraries(negood::torch INTERFACE ${TORCH_LIBRARIES})
  target_compile_options(negood::torch INTERFACE ${torch_flags})
  target_include_directories(negood::torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
endfunction()
