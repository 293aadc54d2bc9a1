# negood_build_flags: how the project's own programs and tests are compiled. Never part of an exported target.

add_library(negood_build_flags INTERFACE)

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")

# For C++ alone: nvcc would not know most of these.
function(negood_cxx_flags)
  target_compile_options(negood_build_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${ARGN}>")
endfunction()

if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  negood_cxx_flags(-Wall -Wextra)
  if(NEGOOD_WERROR)
    negood_cxx_flags(-Werror)
  endif()
  if(NEGOOD_NATIVE)
    target_compile_options(negood_build_flags INTERFACE $<IF:$<COMPILE_LANGUAGE:CUDA>,-Xcompiler=-march=native,-march=native>)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 warns about its own vector intrinsics ('__Y' may be used uninitialized).
    negood_cxx_flags(-Wno-maybe-uninitialized -Wno-uninitialized)
    # It also sees copies beyond the end in inlined std::vector and std::string; the sanitizers look for real ones.
    negood_cxx_flags(-Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-restrict)
  endif()
  if(NEGOOD_SANITIZE)
    target_compile_options(negood_build_flags INTERFACE -fsanitize=${NEGOOD_SANITIZE} -fno-omit-frame-pointer
                                                        -fno-sanitize-recover=all)
    target_link_options(negood_build_flags INTERFACE -fsanitize=${NEGOOD_SANITIZE})
  endif()
endif()
