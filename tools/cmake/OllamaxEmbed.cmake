# olx_embed(name NAMESPACE ns FILES …): a static library with the bytes of the files, remade when one of them changes.
# It defines `extern const std::string_view k_<file_name>` in `ns`, other characters as "_"; a header of the source tree
# declares what is used.

set(OLX_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_bytes.cmake)

function(olx_embed name)
  cmake_parse_arguments(ARG "" "NAMESPACE" "FILES" ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  set(inputs)
  foreach(file ${ARG_FILES})
    list(APPEND inputs ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DOUT=${source} -DNAMESPACE=${ARG_NAMESPACE} "-DFILES=${inputs}" -P ${OLX_EMBED_SCRIPT}
    DEPENDS ${inputs} ${OLX_EMBED_SCRIPT}
    VERBATIM)
  add_library(${name} STATIC ${source})
  set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)  # so that tools that read sources can pass it by
  target_link_libraries(${name} PUBLIC olx_options)
endfunction()
