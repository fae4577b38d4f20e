#pragma once
// MergeQueue: joins neighbouring symbols of a text, best pair first, until none is left: the loop
// of BPE and of SentencePiece. O(n log n) by a heap over a linked list; entries whose symbols have
// changed meanwhile are skipped when they come up.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace olx::engine {

struct MergeSymbol {
  static constexpr uint32_t kNoSymbol = UINT32_MAX;
  uint32_t start = 0;    // bytes, in the text of the caller
  uint32_t n_bytes = 0;  // 0: it has been joined to the one before
  int32_t id = -1;
  uint32_t previous = kNoSymbol;
  uint32_t next = kNoSymbol;
};

struct MergeResult {
  uint32_t priority = 0;  // lower goes first; equal ones from the left
  int32_t id = -1;        // -1: the two do not join
};

class MergeQueue {
 public:
  void clear() { symbols_.clear(); }
  // Symbols lie side by side, in order.
  void add(uint32_t start, uint32_t n_bytes, int32_t id) {
    const auto index = static_cast<uint32_t>(symbols_.size());
    if (index > 0) symbols_.back().next = index;
    symbols_.push_back({start, n_bytes, id, index > 0 ? index - 1 : MergeSymbol::kNoSymbol});
  }

  // join(left, right) -> MergeResult must depend on the texts of the two symbols alone.
  template <class Join>
  void run(const Join& join) {
    heap_.clear();
    for (uint32_t i = 1; i < symbols_.size(); ++i) propose(i - 1, i, join, false);
    std::make_heap(heap_.begin(), heap_.end(), Later{});
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), Later{});
      const Entry entry = heap_.back();
      heap_.pop_back();
      const auto left_index = static_cast<uint32_t>(entry.key);
      MergeSymbol& left = symbols_[left_index];
      MergeSymbol& right = symbols_[entry.right];
      // A symbol's start never moves, so two live ones that still have this length together are the
      // pair proposed.
      if (left.n_bytes == 0 || right.n_bytes == 0 || left.n_bytes + right.n_bytes != entry.n_bytes)
        continue;
      left.n_bytes = entry.n_bytes;
      left.id = entry.id;
      right.n_bytes = 0;
      left.next = right.next;
      if (right.next != MergeSymbol::kNoSymbol) symbols_[right.next].previous = left_index;
      if (left.previous != MergeSymbol::kNoSymbol) propose(left.previous, left_index, join, true);
      if (left.next != MergeSymbol::kNoSymbol) propose(left_index, left.next, join, true);
    }
  }

  // Calls visit(symbol) for what is left, in order.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (uint32_t i = symbols_.empty() ? MergeSymbol::kNoSymbol : 0; i != MergeSymbol::kNoSymbol;
         i = symbols_[i].next) {
      visit(symbols_[i]);
    }
  }

 private:
  struct Entry {
    uint64_t key;  // priority, then index of the left symbol
    uint32_t right;
    uint32_t n_bytes;
    int32_t id;
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const { return a.key > b.key; }
  };

  template <class Join>
  void propose(uint32_t left, uint32_t right, const Join& join, bool keep_heap) {
    const MergeResult result = join(symbols_[left], symbols_[right]);
    if (result.id < 0) return;
    heap_.push_back({static_cast<uint64_t>(result.priority) << 32 | left, right,
                     symbols_[left].n_bytes + symbols_[right].n_bytes, result.id});
    if (keep_heap) std::push_heap(heap_.begin(), heap_.end(), Later{});
  }

  std::vector<MergeSymbol> symbols_;
  std::vector<Entry> heap_;
};

}  // namespace olx::engine
