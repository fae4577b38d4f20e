// Any bytes as GBNF, up to a NUL; what follows is walked through the grammar. A network, or an EngineError.
#include <string_view>

#include "engine/error.h"
#include "engine/grammar/compile.h"
#include "tests/fuzz/walk_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::engine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\0'), size);
  OutputConstraint constraint;
  constraint.grammar = text.substr(0, end);
  try {
    walk_grammar(compile_constraint(constraint), data + end, size - end);
  } catch (const EngineError&) {
  }
  return 0;
}
