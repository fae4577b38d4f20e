// POST /api/embed and its older form, POST /api/embeddings.
#include <boost/json.hpp>

#include "server/api/embedding.h"

namespace olx::server {
namespace {

namespace json = boost::json;

std::vector<EmbeddingInput> read_texts(const Fields& fields) {
  const json::value* input = fields.find("input");
  if (input == nullptr) return {};
  if (input->is_string()) {
    if (input->get_string().empty()) return {};
    return {std::string(input->get_string())};
  }
  if (!input->is_array()) throw ApiError(400, "invalid input type");
  std::vector<EmbeddingInput> inputs;
  for (const json::value& text : input->get_array()) {
    if (!text.is_string()) throw ApiError(400, "invalid input type");
    inputs.emplace_back(std::string(text.get_string()));
  }
  return inputs;
}

}  // namespace

void handle_embed(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "EmbedRequest");
  EmbeddingTask task = read_embedding_task(fields);
  task.may_truncate = fields.boolean("truncate").value_or(true);
  task.dimensions = fields.integer("dimensions").value_or(0);
  task.inputs = read_texts(fields);
  const EmbeddingResult result = run_embedding(app, exchange, task, 400);
  json::array embeddings;
  for (const std::vector<float>& vector : result.vectors) embeddings.push_back(vector_json(vector));
  json::object answer{{"model", task.request.model}, {"embeddings", std::move(embeddings)}};
  if (!task.inputs.empty()) {
    answer["total_duration"] = result.total_ns;
    if (result.load_ns != 0) answer["load_duration"] = result.load_ns;
    if (result.n_tokens != 0) answer["prompt_eval_count"] = result.n_tokens;
  }
  reply(exchange, answer);
}

// One text, a vector of its own length, and no truncation.
void handle_embeddings(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "EmbeddingRequest");
  EmbeddingTask task = read_embedding_task(fields);
  if (task.request.model.empty()) throw ApiError(400, "model is required");
  task.may_truncate = false;
  task.is_normalized = false;
  const std::string prompt = fields.text("prompt").value_or("");
  if (!prompt.empty()) task.inputs.emplace_back(prompt);
  const EmbeddingResult result = run_embedding(app, exchange, task, 500);
  json::array embedding;
  for (const std::vector<float>& vector : result.vectors)
    for (const float value : vector) embedding.push_back(static_cast<double>(value));  // Ollama widens it here
  reply(exchange, json::object{{"embedding", std::move(embedding)}});
}

}  // namespace olx::server
