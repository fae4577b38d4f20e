#pragma once
// Reads GBNF, llama.cpp's grammar language (its grammars/README.md), into a RuleSet: rules, literals, character classes,
// `.`, groups, alternation, `* + ? {m} {m,} {m,n}`, comments. Its token references (<think>, <[12]>) are refused.

#include <string_view>

#include "engine/grammar/rules.h"

namespace olx::engine {

// Adds the rules of the text. EngineError(kInvalidRequest) with the line where the text is no grammar. A rule that is called
// and not defined is found later, by Network: another source may define it.
void read_gbnf(std::string_view text, RuleSet& rules);

}  // namespace olx::engine
