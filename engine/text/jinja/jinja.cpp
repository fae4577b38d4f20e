#include "engine/text/jinja/jinja.h"

#include "engine/text/jinja/evaluator.h"
#include "engine/text/jinja/parser.h"

namespace olx::engine::jinja {

JinjaTemplate::JinjaTemplate(std::string_view source) : tree_(parse(source)) {}

std::string JinjaTemplate::render(const Value& variables, const TemplateLimits& limits, const RenderClock& clock) const {
  Runtime rt(limits, clock);
  std::string out;
  Evaluator(rt, out).run(tree_, variables);
  return out;
}

}  // namespace olx::engine::jinja
