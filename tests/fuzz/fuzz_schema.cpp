// Any JSON as a schema, up to a NUL; what follows is walked through its grammar. A network, or an EngineError.
#include <boost/json.hpp>
#include <string_view>

#include "engine/error.h"
#include "engine/grammar/compile.h"
#include "tests/fuzz/walk_grammar.h"
#include "tests/support/json_value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::engine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\0'), size);
  boost::json::error_code error;
  const boost::json::value json = boost::json::parse(text.substr(0, end), error, {}, boost::json::parse_options{.max_depth = 64});
  if (error) return 0;
  OutputConstraint constraint;
  constraint.grammar = "root ::= answer";
  constraint.schemas.emplace_back("answer", olx::tests::to_value(json));
  GrammarLimits limits;
  limits.max_nodes = 100'000;  // the sanitizers are slow
  try {
    walk_grammar(compile_constraint(constraint, limits), data + end, size - end);
  } catch (const EngineError&) {
  }
  return 0;
}
