#pragma once
// JSON schemas as grammars: every text that the grammar matches is JSON that the schema allows. Not the other way round: a
// schema allows more spellings and, where it leaves things open, more values than are ever written.
//   - Properties come in the order of their declaration; properties that are not declared come only where additionalProperties
//     says what they are, or where nothing is declared at all. Their names hold no escapes and are none of the declared ones.
//   - A schema without a type is about the types that its keywords are about.
//   - oneOf is what its alternatives allow together, and is refused unless no value can satisfy two of them.
//   - format is held to for the formats of string_format.h and refused for others: JSON Schema lets a reader take it for a
//     remark, but who asks for one expects to get it. int32 and int64 bound numbers.
//   - Keywords that are not known here are refused by name, but for remarks (title, description, default, examples ...).

#include "engine/grammar/rules.h"
#include "engine/value.h"

namespace olx::engine {

// n_bytes_left: how long the schema may be as text; lowered by its length. EngineError(kInvalidRequest).
NodeId compile_schema(const Value& schema, RuleSet& rules, size_t& n_bytes_left);

}  // namespace olx::engine
