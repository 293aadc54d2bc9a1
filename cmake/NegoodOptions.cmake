# What can be switched, and what it is unless somebody says otherwise.
#
# A component is ON (an error if its libraries are missing), OFF, or AUTO (built when its libraries are found).

function(negood_component_option name default help)
  set(${name} ${default} CACHE STRING "${help} (ON, OFF or AUTO)")
  set_property(CACHE ${name} PROPERTY STRINGS ON OFF AUTO)
endfunction()

negood_component_option(NEGOOD_IO AUTO "Component io: JSON, JPEG, PNG, zip")
negood_component_option(NEGOOD_EIGEN AUTO "Component eigen: the Eigen backend")
negood_component_option(NEGOOD_ONEDNN AUTO "Products of the Eigen backend through oneDNN")
negood_component_option(NEGOOD_XTENSOR AUTO "Component xtensor: the xtensor backend")
negood_component_option(NEGOOD_TORCH OFF "Component torch: the LibTorch backend")
negood_component_option(NEGOOD_THRUST AUTO "Component thrust: the Thrust backend")
negood_component_option(NEGOOD_CUDA OFF "CUDA in the torch and thrust components")
negood_component_option(NEGOOD_CLI AUTO "The command-line program, target negood_cli")

option(NEGOOD_EXAMPLES "Build the examples and the command-line program" ${PROJECT_IS_TOP_LEVEL})
option(NEGOOD_BENCH "Build the benchmarks" OFF)
option(NEGOOD_WERROR "Warnings are errors in negood's own programs and tests" OFF)
option(NEGOOD_FUZZ "Build the libFuzzer targets (clang only)" OFF)
set(NEGOOD_SANITIZE "" CACHE STRING "Sanitizers for own programs and tests: 'address,undefined' or 'thread'")
set(NEGOOD_CLI_BACKENDS "" CACHE STRING "Backends of the program beside eigen and reference, a ;-list: xtensor thrust torch")
set(NEGOOD_TEST_AREAS "" CACHE STRING "Only these folders of tests/ (a ;-list); empty: all")

# Programs built here usually run here. A consumer decides for itself: the library's targets carry no such flag.
set(native_default ${PROJECT_IS_TOP_LEVEL})
if(CMAKE_CROSSCOMPILING)
  set(native_default OFF)
endif()
option(NEGOOD_NATIVE "Compile own programs, tests and benchmarks with -march=native" ${native_default})

if(PROJECT_IS_TOP_LEVEL)
  include(CTest) # defines BUILD_TESTING, ON by default
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
else()
  # A project that takes negood in by add_subdirectory builds its own tests, not ours.
  option(NEGOOD_BUILD_TESTING "Build negood's tests inside another project" OFF)
  set(BUILD_TESTING ${NEGOOD_BUILD_TESTING})
endif()
