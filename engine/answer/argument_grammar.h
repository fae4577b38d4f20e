#pragma once
// The arguments of one tool as grammar, in each way models write them. Used by call_constraint.cpp
// only. What is JSON is left to the compiler of schemas; the rest is written here, for the schema's
// words that can be said in it.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/value.h"

namespace olx::engine {

// Definitions may be used in many places and one within another; what they come to, written out, is
// bounded.
inline constexpr int64_t kMaxCopiedParts =
    100'000;                                     // of definitions, copied to where they are used
inline constexpr int kMaxExpandedParts = 5'000;  // of a schema, written out

// A string of GBNF for exactly this text.
std::string gbnf_literal(std::string_view text);

class ArgumentGrammar {
 public:
  // tool: its name, for messages. prefix: what the names of this tool's rules begin with.
  ArgumentGrammar(const AnswerFormat& format, std::string tool, std::string prefix,
                  const Value& schema);

  // An expression for the arguments; the rules it needs are in rules() and schemas() then.
  // EngineError(kInvalidRequest).
  std::string expression();
  const std::string& rules() const { return rules_; }
  std::vector<std::pair<std::string, Value>>& schemas() { return schemas_; }

 private:
  struct Property {
    std::string_view name;
    const Value* schema;
    bool is_required;
  };
  std::vector<Property> properties_of(const Value& schema, bool is_top) const;
  std::string json(const Value& schema);
  std::string tagged();  // one element a property
  std::string tag(const Property& property);
  std::string separated(const std::vector<Property>& properties,
                        int depth);  // key, mark, value, with commas between
  std::string item(const Property& property, int depth);
  std::string plain_text(const Value& schema, std::string_view any_text);
  std::string python_value(const Value& schema);
  std::string gemma_value(const Value& schema, int depth);
  std::string gemma_of_type(const Value& schema, std::string_view type, int depth);
  std::string gemma_literal(const Value& value, int depth) const;
  std::string gemma_list(const Value& schema, int depth);
  std::string rule(std::string_view body);  // a new rule; its name
  void allow(const Value& schema, std::initializer_list<std::string_view> words) const;
  const Value* resolved(const Value& schema, int& depth) const;
  [[noreturn]] void refuse(const std::string& what) const;

  const AnswerFormat& format_;
  std::string tool_, prefix_;
  const Value& schema_;
  std::string rules_;
  std::vector<std::pair<std::string, Value>> schemas_;
  int n_rules_ = 0;
  int64_t n_copied_ = 0;
  int n_expanded_ = 0;
};

}  // namespace olx::engine
