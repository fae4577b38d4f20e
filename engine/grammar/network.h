#pragma once
// Network: a grammar ready to be matched, a pushdown automaton over bytes. Made once from a RuleSet and never changed, so
// that it may be shared by threads. Matcher runs it. A grammar that no text can match, or a rule that begins with itself
// (which a top-down matcher would follow for ever), is refused when it is made.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/grammar/rules.h"

namespace olx::engine {

class Network {
 public:
  using StateId = uint32_t;
  enum class Kind : uint8_t {
    kByte,    // a byte of set `a`, then state b
    kSplit,   // the states targets(state), without a byte
    kCall,    // rule body that begins at state a, then state b
    kRepeat,  // loop a
    kEnd,     // of a rule or of a loop's body
  };
  struct State {
    Kind kind;
    bool is_tail = false;  // kCall: nothing follows but the end
    uint32_t a = 0, b = 0;
  };
  // A repetition that counts. The unbounded ones without a lower bound above 1 are plain cycles of states.
  struct Loop {
    StateId body, next;
    uint32_t min, max;
  };

  // EngineError(kInvalidRequest): a rule that is called and not defined, left recursion, a grammar that matches nothing.
  Network(RuleSet& rules, RuleId root);

  StateId start() const { return start_; }
  const State& state(StateId id) const { return states_[id]; }
  std::span<const StateId> targets(const State& split) const { return {targets_.data() + split.a, split.b}; }
  const Loop& loop(uint32_t id) const { return loops_[id]; }
  // False: no text leads from here to the end. The matcher never goes there, so that what it accepts can be completed.
  bool is_useful(StateId id) const { return is_useful_[id]; }

  // Bytes that no set tells apart are one class.
  int n_classes() const { return n_classes_; }
  uint8_t class_of(uint8_t byte) const { return class_of_[byte]; }
  bool accepts(uint32_t set, uint8_t byte_class) const { return sets_[set].test(byte_class); }

 private:
  StateId lower(const RuleSet& rules, NodeId node, StateId next);
  StateId add(State state);
  StateId add_split(const std::vector<StateId>& targets);
  StateId byte_state(uint32_t set, StateId next);
  void number_classes(const RuleSet& rules);
  // For each state whether `holds` spreads to it from the ends of rules.
  enum class Property { kUseful, kNullable };
  std::vector<bool> spread(Property property) const;
  void refuse_left_recursion(const RuleSet& rules, const std::vector<bool>& is_nullable) const;

  std::vector<State> states_;
  std::vector<StateId> targets_;
  std::vector<Loop> loops_;
  std::vector<StateId> rule_starts_;
  std::vector<bool> is_useful_;
  StateId start_ = 0;
  std::array<uint8_t, 256> class_of_{};
  int n_classes_ = 0;
  std::vector<ByteSet> sets_;  // of classes
  std::unordered_map<uint64_t, StateId> byte_states_;  // while lowering
};

}  // namespace olx::engine
