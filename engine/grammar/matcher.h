#pragma once
// Matcher: which bytes may follow a text under a grammar. It runs a Network as a set of stacks, and remembers every set it
// has met and where each byte led from there (a deterministic automaton built as it is needed), so that walking a whole
// vocabulary costs a table look-up a byte. One per sequence, on one thread. No recursion: a stack is a chain of shared nodes.

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/grammar/network.h"

namespace olx::engine {

struct MatcherLimits {
  size_t max_stacks = 4096;          // live ones in a set
  size_t max_work = 100'000;         // steps between two calls of begin_token(): about 8 ms
  size_t max_table_bytes = 8 << 20;  // of what is remembered, before begin_token() forgets it
};

class Matcher {
 public:
  using State = int32_t;
  static constexpr State kDead = -1;  // no text with this beginning matches

  explicit Matcher(std::shared_ptr<const Network> network, const MatcherLimits& limits = {});

  State start();
  // kDead too where a limit is met: see was_cut().
  State next(State state, uint8_t byte) {
    if (state == kDead) return kDead;
    const size_t place = static_cast<size_t>(state) * n_classes_ + network_->class_of(byte);
    return table_[place] != kUnknown ? table_[place] : compute(state, network_->class_of(byte));
  }
  bool may_end(State state) const { return state != kDead && sets_[static_cast<size_t>(state)].may_end; }
  // Nothing may follow.
  bool is_complete(State state) const { return state != kDead && sets_[static_cast<size_t>(state)].items.empty(); }

  // Starts the count of work anew, and forgets what is remembered where it has grown too large: `keep` is then another
  // number for the same state, and all other states are invalid. True where that happened.
  bool begin_token(State& keep);
  // Since begin_token, something was refused because the grammar is too ambiguous, not because it does not match.
  bool was_cut() const { return was_cut_; }
  size_t n_states() const { return sets_.size(); }

 private:
  static constexpr State kUnknown = -2;
  // A node of a stack: where to go on when the topmost rule or loop body ends. Node 0 is the bottom.
  struct Frame {
    uint32_t parent;
    uint32_t place;  // kCall: the state to go on with; of a loop: its id with kLoopBit
    uint32_t count;  // of a loop: bodies that are through
    bool operator==(const Frame&) const = default;
  };
  struct Item {
    uint32_t state;  // a kByte state
    uint32_t stack;
    auto operator<=>(const Item&) const = default;
  };
  struct Set {
    std::vector<Item> items;  // sorted
    bool may_end = false;
  };
  struct FrameHash {
    size_t operator()(const Frame& frame) const;
  };
  static constexpr uint32_t kLoopBit = 1u << 31;

  State compute(State state, uint8_t byte_class);
  // What can be reached from the seeds without a byte, as a state.
  State close(std::vector<Item>& seeds);
  State intern(Set set);
  uint32_t push(Frame frame);
  void enter_loop(uint32_t loop, uint32_t count, uint32_t parent, std::vector<Item>& todo);
  State remember(Set set, const std::vector<Frame>& old_frames);

  std::shared_ptr<const Network> network_;
  MatcherLimits limits_;
  size_t n_classes_;
  std::vector<Set> sets_;
  std::vector<State> table_;  // [n_states, n_classes]
  std::unordered_multimap<uint64_t, State> by_hash_;
  std::vector<Frame> frames_;
  std::unordered_map<Frame, uint32_t, FrameHash> frame_ids_;
  size_t n_items_ = 0;  // in sets_
  size_t work_ = 0;
  bool was_cut_ = false;
  // Used within close().
  std::unordered_map<uint64_t, uint32_t> fewest_;  // (loop, parent): the lowest count that may leave the loop
  std::vector<uint64_t> visited_table_;
};

}  // namespace olx::engine
