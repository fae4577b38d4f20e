#include "server/api/options.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <variant>

#include "server/http/api_error.h"
#include "server/json/duration.h"
#include "server/json/json.h"

namespace olx::server {
namespace {

namespace json = boost::json;

using Sampling = engine::SamplingOptions;

// Known, checked, and of no effect here.
enum class Ignored { kBoolean };

using Place = std::variant<int RequestOptions::*, int Sampling::*, float Sampling::*, int64_t Sampling::*,
                           std::vector<std::string> RequestOptions::*,
                           std::optional<std::string> RequestOptions::*, Ignored>;

struct OptionRow {
  std::string_view name;
  Place place;
};

const OptionRow kOptions[] = {
    {"num_ctx", &RequestOptions::num_ctx},
    {"num_batch", &RequestOptions::num_batch},
    {"num_thread", &RequestOptions::num_thread},
    {"num_gpu", &RequestOptions::num_gpu},
    {"main_gpu", &RequestOptions::main_gpu},
    {"num_predict", &RequestOptions::num_predict},
    {"num_keep", &RequestOptions::num_keep},
    {"draft_num_predict", &RequestOptions::draft_num_predict},
    {"draft", &RequestOptions::draft},
    {"stop", &RequestOptions::stop},
    {"seed", &Sampling::seed},
    {"top_k", &Sampling::top_k},
    {"repeat_last_n", &Sampling::repeat_last_n},
    {"mirostat", &Sampling::mirostat},
    {"temperature", &Sampling::temperature},
    {"top_p", &Sampling::top_p},
    {"min_p", &Sampling::min_p},
    {"typical_p", &Sampling::typical_p},
    {"repeat_penalty", &Sampling::repeat_penalty},
    {"presence_penalty", &Sampling::presence_penalty},
    {"frequency_penalty", &Sampling::frequency_penalty},
    {"mirostat_tau", &Sampling::mirostat_tau},
    {"mirostat_eta", &Sampling::mirostat_eta},
    {"use_mmap", Ignored::kBoolean},
};

[[noreturn]] void wrong_type(std::string_view name, const char* wanted) {
  throw ApiError(500, "option \"" + std::string(name) + "\" must be " + wanted);
}

int64_t whole(std::string_view name, const json::value& value, int64_t lowest, int64_t highest) {
  if (!value.is_number()) wrong_type(name, "of type integer");
  const double number = value.is_double() ? value.get_double() : value.to_number<double>();
  if (!(number >= static_cast<double>(lowest))) return lowest;
  if (number >= static_cast<double>(highest)) return highest;
  return value.is_int64() ? value.get_int64() : static_cast<int64_t>(number);
}

void set(const OptionRow& row, const json::value& value, RequestOptions& options) {
  if (value.is_null()) return;
  if (const auto* place = std::get_if<int RequestOptions::*>(&row.place)) {
    options.**place = static_cast<int>(whole(row.name, value, INT32_MIN, INT32_MAX));
  } else if (const auto* place = std::get_if<int Sampling::*>(&row.place)) {
    options.sampling.**place = static_cast<int>(whole(row.name, value, INT32_MIN, INT32_MAX));
  } else if (const auto* place = std::get_if<int64_t Sampling::*>(&row.place)) {
    options.sampling.**place = whole(row.name, value, INT64_MIN, INT64_MAX);
  } else if (const auto* place = std::get_if<float Sampling::*>(&row.place)) {
    if (!value.is_number()) wrong_type(row.name, "of type float32");
    const auto number = static_cast<float>(value.to_number<double>());
    if (!std::isfinite(number)) wrong_type(row.name, "of type float32");
    options.sampling.**place = number;
  } else if (const auto* place = std::get_if<std::vector<std::string> RequestOptions::*>(&row.place)) {
    if (!value.is_array()) wrong_type(row.name, "of type array");
    std::vector<std::string> texts;
    for (const json::value& element : value.get_array()) {
      if (!element.is_string()) wrong_type(row.name, "of an array of strings");
      texts.emplace_back(element.get_string());
    }
    options.**place = std::move(texts);
  } else if (const auto* place = std::get_if<std::optional<std::string> RequestOptions::*>(&row.place)) {
    if (!value.is_string()) wrong_type(row.name, "of type string");
    options.**place = std::string(value.get_string());
  } else if (!value.is_bool()) {  // Ignored::kBoolean
    wrong_type(row.name, "of type boolean");
  }
}

}  // namespace

RequestOptions merge_options(const ServerOptions& server, const Parameters& model, const json::object* given) {
  RequestOptions options;
  const auto apply = [&](std::string_view name, const json::value& value) {
    for (const OptionRow& row : kOptions)
      if (row.name == name) return set(row, value, options);
  };
  for (const auto& [name, value] : model) apply(name, to_json(value));
  if (given != nullptr)
    for (const auto& member : *given) apply(member.key(), member.value());
  if (options.num_ctx <= 0) options.num_ctx = server.n_ctx;
  options.num_ctx = std::max(options.num_ctx, 4);
  options.num_batch = std::clamp(options.num_batch, 1, 4096);
  options.num_gpu = std::max(options.num_gpu, -1);
  options.main_gpu = std::max(options.main_gpu, -1);
  options.num_thread = std::clamp(options.num_thread, 0, 1024);
  return options;
}

std::optional<int64_t> parse_keep_alive(const json::value* value) {
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (value->is_number()) {
    const double seconds = value->to_number<double>();
    if (seconds < 0) return -1;
    return seconds > 9e9 ? INT64_MAX : static_cast<int64_t>(seconds * 1e9);
  }
  if (!value->is_string()) throw ApiError(400, "Unsupported type: '" + std::string(json::to_string(value->kind())) + "'");
  int64_t nanoseconds = 0;
  const std::string error = parse_go_duration(value->get_string(), nanoseconds);
  if (!error.empty()) throw ApiError(400, error);
  return nanoseconds < 0 ? -1 : nanoseconds;
}

}  // namespace olx::server
