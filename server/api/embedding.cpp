#include "server/api/embedding.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>

namespace olx::server {
namespace {

namespace json = boost::json;

// Values of one answer: beyond it the text alone takes gigabytes.
constexpr size_t kMaxValues = size_t{1} << 25;

// Cuts a text's tokens so that they and the special ones around them fit.
std::vector<int32_t> cut_to_context(ModelHost& model, const std::string& text, std::vector<int32_t> tokens) {
  const auto n_ctx = static_cast<size_t>(model.info().n_ctx);
  const std::vector<int32_t> plain = model.tokenize(text, false, true);
  const size_t n_special = tokens.size() - std::min(tokens.size(), plain.size());
  if (n_special >= n_ctx) throw ApiError(400, "input after truncation exceeds maximum context length");
  const size_t n_cut = tokens.size() - n_ctx;
  // The special tokens stand before and after the text: what is cut is the text's own end.
  size_t n_before = 0;
  while (n_before < n_special && !std::equal(plain.begin(), plain.end(), tokens.begin() + static_cast<std::ptrdiff_t>(n_before))) ++n_before;
  const auto text_end = tokens.begin() + static_cast<std::ptrdiff_t>(std::min(n_before + plain.size(), tokens.size()));
  tokens.erase(text_end - static_cast<std::ptrdiff_t>(n_cut), text_end);
  return tokens;
}

std::vector<int32_t> tokens_of(ModelHost& model, const EmbeddingTask& task, const EmbeddingInput& input) {
  const auto n_ctx = static_cast<size_t>(model.info().n_ctx);
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
    std::vector<int32_t> tokens = *ids;
    if (tokens.size() > n_ctx && task.may_truncate) tokens.resize(n_ctx);
    return tokens;
  }
  const auto& text = std::get<std::string>(input);
  std::vector<int32_t> tokens = model.tokenize(text, true, true);
  if (tokens.size() > n_ctx && task.may_truncate) return cut_to_context(model, text, std::move(tokens));
  return tokens;
}

void cut_dimensions(std::vector<float>& vector, int64_t dimensions) {
  if (dimensions <= 0 || dimensions >= static_cast<int64_t>(vector.size())) return;
  vector.resize(static_cast<size_t>(dimensions));
  double sum = 0;
  for (float value : vector) sum += static_cast<double>(value) * static_cast<double>(value);
  if (sum <= 0) return;
  for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(sum));
}

}  // namespace

EmbeddingTask read_embedding_task(const Fields& fields) {
  EmbeddingTask task;
  task.request.model = model_text(fields.text("model").value_or(""));
  task.request.name = ModelName::parse(task.request.model);
  task.request.keep_alive_ns = parse_keep_alive(fields.find("keep_alive"));
  task.request.options = fields.object("options");
  return task;
}

EmbeddingResult run_embedding(App& app, Exchange& exchange, const EmbeddingTask& task, int error_status) {
  if (task.request.model.empty()) throw ApiError(404, "model '' not found");
  if (!task.request.name) throw ApiError(400, "invalid model name");
  if (!app.store.find(*task.request.name)) throw ApiError(404, "model \"" + task.request.model + "\" not found, try pulling it first");
  Completion loaded = start_completion(app, exchange, task.request);
  EmbeddingResult result;
  result.load_ns = loaded.load_ns;
  ModelHost& model = loaded.lease.model();
  if (task.inputs.size() > kMaxValues / static_cast<size_t>(model.info().n_embd))
    throw ApiError(400, "too many inputs: " + std::to_string(task.inputs.size()));
  try {
    engine::EmbedRequest request;
    request.is_normalized = task.is_normalized;
    for (const EmbeddingInput& input : task.inputs) {
      request.inputs.push_back(tokens_of(model, task, input));
      result.n_tokens += static_cast<int64_t>(request.inputs.back().size());
      if (exchange.is_gone()) throw ApiError(499, "request canceled");
    }
    result.vectors = model.embed(std::move(request), [&] { return exchange.is_gone(); });
  } catch (const engine::EngineError& error) {
    using Code = engine::ErrorCode;
    throw ApiError(error.code() == Code::kCancelled ? 499 : error.code() == Code::kProcessDied ? 500 : error_status, error.what());
  }
  for (std::vector<float>& vector : result.vectors) cut_dimensions(vector, task.dimensions);
  result.total_ns = steady_ns() - loaded.started_ns;
  return result;
}

json::array vector_json(const std::vector<float>& vector) {
  json::array values;
  values.reserve(vector.size());
  char text[32];
  for (const float value : vector) {
    // The double nearest to the float's shortest text prints as that text.
    const auto written = std::to_chars(text, text + sizeof text, value);
    double same = 0;
    std::from_chars(text, written.ptr, same);
    values.push_back(same);
  }
  return values;
}

}  // namespace olx::server
