# olx_device_images(backend IMAGES architecture wave_size file …): the files, megabytes of machine code for GPUs, become a part of
# olx_kernels as they are, and `std::span<const gpu::Image> images()` in the namespace of the backend lists them. The assembler takes
# them in (.incbin): a source with a number a byte takes a compiler minutes. Call it where the files are made.
# olx_device_images(backend MISSING "why"): there are none, which is what backends.inc then says.

function(olx_device_images backend)
  cmake_parse_arguments(ARG "" "MISSING" "IMAGES" ${ARGN})
  set(includes "")
  set(declarations "")
  set(rows "")
  set(files "")
  while(ARG_IMAGES)
    list(POP_FRONT ARG_IMAGES architecture wave_size file)
    set(symbol olx_image_${backend}_${architecture})
    # A 0 byte at the end is what PTX ends with; the others do not mind.
    string(APPEND includes "    \".balign 64\\n${symbol}: .incbin \\\"${file}\\\"\\n.byte 0\\n${symbol}_end:\\n\"\n"
                           "    \".globl ${symbol}, ${symbol}_end\\n.hidden ${symbol}, ${symbol}_end\\n\"\n")
    string(APPEND declarations "extern \"C\" const std::byte ${symbol}[], ${symbol}_end[];\n")
    string(APPEND rows "      {\"${architecture}\", ${wave_size}, {${symbol}, ${symbol}_end}},\n")
    list(APPEND files ${file})
  endwhile()
  if(rows)
    set(assembly "__asm__(\n    \".pushsection .rodata.${backend}_images,\\\"a\\\",@progbits\\n\"\n${includes}    \".popsection\\n\");\n")
    set(body "  static const gpu::Image kImages[] = {\n${rows}  };\n  return kImages;\n")
    set(missing "nullptr")
  else()
    set(assembly "")
    set(body "  return {};\n")
    set(missing "\"${ARG_MISSING}\"")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/images.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
// Made by tools/cmake/OllamaxImages.cmake.
#include <cstddef>
#include <span>

#include "kernels/gpu/driver.h"

@assembly@@declarations@
namespace olx::kernels::@backend@ {
std::span<const gpu::Image> images() {
@body@}
}  // namespace olx::kernels::@backend@
]])
  # Of this folder, since the rules that make the files are.
  add_library(olx_${backend}_images OBJECT ${source})
  target_link_libraries(olx_${backend}_images PRIVATE olx_options)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "${files}")
  target_sources(olx_kernels PRIVATE $<TARGET_OBJECTS:olx_${backend}_images>)
  string(TOUPPER ${backend} upper)
  set_property(SOURCE ${CMAKE_SOURCE_DIR}/kernels/backends.cpp TARGET_DIRECTORY olx_kernels
               APPEND PROPERTY COMPILE_DEFINITIONS "OLLAMAX_${upper}_MISSING=${missing}")
endfunction()
