# A component is one INTERFACE target, one header set and one export set, so that each can be installed and found alone.

set_property(GLOBAL PROPERTY NEGOOD_COMPONENTS "")

# negood_find_dependencies(COMPONENT SWITCH PACKAGE...)
# Finds each package. A missing one is an error when SWITCH is ON; under AUTO it turns SWITCH off and says why.
macro(negood_find_dependencies component switch)
  foreach(package IN ITEMS ${ARGN})
    if(${switch} STREQUAL "AUTO")
      find_package(${package} QUIET)
      if(NOT ${package}_FOUND)
        message(STATUS "negood: component '${component}' is off: ${package} was not found")
        set(${switch} OFF)
        break()
      endif()
    else()
      find_package(${package} REQUIRED)
    endif()
  endforeach()
endmacro()

# negood_add_component(NAME TARGET t EXPORT_NAME e BASE_DIR d HEADERS h...)
# Makes target t with alias negood::e, and installs its headers and targets file as install component negood_NAME.
function(negood_add_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TARGET;EXPORT_NAME;BASE_DIR" "HEADERS")
  add_library(${arg_TARGET} INTERFACE)
  add_library(negood::${arg_EXPORT_NAME} ALIAS ${arg_TARGET})
  set_target_properties(${arg_TARGET} PROPERTIES EXPORT_NAME ${arg_EXPORT_NAME})
  target_sources(${arg_TARGET} INTERFACE FILE_SET HEADERS BASE_DIRS "${arg_BASE_DIR}" FILES ${arg_HEADERS})
  install(
    TARGETS ${arg_TARGET}
    EXPORT negood-${name}
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT negood_${name})
  install(
    EXPORT negood-${name}
    NAMESPACE negood::
    FILE negood-${name}-targets.cmake
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/negood"
    COMPONENT negood_${name})
  set_property(GLOBAL APPEND PROPERTY NEGOOD_COMPONENTS ${name})
  # Kept for the tests, which compile every header of every component on its own.
  set_property(GLOBAL PROPERTY NEGOOD_HEADERS_${name} "${arg_HEADERS}")
  set_property(GLOBAL PROPERTY NEGOOD_BASE_DIR_${name} "${arg_BASE_DIR}")
  set_property(GLOBAL PROPERTY NEGOOD_TARGET_${name} "${arg_TARGET}")
endfunction()

# The configuration and version files go with the core; every other component's targets file is optional beside them.
function(negood_install_package)
  include(CMakePackageConfigHelpers)
  set(destination "${CMAKE_INSTALL_LIBDIR}/cmake/negood")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/negoodConfig.cmake.in"
                                "${PROJECT_BINARY_DIR}/negoodConfig.cmake" INSTALL_DESTINATION "${destination}")
  write_basic_package_version_file(
    "${PROJECT_BINARY_DIR}/negoodConfigVersion.cmake"
    VERSION ${PROJECT_VERSION}
    COMPATIBILITY SameMinorVersion # before 1.0 a minor version may break its users
    ARCH_INDEPENDENT)
  install(
    FILES "${PROJECT_BINARY_DIR}/negoodConfig.cmake" "${PROJECT_BINARY_DIR}/negoodConfigVersion.cmake"
    DESTINATION "${destination}"
    COMPONENT negood_core)
  install(
    FILES "${PROJECT_SOURCE_DIR}/LICENSE"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/negood"
    COMPONENT negood_core)
  # The embedded model goes beside the program that reads it.
  if(EXISTS "${PROJECT_SOURCE_DIR}/models")
    install(
      DIRECTORY "${PROJECT_SOURCE_DIR}/models"
      DESTINATION "${CMAKE_INSTALL_DATADIR}/negood"
      COMPONENT negood_cli
      PATTERN recipe EXCLUDE)
  endif()
endfunction()

function(negood_print_summary)
  get_property(components GLOBAL PROPERTY NEGOOD_COMPONENTS)
  list(JOIN components " " components)
  set(extras "")
  if(NEGOOD_NATIVE)
    list(APPEND extras "-march=native")
  endif()
  if(NEGOOD_EIGEN AND NEGOOD_ONEDNN)
    list(APPEND extras "oneDNN")
  endif()
  if(NEGOOD_SANITIZE)
    list(APPEND extras "-fsanitize=${NEGOOD_SANITIZE}")
  endif()
  list(JOIN extras ", " extras)
  message(STATUS "negood ${PROJECT_VERSION}: ${components} (${CMAKE_BUILD_TYPE}; ${extras})")
endfunction()
