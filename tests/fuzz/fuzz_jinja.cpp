// Any bytes as a Jinja chat template over a small conversation: a rendering or an EngineError.
#include <cstdint>
#include <string_view>

#include "engine/error.h"
#include "engine/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::engine;
  static const Value variables = ValueMap{
      {"messages", Value(ValueList{Value(ValueMap{{"role", "user"}, {"content", "Hi"}}),
                                   Value(ValueMap{{"role", "assistant"}, {"content", "\xC3\xA9"}})})},
      {"tools", Value()}, {"bos_token", "<s>"}, {"add_generation_prompt", true},
      {"n", 3}, {"d", ValueMap{{"a", 1.5}, {"b", ValueList{1, 2}}}}};
  TemplateLimits limits;
  limits.max_steps = 20'000;
  limits.max_output_bytes = 1 << 16;
  try {
    (void)render_jinja({reinterpret_cast<const char*>(data), size}, variables, limits);
  } catch (const EngineError&) {
  }
  return 0;
}
