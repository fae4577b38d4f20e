#pragma once
// ChatTemplate: a conversation to prompt text, by the Jinja template of a GGUF file or the Go template of a TEMPLATE layer.
// Immutable after construction; rendering is thread-safe and bounded (steps, depth, output bytes).

#include <memory>
#include <string>
#include <string_view>

#include "engine/request.h"
#include "engine/value.h"

namespace olx::engine {

// Limits of one rendering; exceeding one is an EngineError(kInvalidRequest) that names it.
struct TemplateLimits {
  int64_t max_steps = 2'000'000;
  int max_depth = 128;
  int64_t max_output_bytes = 8ll << 20;
};

// Renders a template once over a map of variables: what `inspect template` prints. Throws EngineError with line and reason.
std::string render_jinja(std::string_view source, const Value& variables, const TemplateLimits& limits = {});
std::string render_go_template(std::string_view source, const Value& variables, const TemplateLimits& limits = {});

class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;
  virtual std::string render(const ChatRequest& request) const = 0;
};

// bos/eos: spelling of those tokens, for templates that print them. Parse errors throw EngineError(kUnsupported) with the line.
std::unique_ptr<ChatTemplate> make_jinja_chat_template(std::string_view source, std::string_view bos, std::string_view eos);
std::unique_ptr<ChatTemplate> make_go_chat_template(std::string_view source);

}  // namespace olx::engine
