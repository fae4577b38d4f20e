# What every target of this project has in common, said once.

add_library(olx_options INTERFACE)
target_include_directories(olx_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(olx_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers)
# No fused multiply-add is invented by the compiler: results do not depend on the flags of a file.
target_compile_options(olx_options INTERFACE -ffp-contract=off)
if(OLLAMAX_WERROR)
  target_compile_options(olx_options INTERFACE -Werror)
endif()
if(OLLAMAX_SANITIZE)
  target_compile_options(olx_options INTERFACE -fsanitize=${OLLAMAX_SANITIZE} -fno-sanitize-recover=all
                                               -fno-omit-frame-pointer)
  target_link_options(olx_options INTERFACE -fsanitize=${OLLAMAX_SANITIZE})
  foreach(sanitizer address thread)  # sources ask for what GCC defines; clang 14 does not
    string(TOUPPER ${sanitizer} name)
    if(OLLAMAX_SANITIZE MATCHES ${sanitizer} AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_definitions(olx_options INTERFACE __SANITIZE_${name}__=1)
    endif()
  endforeach()
endif()

if(OLLAMAX_FUZZ)  # coverage of every library; only the fuzz targets link the driver
  target_compile_options(olx_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# olx_library(name SOURCES … [DEPENDS …] [PRIVATE_DEPENDS …])
function(olx_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC olx_options ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE_DEPENDS})
endfunction()

# What the preset `tsan` builds and runs: the tests in which threads meet.
add_custom_target(races)

# olx_test(name SOURCES … DEPENDS … [LABELS …] [APART] [RACES]): a Catch2 program whose test cases are found by ctest.
# APART: the sources use the same names for their helpers and cannot be compiled together (CMAKE_UNITY_BUILD).
# RACES: it is one of those that ThreadSanitizer watches.
function(olx_test name)
  cmake_parse_arguments(ARG "APART;RACES" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(ARG_RACES)
    add_dependencies(races ${name})
    list(APPEND ARG_LABELS races)
  endif()
  # catch_discover_tests takes no list: one label for all, which `-L fast` and `-L broken` both find in it.
  list(JOIN ARG_LABELS "-" labels)
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_APART)
    set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)
  endif()
  target_link_libraries(${name} PRIVATE olx_test_support ${ARG_DEPENDS})
  catch_discover_tests(${name} TEST_PREFIX "${name}." PROPERTIES LABELS "${labels}" TIMEOUT 1800
                       DISCOVERY_MODE PRE_TEST)
endfunction()
