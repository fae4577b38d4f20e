#pragma once
// JsonRules: the pieces of JSON text as parts of a grammar. Used by the schema compiler. They match less than JSON allows
// where that lets a weak model run on for ever: blanks, the digits of numbers and free nesting are bounded.

#include <map>
#include <string>

#include "engine/grammar/rules.h"
#include "engine/value.h"

namespace olx::engine {

inline constexpr int kMaxFreeNesting = 16;        // of values without a schema
inline constexpr uint32_t kMaxIndentBlanks = 16;  // after a line break
inline constexpr uint32_t kMaxNumberDigits = 15;  // of the whole part; a double keeps all of them

class JsonRules {
 public:
  explicit JsonRules(RuleSet& rules) : rules_(rules) {}

  NodeId blank();                              // nothing, a space, or a line break and an indent
  NodeId character();                          // one character of a string, plain or as an escape
  NodeId string(uint32_t min, uint32_t max);   // with its quotes
  NodeId number();
  NodeId any_value(int level = 0);
  NodeId any_object(int level = 0);
  NodeId any_array(int level = 0);
  NodeId constant(const Value& value);         // its one compact spelling

  NodeId one_of(std::vector<std::string> texts);

  // open, the members with commas between them, close; `first` members, then the others.
  NodeId enclosed(char open, NodeId members, bool may_be_empty, char close);
  NodeId comma();                              // with the blanks after it
  NodeId colon();

  // One of these characters, as it stands in a string: itself, or the escape of one that cannot stand for itself.
  NodeId character_of(const CodeRanges& set);

 private:
  NodeId cached(const char* name, int level, NodeId (JsonRules::*make)(int level));
  NodeId make_blank(int);
  NodeId make_character(int);
  NodeId make_number(int);
  NodeId make_value(int level);
  NodeId make_object(int level);
  NodeId make_array(int level);

  NodeId one_of(std::span<const std::string> sorted, size_t n_read);

  RuleSet& rules_;
  std::map<std::pair<std::string, int>, RuleId> cache_;
};

// What may stand in a string without an escape.
const CodeRanges& plain_characters();
std::string double_text(double number);  // the shortest that reads back as the same number
// Compact JSON; texts are kept as UTF-8.
std::string json_text(const Value& value);

}  // namespace olx::engine
