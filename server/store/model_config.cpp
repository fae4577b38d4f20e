#include "server/store/model_config.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

#include "gguf/value.h"
#include "server/json/json.h"

namespace olx::server {
namespace json = boost::json;

ModelConfig parse_config(std::string_view text) {
  try {
    const json::value value = parse_json(text);
    const json::object* object = value.if_object();
    if (object == nullptr) throw JsonError("not an object");
    const Fields fields(*object, "ConfigV2");
    ModelConfig config;
    config.model_format = fields.text("model_format").value_or("");
    config.model_family = fields.text("model_family").value_or("");
    config.model_families = fields.texts("model_families");
    config.model_type = fields.text("model_type").value_or("");
    config.file_type = fields.text("file_type").value_or("");
    config.renderer = fields.text("renderer").value_or("");
    config.parser = fields.text("parser").value_or("");
    config.required_version = fields.text("requires").value_or("");
    config.capabilities = fields.texts("capabilities");
    return config;
  } catch (const JsonError& error) {
    throw gguf::FormatError(std::string("config: ") + error.what());
  }
}

std::string config_json(const ModelConfig& config) {
  const auto list = [](const std::vector<std::string>& texts) {
    json::array array;
    for (const std::string& text : texts) array.emplace_back(text);
    return array;
  };
  json::object object{{"model_format", config.model_format}, {"model_family", config.model_family}};
  object["model_families"] = config.model_families.empty() ? json::value(nullptr) : list(config.model_families);
  object["model_type"] = config.model_type;
  object["file_type"] = config.file_type;
  if (!config.renderer.empty()) object["renderer"] = config.renderer;
  if (!config.parser.empty()) object["parser"] = config.parser;
  if (!config.required_version.empty()) object["requires"] = config.required_version;
  if (!config.capabilities.empty()) object["capabilities"] = list(config.capabilities);
  // Not about this machine: the container format asks for them, and Ollama always writes these.
  object["architecture"] = "amd64";
  object["os"] = "linux";
  return go_json(object) + "\n";
}

std::string parameter_count_text(uint64_t n_parameters) {
  const auto scaled = [&](double unit, int n_decimals, char letter) {
    const double number = static_cast<double>(n_parameters) / unit;
    return fmt::format("{:.{}f}{}", number, number == std::floor(number) ? 0 : n_decimals, letter);
  };
  if (n_parameters >= 1'000'000'000) return scaled(1e9, 1, 'B');
  if (n_parameters >= 1'000'000) return scaled(1e6, 2, 'M');
  if (n_parameters >= 1'000) return scaled(1e3, 0, 'K');
  return std::to_string(n_parameters);
}

std::string_view file_type_name(uint64_t file_type) {
  // The numbers of llama.cpp's llama_ftype; those it gave up have no name here. 0 would be F32, but files without a known
  // type also say 0, and Ollama shows neither.
  struct Row {
    uint64_t file_type;
    std::string_view name;
  };
  static constexpr Row kRows[] = {
      {1, "F16"},      {2, "Q4_0"},     {3, "Q4_1"},    {7, "Q8_0"},     {8, "Q5_0"},     {9, "Q5_1"},
      {10, "Q2_K"},    {11, "Q3_K_S"},  {12, "Q3_K_M"}, {13, "Q3_K_L"},  {14, "Q4_K_S"},  {15, "Q4_K_M"},
      {16, "Q5_K_S"},  {17, "Q5_K_M"},  {18, "Q6_K"},   {19, "IQ2_XXS"}, {20, "IQ2_XS"},  {21, "Q2_K_S"},
      {22, "IQ3_XS"},  {23, "IQ3_XXS"}, {24, "IQ1_S"},  {25, "IQ4_NL"},  {26, "IQ3_S"},   {27, "IQ3_M"},
      {28, "IQ2_S"},   {29, "IQ2_M"},   {30, "IQ4_XS"}, {31, "IQ1_M"},   {32, "BF16"},    {36, "TQ1_0"},
      {37, "TQ2_0"},   {38, "MXFP4_MOE"}, {39, "NVFP4"}, {40, "Q1_0"},
  };
  for (const Row& row : kRows)
    if (row.file_type == file_type) return row.name;
  return "unknown";
}

}  // namespace olx::server
