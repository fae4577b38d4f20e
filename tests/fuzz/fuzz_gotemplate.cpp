// Any bytes as a Go template, over plain variables and over a conversation: a rendering or an EngineError.
#include <cstdint>
#include <string_view>

#include "engine/error.h"
#include "engine/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::engine;
  static const Value plain = ValueMap{{"Prompt", "Hi"}, {"System", ""}, {"n", 3}, {"l", ValueList{1, "a", true}}};
  static const Value chat = ValueMap{
      {"messages", Value(ValueList{Value(ValueMap{{"role", "system"}, {"content", "S"}}),
                                   Value(ValueMap{{"role", "user"}, {"content", "\xC3\xA9"}})})}};
  TemplateLimits limits;
  limits.max_steps = 20'000;
  limits.max_output_bytes = 1 << 16;
  for (const Value* variables : {&plain, &chat}) {
    try {
      (void)render_go_template({reinterpret_cast<const char*>(data), size}, *variables, limits);
    } catch (const EngineError&) {
    }
  }
  return 0;
}
