#pragma once
// The Jinja interpreter's door: parse once, render many times. Used by chat_template_jinja.cpp and tests.
// Immutable after construction; render() is thread-safe and bounded by the limits.

#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/text/jinja/ast.h"
#include "engine/text/jinja/runtime.h"

namespace olx::engine::jinja {

class JinjaTemplate {
 public:
  // Throws EngineError(kUnsupported) with the line.
  explicit JinjaTemplate(std::string_view source);
  // Throws EngineError with the line: kInvalidRequest when the template fails, raises or exceeds a limit.
  std::string render(const Value& variables, const TemplateLimits& limits = {}, const RenderClock& clock = {}) const;

 private:
  Template tree_;
};

}  // namespace olx::engine::jinja
