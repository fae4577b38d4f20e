#pragma once
// Files of bench/ that are part of the program (olx_embed, see CMakeLists.txt). Used by
// peer_bench.cpp, model_shape.cpp and html_report.cpp.
#include <string_view>

namespace olx::bench {

extern const std::string_view k_llama_cpp_python_py;  // bench/peers/llama_cpp_python.py
extern const std::string_view k_report_css;           // bench/report.css
extern const std::string_view k_llama_1_1b_txt;       // bench/shapes/llama-1.1b.txt
extern const std::string_view k_mistral_7b_txt;       // bench/shapes/mistral-7b.txt

}  // namespace olx::bench
