# Defines the imported target negood_onednn::dnnl when oneDNN's header and library are found.
#
# oneDNN's own package file asks for OpenCL on Debian even where it is not used, so header and library are looked for.

find_path(NEGOOD_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(NEGOOD_ONEDNN_LIBRARY dnnl)
mark_as_advanced(NEGOOD_ONEDNN_INCLUDE_DIR NEGOOD_ONEDNN_LIBRARY)
if(NEGOOD_ONEDNN_INCLUDE_DIR AND NEGOOD_ONEDNN_LIBRARY AND NOT TARGET negood_onednn::dnnl)
  add_library(negood_onednn::dnnl UNKNOWN IMPORTED GLOBAL)
  set_target_properties(
    negood_onednn::dnnl
    PROPERTIES IMPORTED_LOCATION "${NEGOOD_ONEDNN_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${NEGOOD_ONEDNN_INCLUDE_DIR}"
               INTERFACE_COMPILE_DEFINITIONS NEGOOD_HAVE_ONEDNN=1)
endif()
