#include "engine/file_type.h"

#include <cstdio>
#include <map>

namespace olx::engine {

std::string parameter_size_text(int64_t n_parameters) {
  const auto n = static_cast<double>(n_parameters);
  char text[32];
  if (n_parameters >= 1'000'000'000) {
    std::snprintf(text, sizeof text, "%.1fB", n / 1e9);
  } else if (n_parameters >= 1'000'000) {
    std::snprintf(text, sizeof text, "%.2fM", n / 1e6);
  } else if (n_parameters >= 1'000) {
    std::snprintf(text, sizeof text, "%lldK", static_cast<long long>(n_parameters / 1000));
  } else {
    std::snprintf(text, sizeof text, "%lld", static_cast<long long>(n_parameters));
  }
  // "8.0B" is written "8B", "137.00M" is "137M".
  std::string out = text;
  const size_t dot = out.find('.');
  if (dot != std::string::npos && out.find_first_not_of('0', dot + 1) == out.size() - 1) out.erase(dot, out.size() - 1 - dot);
  return out;
}

std::string file_type_text(const gguf::GgufFile& file) {
  // general.file_type: the GGUF specification's list.
  static const std::map<uint64_t, const char*> kNames{
      {0, "F32"},    {1, "F16"},    {2, "Q4_0"},   {3, "Q4_1"},   {7, "Q8_0"},    {8, "Q5_0"},    {9, "Q5_1"},
      {10, "Q2_K"},  {11, "Q3_K_S"}, {12, "Q3_K_M"}, {13, "Q3_K_L"}, {14, "Q4_K_S"}, {15, "Q4_K_M"}, {16, "Q5_K_S"},
      {17, "Q5_K_M"}, {18, "Q6_K"},  {21, "Q2_K_S"}, {25, "IQ4_NL"}, {30, "IQ4_XS"}, {32, "BF16"},  {38, "MXFP4"}};
  if (const gguf::Value* value = file.find("general.file_type")) {
    const auto known = kNames.find(value->as_uint("general.file_type"));
    if (known != kNames.end()) return known->second;
  }
  std::map<gguf::DType, uint64_t> bytes;
  for (const gguf::TensorInfo& tensor : file.tensors()) bytes[tensor.dtype] += tensor.size_bytes;
  std::string name = "unknown";
  uint64_t most = 0;
  for (const auto& [dtype, size_bytes] : bytes)
    if (size_bytes > most) {
      most = size_bytes;
      name = gguf::dtype_info(dtype).name;
    }
  return name;
}

}  // namespace olx::engine
