#include "engine/grammar/compile.h"

#include <algorithm>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/schema/json_schema.h"

namespace olx::engine {
namespace {

constexpr uint32_t kMaxBlanksAfterFreePart = 16;

// Any bytes up to and with the first `close`: the automaton of Knuth, Morris and Pratt, a rule a state. The last one goes on
// with `then`.
NodeId free_until(const std::string& close, NodeId then, RuleSet& rules) {
  std::vector<RuleId> states;
  for (size_t i = 0; i < close.size(); ++i) states.push_back(rules.new_rule());
  const auto after = [&](size_t n_matched, char byte) {
    std::string seen = close.substr(0, n_matched) + byte;
    while (!close.starts_with(seen)) seen.erase(0, 1);
    return seen.size();
  };
  for (size_t i = 0; i < close.size(); ++i) {
    std::vector<ByteSet> leads_to(close.size() + 1);
    leads_to[0].set();
    for (char byte : close) {
      leads_to[0].reset(static_cast<uint8_t>(byte));
      leads_to[after(i, byte)].set(static_cast<uint8_t>(byte));
    }
    std::vector<NodeId> alternatives;
    for (size_t to = 0; to <= close.size(); ++to)
      if (leads_to[to].any())
        alternatives.push_back(rules.sequence({rules.bytes(leads_to[to]), to < close.size() ? rules.call(states[to]) : then}));
    rules.define(states[i], rules.choice(std::move(alternatives)));
  }
  return rules.call(states[0]);
}

}  // namespace

std::shared_ptr<const Network> compile_constraint(const OutputConstraint& constraint, const GrammarLimits& limits) {
  if (constraint.grammar.size() > limits.max_text_bytes)
    refuse_grammar("the grammar is too long: expected at most " + std::to_string(limits.max_text_bytes) + " bytes, got " + std::to_string(constraint.grammar.size()));
  constexpr size_t kMaxMarkBytes = 256;
  if (std::max(constraint.free_open.size(), constraint.free_close.size()) > kMaxMarkBytes)
    refuse_grammar("the marks of the free part are longer than " + std::to_string(kMaxMarkBytes) + " bytes");
  RuleSet rules(limits);
  const RuleId root = rules.rule_named("root");
  read_gbnf(constraint.grammar, rules);
  size_t n_bytes_left = limits.max_text_bytes;
  for (const auto& [name, schema] : constraint.schemas)
    rules.define(rules.rule_named(name), compile_schema(schema, rules, n_bytes_left));
  const bool has_free_part = constraint.begins_free || !constraint.free_open.empty();
  if (!has_free_part) return std::make_shared<Network>(rules, root);
  if (constraint.free_close.empty()) refuse_grammar("the free part of an answer needs a text that ends it");
  ByteSet blanks;
  for (char c : {' ', '\t', '\n', '\r'}) blanks.set(static_cast<uint8_t>(c));
  const NodeId rest = rules.as_rule(rules.sequence({rules.repeat(rules.bytes(blanks), 0, kMaxBlanksAfterFreePart), rules.call(root)}));
  NodeId whole = free_until(constraint.free_close, rest, rules);
  if (!constraint.begins_free) whole = rules.choice({rules.sequence({rules.literal(constraint.free_open), whole}), rules.call(root)});
  const RuleId first = rules.new_rule();
  rules.define(first, whole);
  return std::make_shared<Network>(rules, first);
}

}  // namespace olx::engine
