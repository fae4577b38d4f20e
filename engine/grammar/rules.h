#pragma once
// RuleSet: a grammar while it is being built, as a tree over bytes and characters with rules that may call one another. The
// GBNF reader and the schema compiler write it; Network is made of it. It keeps the limits on size and time that make a
// grammar from a stranger harmless; it does not match anything.

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace olx::engine {

// What a grammar may cost. A grammar beyond one of them is refused with the name of the limit.
struct GrammarLimits {
  size_t max_text_bytes = 256 << 10;      // of GBNF, and of the schemas together
  int max_depth = 64;                     // parentheses, schemas inside schemas
  size_t max_rules = 20'000;
  size_t max_nodes = 500'000;
  uint32_t max_repetition = 2'000;        // m and n of {m,n}, and lower bounds of schemas
  uint64_t max_repetition_product = 100'000;  // of repetitions inside one another in one rule
  int64_t max_compile_ns = 500'000'000;   // of the compiling thread's own time
};

// The number of a repetition {m,n}, at `at`, which moves behind it. What is wrong with it in `fault`, "" otherwise.
uint64_t read_repetition(std::string_view text, size_t& at, const GrammarLimits& limits, std::string& fault);

// A set of characters: ranges of code points, both ends included.
struct CodeRange {
  uint32_t first, last;
  bool operator==(const CodeRange&) const = default;
};
using CodeRanges = std::vector<CodeRange>;
inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;
CodeRanges sorted_ranges(CodeRanges ranges);              // ascending, disjoint, without surrogates
CodeRanges complement(const CodeRanges& ranges);          // of all characters
CodeRanges intersection(const CodeRanges& a, const CodeRanges& b);
bool contains(const CodeRanges& sorted, uint32_t code);

using ByteSet = std::bitset<256>;
using NodeId = uint32_t;
using RuleId = uint32_t;
inline constexpr uint32_t kUnbounded = UINT32_MAX;

class RuleSet {
 public:
  enum class Kind : uint8_t { kBytes, kSequence, kChoice, kRepeat, kCall };
  struct Node {
    Kind kind;
    uint32_t a = 0, b = 0;  // kBytes: set. kSequence, kChoice: first child, count. kRepeat: first child, 1. kCall: rule
    uint32_t min = 0, max = 0;
  };
  struct Rule {
    std::string name;      // "": made by a compiler
    bool is_defined = false;
    NodeId body = 0;
  };

  explicit RuleSet(const GrammarLimits& limits = {});

  NodeId empty() { return sequence({}); }
  NodeId nothing() { return choice({}); }               // matches no text at all
  NodeId literal(std::string_view bytes);
  NodeId bytes(const ByteSet& set);                     // one byte
  NodeId characters(const CodeRanges& sorted);          // one character, as UTF-8
  NodeId sequence(std::vector<NodeId> parts);
  NodeId choice(std::vector<NodeId> alternatives);
  NodeId repeat(NodeId body, uint32_t min, uint32_t max = kUnbounded);
  NodeId optional(NodeId body) { return repeat(body, 0, 1); }
  NodeId call(RuleId rule);

  RuleId rule_named(std::string_view name);             // made at its first mention
  RuleId new_rule();
  // EngineError when it is defined already.
  void define(RuleId rule, NodeId body);
  // A rule of its own with this body.
  NodeId as_rule(NodeId body);

  const Node& node(NodeId id) const { return nodes_[id]; }
  std::span<const NodeId> children(const Node& node) const { return {children_.data() + node.a, node.b}; }
  const std::vector<Rule>& rules() const { return rules_; }
  const std::vector<ByteSet>& byte_sets() const { return sets_; }
  size_t n_nodes() const { return nodes_.size(); }
  const GrammarLimits& limits() const { return limits_; }
  // EngineError once the time is used up. Called at every node; for loops that make none.
  void check_time();

 private:
  NodeId add(Node node);

  GrammarLimits limits_;
  int64_t begun_ns_;
  std::vector<Node> nodes_;
  std::vector<NodeId> children_;
  std::vector<Rule> rules_;
  std::unordered_map<std::string, RuleId> names_;
  std::vector<ByteSet> sets_;
  std::unordered_map<ByteSet, uint32_t> set_ids_;
};

[[noreturn]] void refuse_grammar(const std::string& what);  // EngineError(kInvalidRequest)

}  // namespace olx::engine
