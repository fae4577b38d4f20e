// POST /v1/embeddings: OpenAI's words for /api/embed.
#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <cstring>

#include "gguf/ascii.h"
#include "server/api/embedding.h"

namespace olx::server {
namespace {

namespace json = boost::json;

// A list of token ids, or nothing if one of them is none.
std::optional<std::vector<int32_t>> token_list(const json::array& list) {
  std::vector<int32_t> tokens;
  for (const json::value& id : list) {
    if (!id.is_int64()) return std::nullopt;
    tokens.push_back(static_cast<int32_t>(std::clamp<int64_t>(id.get_int64(), -1, INT32_MAX)));  // the engine refuses both ends
  }
  return tokens;
}

// A text, token ids, or a list of either.
std::vector<EmbeddingInput> read_inputs(const Fields& fields) {
  const json::value* input = fields.find("input");
  if (input == nullptr) throw ApiError(400, "invalid input");
  if (input->is_string()) return {std::string(input->get_string())};
  if (!input->is_array()) throw ApiError(400, "invalid input type");
  const json::array& list = input->get_array();
  if (list.empty()) throw ApiError(400, "invalid input");
  if (auto tokens = token_list(list)) return {std::move(*tokens)};
  std::vector<EmbeddingInput> inputs;
  for (const json::value& entry : list) {
    if (entry.is_string()) {
      inputs.emplace_back(std::string(entry.get_string()));
      continue;
    }
    auto tokens = entry.is_array() ? token_list(entry.get_array()) : std::nullopt;
    if (!tokens) throw ApiError(400, "invalid input type");
    if (tokens->empty()) throw ApiError(400, "invalid input");
    inputs.emplace_back(std::move(*tokens));
  }
  return inputs;
}

// The floats' bytes, little-endian, in base64 (RFC 4648).
std::string base64(const std::vector<float>& vector) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  for (const float value : vector)
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(std::bit_cast<uint32_t>(value) >> shift & 255);
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= n ? kLetters[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

bool is_base64(const Fields& fields) {
  const std::string given = fields.text("encoding_format").value_or("float");
  const std::string format = ascii::lower(given);
  if (format.empty() || format == "float") return false;
  if (format == "base64") return true;
  throw ApiError(400, "Invalid value for 'encoding_format' = " + given + ". Supported values: ['float', 'base64'].");
}

}  // namespace

void handle_openai_embeddings(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "EmbedRequest");
  const bool as_base64 = is_base64(fields);
  EmbeddingTask task = read_embedding_task(fields);
  task.dimensions = fields.integer("dimensions").value_or(0);
  task.inputs = read_inputs(fields);
  const EmbeddingResult result = run_embedding(app, exchange, task, 400);
  json::array data;
  for (size_t i = 0; i < result.vectors.size(); ++i) {
    json::value vector = as_base64 ? json::value(base64(result.vectors[i])) : json::value(vector_json(result.vectors[i]));
    data.push_back(json::object{{"object", "embedding"}, {"embedding", std::move(vector)}, {"index", i}});
  }
  reply(exchange, json::object{{"object", "list"},
                               {"data", std::move(data)},
                               {"model", task.request.model},
                               {"usage", json::object{{"prompt_tokens", result.n_tokens}, {"total_tokens", result.n_tokens}}}});
}

}  // namespace olx::server
