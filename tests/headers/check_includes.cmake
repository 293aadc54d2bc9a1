# cmake -D LIST=headers.txt -D COMPONENT=core -P check_includes.cmake
# Fails when a header of the component includes something that the component may not know.

cmake_minimum_required(VERSION 3.25)

set(standard
    algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits
    clocale cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint
    cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem forward_list fstream
    functional future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory
    memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator
    semaphore set shared_mutex span sstream stack stdexcept stop_token streambuf string string_view syncstream
    system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector
    version)

# A regular expression per component for what it may include beside the standard library and negood itself.
# (sched.h, under #ifdef __linux__, tells how many CPUs the process may use; no standard header does.)
set(allowed_core "^sched\\.h$")
set(allowed_io "^(nlohmann/.*|jpeglib\\.h|jerror\\.h|png\\.h|zlib\\.h|(sys/)?[a-z0-9_]+\\.h)$")
set(allowed_eigen "^(Eigen/.*|oneapi/dnnl/.*|immintrin\\.h|(sys/)?[a-z0-9_]+\\.h)$")
# Other backends know their own library, which the core cannot see anyway: their include roots are apart.
if(NOT DEFINED allowed_${COMPONENT})
  set(allowed_${COMPONENT} ".*")
endif()

file(STRINGS "${LIST}" headers)
set(count 0)
set(wrong 0)
foreach(header IN LISTS headers)
  math(EXPR count "${count} + 1")
  file(STRINGS "${header}" lines REGEX "^[ \t]*#[ \t]*include")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "#[ \t]*include[ \t]*<([^>]+)>")
      message(SEND_ERROR "${header}: ${line}: public headers are included as <negood/...>")
      math(EXPR wrong "${wrong} + 1")
      continue()
    endif()
    set(name "${CMAKE_MATCH_1}")
    if(name MATCHES "^negood/")
      # The core may not reach into a component that has libraries of its own.
      if(COMPONENT STREQUAL "core" AND name MATCHES "^negood/io(/|\\.hpp$)")
        message(SEND_ERROR "${header}: the core includes ${name}, which belongs to component io")
        math(EXPR wrong "${wrong} + 1")
      endif()
    elseif(NOT name IN_LIST standard AND NOT name MATCHES "${allowed_${COMPONENT}}")
      message(SEND_ERROR "${header}: component ${COMPONENT} includes <${name}>")
      math(EXPR wrong "${wrong} + 1")
    endif()
  endforeach()
endforeach()
if(count EQUAL 0)
  message(FATAL_ERROR "no headers in ${LIST}")
endif()
message(STATUS "${count} headers of component ${COMPONENT}, ${wrong} wrong includes")
