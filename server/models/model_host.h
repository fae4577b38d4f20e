#pragma once
// ModelHost: a loaded model as the API sees it, wherever it runs: in this process, or in a worker
// process (server/worker/worker_host.h). Any thread may call it; EngineHost owns it.

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace olx::server {

// The functions are those of engine::Engine. Where the model's process has died they throw
// EngineError(kProcessDied), and running streams end with an error event.
class ModelHost {
 public:
  virtual ~ModelHost() = default;  // no call and no stream may be left
  virtual const engine::ModelInfo& info() const = 0;
  virtual engine::AnswerFormat answer_format(std::string_view go_template) const = 0;
  virtual engine::ChatPrompt render_chat(const engine::ChatRequest& request) = 0;
  virtual std::vector<int32_t> tokenize(const engine::ChatPrompt& prompt, bool add_bos) = 0;
  virtual std::vector<int32_t> tokenize(std::string_view text, bool add_bos,
                                        bool parse_special) = 0;
  virtual engine::TokenStream submit(engine::GenerateRequest request) = 0;
  virtual std::vector<std::vector<float>> embed(engine::EmbedRequest request,
                                                const std::function<bool()>& is_abandoned) = 0;
  virtual engine::EngineStats stats() = 0;
  // False: it will answer nothing any more, and must be loaded again.
  virtual bool is_alive() const = 0;
};

// Throws what Engine::open throws.
using OpenModel = std::function<std::unique_ptr<ModelHost>(const engine::EngineOptions& options)>;
std::unique_ptr<ModelHost> open_in_process(const engine::EngineOptions& options);

}  // namespace olx::server
