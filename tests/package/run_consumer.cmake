# Configures CONSUMER in WORK_DIR. With EXPECT empty it must build and its programs must run; else configuring must fail
# with that sentence.

cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${WORK_DIR}")
execute_process(
  COMMAND
    "${CMAKE_COMMAND}" -S "${CONSUMER}" -B "${WORK_DIR}" -G "${GENERATOR}" -D "CMAKE_CXX_COMPILER=${COMPILER}" -D
    "CMAKE_PREFIX_PATH=${PREFIX}" -D "NEGOOD_CHECKOUT=${SOURCE_DIR}" -D "NEGOOD_WANTED_VERSION=${VERSION}" -D
    "NEGOOD_BACKENDS=${BACKENDS}"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if(EXPECT)
  if(result EQUAL 0)
    message(FATAL_ERROR "configuring ${CONSUMER} must fail and say: ${EXPECT}\n${output}")
  endif()
  # CMake wraps long messages: compare with single blanks.
  string(REGEX REPLACE "[ \t\r\n]+" " " flat "${output}")
  string(FIND "${flat}" "${EXPECT}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "configuring ${CONSUMER} failed, but did not say: ${EXPECT}\nIt said:\n${output}")
  endif()
  return()
endif()

if(NOT result EQUAL 0)
  message(FATAL_ERROR "configuring ${CONSUMER} failed:\n${output}")
endif()
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build "${WORK_DIR}"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "building ${CONSUMER} failed:\n${output}")
endif()
file(GLOB programs "${WORK_DIR}/consumer_*")
list(FILTER programs EXCLUDE REGEX "_autogen|\\.dir$")
if(NOT programs)
  message(FATAL_ERROR "${CONSUMER} built no program")
endif()
foreach(program IN LISTS programs)
  execute_process(COMMAND "${program}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
