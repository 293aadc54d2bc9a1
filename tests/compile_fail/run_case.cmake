# cmake -D CASE=file.cpp -D COMPILER=g++ -D "FLAGS=-Iinclude" -P run_case.cmake

cmake_minimum_required(VERSION 3.25)

file(STRINGS "${CASE}" lines LIMIT_COUNT 2)
list(GET lines 0 first)
set(extra_flags "")
list(LENGTH lines length)
if(length GREATER 1)
  list(GET lines 1 second)
  if(second MATCHES "^// flags: (.*)$")
    separate_arguments(extra_flags UNIX_COMMAND "${CMAKE_MATCH_1}")
  endif()
endif()

execute_process(
  COMMAND "${COMPILER}" -std=c++20 -fsyntax-only -Wall -Wextra ${FLAGS} ${extra_flags} "${CASE}"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if(first STREQUAL "// expect-success")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${CASE} must compile, but:\n${output}")
  endif()
  return()
endif()
if(NOT first MATCHES "^// expect: (.+)$")
  message(FATAL_ERROR "${CASE}: the first line must read '// expect: SENTENCE' or '// expect-success'")
endif()
set(sentence "${CMAKE_MATCH_1}")
if(result EQUAL 0)
  message(FATAL_ERROR "${CASE} compiled; it must fail and say: ${sentence}")
endif()
string(FIND "${output}" "${sentence}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "${CASE} failed, but did not say: ${sentence}\nIt said:\n${output}")
endif()
