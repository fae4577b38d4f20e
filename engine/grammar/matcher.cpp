#include "engine/grammar/matcher.h"

#include <algorithm>
#include <unordered_set>

namespace olx::engine {
namespace {

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

size_t Matcher::FrameHash::operator()(const Frame& frame) const {
  return mix((uint64_t{frame.parent} << 32 | frame.place) + 0x9E3779B97F4A7C15ull * (frame.count + 1));
}

Matcher::Matcher(std::shared_ptr<const Network> network, const MatcherLimits& limits)
    : network_(std::move(network)), limits_(limits), n_classes_(static_cast<size_t>(network_->n_classes())) {
  frames_.push_back({0, 0, 0});
}

Matcher::State Matcher::start() {
  std::vector<Item> seeds{{network_->start(), 0}};
  return close(seeds);
}

uint32_t Matcher::push(Frame frame) {
  const auto [found, is_new] = frame_ids_.try_emplace(frame, static_cast<uint32_t>(frames_.size()));
  if (is_new) frames_.push_back(frame);
  return found->second;
}

// Goes into the body of a loop that has been through `count` times. Of two stacks that differ only in counts which both may
// leave the loop, the lower one accepts all that the other does: the higher one is dropped. This is also what ends loops
// whose body can be empty.
void Matcher::enter_loop(uint32_t id, uint32_t count, uint32_t parent, std::vector<Item>& todo) {
  const Network::Loop& loop = network_->loop(id);
  if (count >= loop.min) {
    const auto [found, is_new] = fewest_.try_emplace(uint64_t{id} << 32 | parent, count);
    if (!is_new && found->second <= count) return;
    found->second = count;
  }
  todo.push_back({loop.body, push({parent, id | kLoopBit, count})});
}

Matcher::State Matcher::close(std::vector<Item>& todo) {
  Set set;
  std::unordered_set<uint64_t> visited;
  fewest_.clear();
  while (!todo.empty()) {
    const Item item = todo.back();
    todo.pop_back();
    if (!network_->is_useful(item.state)) continue;
    if (!visited.insert(uint64_t{item.state} << 32 | item.stack).second) continue;
    if (++work_ > limits_.max_work || visited.size() > 4 * limits_.max_stacks) {
      was_cut_ = true;
      return kDead;
    }
    const Network::State& state = network_->state(item.state);
    switch (state.kind) {
      case Network::Kind::kByte:
        set.items.push_back(item);
        break;
      case Network::Kind::kSplit:
        for (Network::StateId target : network_->targets(state)) todo.push_back({target, item.stack});
        break;
      case Network::Kind::kCall:
        // A call in the last place leaves nothing to come back to: right recursion needs no stack.
        todo.push_back({state.a, state.is_tail ? item.stack : push({item.stack, state.b, 0})});
        break;
      case Network::Kind::kRepeat: {
        const Network::Loop& loop = network_->loop(state.a);
        if (loop.min == 0) todo.push_back({loop.next, item.stack});
        enter_loop(state.a, 0, item.stack, todo);
        break;
      }
      case Network::Kind::kEnd: {
        if (item.stack == 0) {
          set.may_end = true;
          break;
        }
        const Frame frame = frames_[item.stack];
        if ((frame.place & kLoopBit) == 0) {
          todo.push_back({frame.place, frame.parent});
          break;
        }
        const uint32_t id = frame.place & ~kLoopBit;
        const Network::Loop& loop = network_->loop(id);
        const uint32_t count = frame.count + 1;
        if (count >= loop.min) todo.push_back({loop.next, frame.parent});
        if (loop.max == kUnbounded) enter_loop(id, std::min(count, loop.min), frame.parent, todo);
        else if (count < loop.max) enter_loop(id, count, frame.parent, todo);
        break;
      }
    }
  }
  if (set.items.empty() && !set.may_end) return kDead;
  if (set.items.size() > limits_.max_stacks) {
    was_cut_ = true;
    return kDead;
  }
  std::sort(set.items.begin(), set.items.end());
  return intern(std::move(set));
}

Matcher::State Matcher::intern(Set set) {
  uint64_t hash = set.may_end;
  for (const Item& item : set.items) hash = mix(hash + (uint64_t{item.state} << 32 | item.stack));
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Set& other = sets_[static_cast<size_t>(it->second)];
    if (other.may_end == set.may_end && other.items == set.items) return it->second;
  }
  const auto state = static_cast<State>(sets_.size());
  n_items_ += set.items.size();
  sets_.push_back(std::move(set));
  table_.resize(table_.size() + n_classes_, kUnknown);
  by_hash_.emplace(hash, state);
  return state;
}

Matcher::State Matcher::compute(State from, uint8_t byte_class) {
  if (work_ > limits_.max_work) {
    was_cut_ = true;
    return kDead;
  }
  std::vector<Item> seeds;
  const std::vector<Item>& items = sets_[static_cast<size_t>(from)].items;
  work_ += items.size() / 8;
  for (const Item& item : items) {
    const Network::State& state = network_->state(item.state);
    if (network_->accepts(state.a, byte_class)) seeds.push_back({state.b, item.stack});
  }
  const bool was_cut = was_cut_;
  was_cut_ = false;
  const State to = seeds.empty() ? kDead : close(seeds);
  // What a limit cut off may be possible when there is more room.
  if (!was_cut_) table_[static_cast<size_t>(from) * n_classes_ + byte_class] = to;
  was_cut_ = was_cut_ || was_cut;
  return to;
}

bool Matcher::begin_token(State& keep) {
  work_ = 0;
  was_cut_ = false;
  const size_t bytes = table_.size() * sizeof(State) + n_items_ * sizeof(Item) + sets_.size() * 96 + frames_.size() * 64;
  if (bytes < limits_.max_table_bytes || keep == kDead) return false;
  const Set set = std::move(sets_[static_cast<size_t>(keep)]);
  const std::vector<Frame> old = std::move(frames_);
  sets_.clear();
  table_.clear();
  by_hash_.clear();
  frame_ids_.clear();
  frames_.assign(1, {0, 0, 0});
  n_items_ = 0;
  keep = remember(set, old);
  return true;
}

// Copies the stacks of a set from frames that are going away. Parents have lower numbers than what stands on them.
Matcher::State Matcher::remember(Set set, const std::vector<Frame>& old) {
  std::vector<uint32_t> needed;
  std::vector<uint32_t> renamed(old.size(), 0);
  std::vector<bool> is_needed(old.size(), false);
  for (const Item& item : set.items)
    for (uint32_t frame = item.stack; frame != 0 && !is_needed[frame]; frame = old[frame].parent) {
      is_needed[frame] = true;
      needed.push_back(frame);
    }
  std::sort(needed.begin(), needed.end());
  for (uint32_t frame : needed) renamed[frame] = push({renamed[old[frame].parent], old[frame].place, old[frame].count});
  for (Item& item : set.items) item.stack = renamed[item.stack];
  std::sort(set.items.begin(), set.items.end());
  return intern(std::move(set));
}

}  // namespace olx::engine
