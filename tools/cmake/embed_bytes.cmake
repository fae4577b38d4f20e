# The script behind olx_embed: writes the bytes of FILES into the source file OUT. No tool but CMake is needed.
set(source "// Made by tools/cmake/embed_bytes.cmake.\n#include <string_view>\n\nnamespace ${NAMESPACE} {\n")
foreach(file ${FILES})
  get_filename_component(variable ${file} NAME)
  string(MAKE_C_IDENTIFIER ${variable} variable)
  file(READ ${file} hex HEX)
  string(LENGTH "${hex}" n_digits)
  math(EXPR n_bytes "${n_digits} / 2")
  # Numbers, not a string literal: those have a length limit in some compilers and escapes of their own.
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
  string(APPEND source "namespace {\nconst unsigned char kBytes_${variable}[] = {\n${bytes}0};\n}\n"
                       "extern const std::string_view k_${variable};\n"
                       "const std::string_view k_${variable}(reinterpret_cast<const char*>(kBytes_${variable}), ${n_bytes});\n")
endforeach()
file(WRITE ${OUT} "${source}}  // namespace ${NAMESPACE}\n")
