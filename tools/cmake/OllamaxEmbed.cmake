# olx_embed(name NAMESPACE ns FILES …): a static library with the bytes of the files, remade when one of them changes.
# It offers "<name>.h", which declares `extern const std::string_view k_<file_name>` in `ns`, other characters as "_".

set(OLX_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_bytes.cmake)

function(olx_embed name)
  cmake_parse_arguments(ARG "" "NAMESPACE" "FILES" ${ARGN})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${name})
  set(inputs)
  foreach(file ${ARG_FILES})
    list(APPEND inputs ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  add_custom_command(
    OUTPUT ${folder}/${name}.cpp ${folder}/${name}.h
    COMMAND ${CMAKE_COMMAND} -DOUT=${folder}/${name} -DNAMESPACE=${ARG_NAMESPACE} "-DFILES=${inputs}" -P ${OLX_EMBED_SCRIPT}
    DEPENDS ${inputs} ${OLX_EMBED_SCRIPT}
    VERBATIM)
  add_library(${name} STATIC ${folder}/${name}.cpp ${folder}/${name}.h)
  target_include_directories(${name} PUBLIC ${folder})
  target_link_libraries(${name} PUBLIC olx_options)
endfunction()
