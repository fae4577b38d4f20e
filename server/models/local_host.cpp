// A model in this process: for `run` without a server, and where OLLAMAX_ISOLATE=0 asks for it.
#include "server/models/model_host.h"

namespace olx::server {
namespace {

class LocalHost final : public ModelHost {
 public:
  explicit LocalHost(const engine::EngineOptions& options)
      : engine_(engine::Engine::open(options)) {}

  const engine::ModelInfo& info() const override { return engine_->info(); }
  engine::AnswerFormat answer_format(std::string_view go_template) const override {
    return engine_->answer_format(go_template);
  }
  engine::ChatPrompt render_chat(const engine::ChatRequest& request) override {
    return engine_->render_chat(request);
  }
  std::vector<int32_t> tokenize(const engine::ChatPrompt& prompt, bool add_bos) override {
    return engine_->tokenize(prompt, add_bos);
  }
  std::vector<int32_t> tokenize(std::string_view text, bool add_bos, bool parse_special) override {
    return engine_->tokenize(text, add_bos, parse_special);
  }
  engine::TokenStream submit(engine::GenerateRequest request) override {
    return engine_->submit(std::move(request));
  }
  std::vector<std::vector<float>> embed(engine::EmbedRequest request,
                                        const std::function<bool()>& is_abandoned) override {
    return engine_->embed(std::move(request), is_abandoned);
  }
  engine::EngineStats stats() override { return engine_->stats(); }
  bool is_alive() const override { return !engine_->is_lost(); }

 private:
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

std::unique_ptr<ModelHost> open_in_process(const engine::EngineOptions& options) {
  return std::make_unique<LocalHost>(options);
}

}  // namespace olx::server
