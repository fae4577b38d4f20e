#pragma once
// Files of bench/ that are part of the program (olx_embed, see CMakeLists.txt). Used by
// peer_bench.cpp.
#include <string_view>

namespace olx::bench {

extern const std::string_view k_llama_cpp_python_py;  // bench/peers/llama_cpp_python.py

}  // namespace olx::bench
