#pragma once
// The `pattern` of a schema: a regular expression (the part of ECMA 262 that is regular) as a grammar over the text of a JSON
// string. Used by the schema compiler. It is translated, not run: there is nothing to backtrack in.

#include <cstdint>
#include <string_view>

#include "engine/grammar/schema/json_rules.h"

namespace olx::engine {

struct PatternLengths {  // how many characters the matched texts have
  uint64_t min = 0, max = 0;  // kUnbounded: no limit
};

// What stands between the quotes. EngineError(kInvalidRequest) for what is no expression and for what is not regular (look
// around, references back, \b, \p). An expression without anchors may stand anywhere in the text. min and max characters:
// held where the expression itself holds them or repeats one class, else EngineError.
NodeId pattern_text(std::string_view pattern, uint32_t min_length, uint32_t max_length, RuleSet& rules, JsonRules& json);

}  // namespace olx::engine
