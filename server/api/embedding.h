#pragma once
// What /api/embed, /api/embeddings and /v1/embeddings share: from texts or token ids to vectors. The protocols' own
// fields and errors are theirs.

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/api/completion.h"

namespace olx::server {

using EmbeddingInput = std::variant<std::string, std::vector<int32_t>>;

struct EmbeddingTask {
  CompletionRequest request;  // model, keep_alive and options of it
  std::vector<EmbeddingInput> inputs;
  bool may_truncate = true;
  bool is_normalized = true;
  int64_t dimensions = 0;  // > 0: as many first values of each vector, made to length 1 again
};
// The fields all three have. fields must outlive the result.
EmbeddingTask read_embedding_task(const Fields& fields);

struct EmbeddingResult {
  std::vector<std::vector<float>> vectors;  // one for each input
  int64_t n_tokens = 0;
  int64_t load_ns = 0;
  int64_t total_ns = 0;
};
// Loads the model and computes. Throws ApiError: 404 where there is no such model, error_status where an input cannot be
// embedded, 499 when the client has gone.
EmbeddingResult run_embedding(App& app, Exchange& exchange, const EmbeddingTask& task, int error_status);

// As JSON, with the fewest digits that give the same float.
boost::json::array vector_json(const std::vector<float>& vector);

}  // namespace olx::server
