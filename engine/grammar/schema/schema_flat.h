#pragma once
// Schemas without references and combinations: $ref, allOf, anyOf and oneOf worked into plain schemas, any of which may hold.
// The schema compiler turns each into rules. Keywords that nobody here can hold to are refused with their name.

#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/rules.h"
#include "engine/value.h"

namespace olx::engine {

// What plain schemas may have, "type" always as a list, "const" as an "enum". `true` is an empty map. "additionalProperties"
// and the like are as the schema has them.
using FlatSchema = ValueMap;

class SchemaFlattener {
 public:
  SchemaFlattener(const Value& root, RuleSet& rules) : root_(root), rules_(rules) {}

  // Their union is what the schema allows; an empty list allows nothing. EngineError.
  std::vector<FlatSchema> flatten(const Value& schema) { return flatten(schema, 0); }
  // "#", "#/$defs/name" ... EngineError for what is not in the schema, or elsewhere.
  const Value& resolve(const std::string& reference) const;

  // Refuses keywords that are not known, in this schema alone.
  static void check_keywords(const ValueMap& schema);
  // What says nothing about which values are allowed.
  static bool is_annotation(std::string_view keyword);
  // oneOf: a value of one alternative must not be a value of another. Refused unless that can be shown: from types, enum and
  // const, bounds of numbers and lengths, and members that one asks for and the other cannot have.
  void check_exclusive(const std::vector<std::vector<FlatSchema>>& alternatives);

 private:
  std::vector<FlatSchema> flatten(const Value& schema, int depth);
  std::vector<FlatSchema> flatten_one_of(const std::vector<FlatSchema>& base, const ValueList& schemas, int depth);
  std::vector<FlatSchema> product(const std::vector<FlatSchema>& a, const std::vector<FlatSchema>& b);
  bool merge(const FlatSchema& a, const FlatSchema& b, FlatSchema& out) const;
  // Whether no value made for a is allowed by b.
  bool excludes(const FlatSchema& a, const FlatSchema& b, int depth);
  bool excludes_any(const Value& a, const Value& b, int depth);

  const Value& root_;
  RuleSet& rules_;  // for its limits
  bool is_proving_ = false;
};

// The types a plain schema speaks of: declared, or those its keywords are about; all where it says nothing.
std::vector<std::string> types_of(const FlatSchema& schema);
const Value* find_in(const ValueMap& map, std::string_view key);
// Numbers by value: 1 and 1.0 are equal.
bool same_value(const Value& a, const Value& b);
// The number of a keyword, EngineError when it is none (a whole one, not negative).
uint64_t count_of(const FlatSchema& schema, std::string_view keyword, uint64_t otherwise);

}  // namespace olx::engine
