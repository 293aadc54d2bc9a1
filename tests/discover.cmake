# Read by ctest: one entry per test case of `program` (Catch2 2.x), whatever characters its name has.
#
# Catch2's own script splits the names as a CMake list, where a lone bracket in a name swallows the names after it.
# Set before: program, label, directory, environment, listing (a file that this writes).

cmake_minimum_required(VERSION 3.25)

if(NOT EXISTS "${program}")
  add_test("${label}_NOT_BUILT" "${label}_NOT_BUILT")
  return()
endif()
if("${program}" IS_NEWER_THAN "${listing}" OR "${CMAKE_CURRENT_LIST_FILE}" IS_NEWER_THAN "${listing}")
  execute_process(
    COMMAND "${program}" --list-test-names-only
    OUTPUT_VARIABLE rest
    ERROR_VARIABLE errors
    RESULT_VARIABLE count # Catch2 2.x exits with the number of test cases
  )
  set(script "")
  set(found 0)
  while(NOT rest STREQUAL "")
    string(FIND "${rest}" "\n" end)
    if(end EQUAL -1)
      set(line "${rest}")
      set(rest "")
    else()
      string(SUBSTRING "${rest}" 0 ${end} line)
      math(EXPR end "${end} + 1")
      string(SUBSTRING "${rest}" ${end} -1 rest)
    endif()
    if(line STREQUAL "")
      continue()
    endif()
    math(EXPR found "${found} + 1")
    # What Catch2 reads as syntax in the names it is asked for.
    string(REGEX REPLACE "([\\,[])" "\\\\\\1" pattern "${line}")
    string(
      APPEND
      script
      "add_test([==[${line}]==] [==[${program}]==] --warn NoTests [==[${pattern}]==])\n"
      "set_tests_properties([==[${line}]==] PROPERTIES WORKING_DIRECTORY [==[${directory}]==] LABELS [==[${label}]==]"
      " ENVIRONMENT [==[${environment}]==])\n")
  endwhile()
  if(found EQUAL 0)
    # A program that cannot even list its tests fails as one.
    set(script "add_test([==[${label}_LISTS_NO_TESTS]==] [==[${program}]==] --warn NoTests)\n")
    message(STATUS "${program} lists no tests (${count}): ${errors}")
  endif()
  file(WRITE "${listing}" "${script}")
endif()
include("${listing}")
