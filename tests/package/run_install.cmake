# Installs COMPONENTS of BUILD_DIR somewhere, moves the result to PREFIX, and looks for paths that must not be in it.

cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${PREFIX}" "${PREFIX}.staged")
foreach(component IN LISTS COMPONENTS)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${PREFIX}.staged" --component negood_${component}
    COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
endforeach()
file(RENAME "${PREFIX}.staged" "${PREFIX}")

file(GLOB_RECURSE installed "${PREFIX}/*")
file(GLOB_RECURSE files "${PREFIX}/*.cmake")
if(NOT installed)
  message(FATAL_ERROR "nothing was installed into ${PREFIX}")
endif()
foreach(file IN LISTS files)
  file(READ "${file}" text)
  foreach(path IN ITEMS "${BUILD_DIR}" "${SOURCE_DIR}" "${PREFIX}.staged" "/usr/lib/x86_64-linux-gnu")
    string(FIND "${text}" "${path}" position)
    if(NOT position EQUAL -1)
      message(SEND_ERROR "${file} names a path of this machine: ${path}")
    endif()
  endforeach()
endforeach()
