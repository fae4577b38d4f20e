#include "engine/grammar/network.h"

#include <algorithm>
#include <map>
#include <utility>

namespace olx::engine {
namespace {

constexpr Network::StateId kEndState = 0;

}  // namespace

Network::Network(RuleSet& rules, RuleId root) {
  for (const RuleSet::Rule& rule : rules.rules())
    if (!rule.is_defined) refuse_grammar("grammar: the rule '" + rule.name + "' is not defined");
  add({Kind::kEnd});
  for (const RuleSet::Rule& rule : rules.rules()) {
    rules.check_time();
    rule_starts_.push_back(lower(rules, rule.body, kEndState));
  }
  byte_states_ = {};
  for (State& state : states_)
    if (state.kind == Kind::kCall) {
      state.is_tail = state.b == kEndState;
      state.a = rule_starts_[state.a];
    }
  start_ = rule_starts_[root];
  number_classes(rules);
  rules.check_time();
  is_useful_ = spread(Property::kUseful);
  if (!is_useful_[start_]) refuse_grammar("the grammar matches no text at all: '" + (rules.rules()[root].name.empty() ? "root" : rules.rules()[root].name) + "' never ends");
  rules.check_time();
  const std::vector<bool> is_nullable = spread(Property::kNullable);
  // A body that can be empty can be so as often as the lower bound asks.
  for (Loop& loop : loops_)
    if (is_nullable[loop.body]) loop.min = 0;
  refuse_left_recursion(rules, is_nullable);
}

Network::StateId Network::add(State state) {
  states_.push_back(state);
  return static_cast<StateId>(states_.size() - 1);
}

Network::StateId Network::add_split(const std::vector<StateId>& targets) {
  const auto first = static_cast<uint32_t>(targets_.size());
  targets_.insert(targets_.end(), targets.begin(), targets.end());
  return add({Kind::kSplit, false, first, static_cast<uint32_t>(targets.size())});
}

// Ends of characters are shared: a class is a few dozen sequences that end in the same bytes.
Network::StateId Network::byte_state(uint32_t set, StateId next) {
  const auto [found, is_new] = byte_states_.try_emplace(uint64_t{set} << 32 | next, 0);
  if (is_new) found->second = add({Kind::kByte, false, set, next});
  return found->second;
}

// From the end to the beginning: `next` is where the node leads. The tree's depth is bounded by the limits of its makers.
Network::StateId Network::lower(const RuleSet& rules, NodeId id, StateId next) {
  const RuleSet::Node& node = rules.node(id);
  switch (node.kind) {
    case RuleSet::Kind::kBytes: return byte_state(node.a, next);
    case RuleSet::Kind::kCall: return add({Kind::kCall, false, node.a, next});
    case RuleSet::Kind::kSequence: {
      const auto parts = rules.children(node);
      for (size_t i = parts.size(); i-- > 0;) next = lower(rules, parts[i], next);
      return next;
    }
    case RuleSet::Kind::kChoice: {
      std::vector<StateId> targets;
      for (NodeId part : rules.children(node)) targets.push_back(lower(rules, part, next));
      return add_split(targets);
    }
    case RuleSet::Kind::kRepeat: break;
  }
  const NodeId body = rules.children(node)[0];
  if (node.min == 0 && node.max == 1) return add_split({lower(rules, body, next), next});
  if (node.min <= 1 && node.max == kUnbounded) {
    // A cycle: after the body, the body again or out.
    const StateId again = add_split({next, next});
    const StateId first = lower(rules, body, again);
    targets_[states_[again].a] = first;
    return node.min == 0 ? again : first;
  }
  loops_.push_back({lower(rules, body, kEndState), next, node.min, node.max});
  return add({Kind::kRepeat, false, static_cast<uint32_t>(loops_.size() - 1)});
}

void Network::number_classes(const RuleSet& rules) {
  // Bytes with equal columns in the table of sets are one class; refined one set at a time.
  std::array<uint32_t, 256> number{};
  uint32_t n = 1;
  for (const ByteSet& set : rules.byte_sets()) {
    std::map<std::pair<uint32_t, bool>, uint32_t> seen;
    uint32_t next = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      const auto [found, is_new] = seen.try_emplace({number[byte], set.test(byte)}, next);
      if (is_new) ++next;
      number[byte] = found->second;
    }
    n = next;
    if (n == 256) break;
  }
  n_classes_ = static_cast<int>(n);
  for (size_t byte = 0; byte < 256; ++byte) class_of_[byte] = static_cast<uint8_t>(number[byte]);
  for (const ByteSet& set : rules.byte_sets()) {
    ByteSet classes;
    for (size_t byte = 0; byte < 256; ++byte)
      if (set.test(byte)) classes.set(class_of_[byte]);
    sets_.push_back(classes);
  }
}

// A fixed point, by following each state backwards once: linear in the size of the network.
std::vector<bool> Network::spread(Property property) const {
  const size_t n = states_.size();
  const auto for_each_edge = [&](auto&& edge) {  // edge(from, to)
    for (StateId id = 0; id < n; ++id) {
      const State& state = states_[id];
      switch (state.kind) {
        case Kind::kEnd: break;
        case Kind::kByte: edge(id, state.b); break;
        case Kind::kSplit: for (StateId target : targets(state)) edge(id, target); break;
        case Kind::kCall: edge(id, state.a); edge(id, state.b); break;
        case Kind::kRepeat: edge(id, loops_[state.a].body); edge(id, loops_[state.a].next); break;
      }
    }
  };
  // Whom to look at again when a state gets the property, sorted by that state.
  std::vector<uint32_t> first(n + 1, 0);
  for_each_edge([&](StateId, StateId to) { ++first[to]; });
  for (size_t i = 0, sum = 0; i <= n; ++i) sum += std::exchange(first[i], static_cast<uint32_t>(sum));
  std::vector<StateId> waiting(first[n]);
  std::vector<uint32_t> place(first.begin(), first.end() - 1);
  for_each_edge([&](StateId from, StateId to) { waiting[place[to]++] = from; });
  std::vector<bool> has(n, false);
  std::vector<StateId> todo{kEndState};
  has[kEndState] = true;
  const auto gets = [&](const State& state) {
    switch (state.kind) {
      case Kind::kEnd: return true;
      case Kind::kByte: return property == Property::kUseful && static_cast<bool>(has[state.b]);
      case Kind::kSplit: return true;  // one target is enough
      case Kind::kCall: return has[state.a] && has[state.b];
      case Kind::kRepeat: return (loops_[state.a].min == 0 || has[loops_[state.a].body]) && has[loops_[state.a].next];
    }
    return false;
  };
  while (!todo.empty()) {
    const StateId id = todo.back();
    todo.pop_back();
    for (uint32_t i = first[id]; i < first[id + 1]; ++i) {
      const StateId other = waiting[i];
      if (has[other] || !gets(states_[other])) continue;
      has[other] = true;
      todo.push_back(other);
    }
  }
  return has;
}

void Network::refuse_left_recursion(const RuleSet& rules, const std::vector<bool>& is_nullable) const {
  // Which rules a rule may call before its first byte.
  std::unordered_map<StateId, std::vector<uint32_t>> rules_at;  // several rules may begin at the same state
  for (uint32_t rule = 0; rule < rule_starts_.size(); ++rule) rules_at[rule_starts_[rule]].push_back(rule);
  std::unordered_map<StateId, std::vector<StateId>> calls;  // by start state
  std::vector<StateId> todo;
  std::vector<uint32_t> seen(states_.size(), UINT32_MAX);
  uint32_t mark = 0;
  for (const auto& [start, ignored] : rules_at) {
    todo.assign(1, start);
    std::vector<StateId>& callees = calls[start];
    while (!todo.empty()) {
      const StateId id = todo.back();
      todo.pop_back();
      if (seen[id] == mark || !is_useful_[id]) continue;
      seen[id] = mark;
      const State& state = states_[id];
      if (state.kind == Kind::kSplit) {
        todo.insert(todo.end(), targets(state).begin(), targets(state).end());
      } else if (state.kind == Kind::kCall) {
        callees.push_back(state.a);
        if (is_nullable[state.a]) todo.push_back(state.b);
      } else if (state.kind == Kind::kRepeat) {
        const Loop& loop = loops_[state.a];
        todo.push_back(loop.body);
        if (loop.min == 0 || is_nullable[loop.body]) todo.push_back(loop.next);
      }
    }
    ++mark;
  }
  // A cycle among them, found without recursion.
  std::unordered_map<StateId, int> colour;  // 1: on the path, 2: done
  for (const auto& [root, ignored] : calls) {
    std::vector<std::pair<StateId, size_t>> path;
    if (colour[root] == 0) path.emplace_back(root, 0);
    colour[root] = std::max(colour[root], 1);
    while (!path.empty()) {
      auto& [start, next] = path.back();
      const std::vector<StateId>& callees = calls[start];
      if (next == callees.size()) {
        colour[start] = 2;
        path.pop_back();
        continue;
      }
      const StateId callee = callees[next++];
      if (colour[callee] == 1) {
        std::string name;
        for (uint32_t rule : rules_at[callee])
          if (name.empty()) name = rules.rules()[rule].name;
        for (const auto& [state, ignored_next] : path)
          if (name.empty()) name = rules.rules()[rules_at[state].front()].name;
        refuse_grammar("the grammar has left recursion: the rule '" + name + "' can begin with itself");
      }
      if (colour[callee] == 0) {
        colour[callee] = 1;
        path.emplace_back(callee, 0);
      }
    }
    colour[root] = 2;
  }
}

}  // namespace olx::engine
