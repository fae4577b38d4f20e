#pragma once
// MergeQueue: joins neighbouring symbols of a text, best pair first, until none is left: the loop
// of BPE and of SentencePiece. A linked list of symbols and a queue of pairs; pairs whose symbols
// have changed meanwhile are skipped when they come up. Two queues: a heap for words, and for long
// texts buckets that stay in the order of the text, which is nearly linear.

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/text/vocabulary/vocabulary.h"

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

// Two neighbours that may join: the left one, the bytes of both together, and what they become.
struct MergePair {
  uint32_t left;
  uint32_t n_bytes;
  int32_t id;
};

class PairHeap {
 public:
  void clear() { entries_.clear(); }
  bool empty() const { return entries_.empty(); }
  void push(uint32_t priority, const MergePair& pair) {
    entries_.push_back({static_cast<uint64_t>(priority) << 32 | pair.left, pair.n_bytes, pair.id});
    std::push_heap(entries_.begin(), entries_.end(), Later{});
  }
  MergePair pop() {
    std::pop_heap(entries_.begin(), entries_.end(), Later{});
    const Entry entry = entries_.back();
    entries_.pop_back();
    return {static_cast<uint32_t>(entry.key), entry.n_bytes, entry.id};
  }

 private:
  struct Entry {
    uint64_t key;  // priority, then index of the left symbol
    uint32_t n_bytes;
    int32_t id;
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const { return a.key > b.key; }
  };
  std::vector<Entry> entries_;
};

// A bucket for each priority. Pairs mostly arrive from left to right, so that a bucket is a list
// read from its front; the few that arrive out of order go to a heap beside it. On a megabyte of
// one letter this is 5 times faster than one heap of all.
class PairBuckets {
 public:
  void clear() {
    buckets_.clear();
    index_.clear();
    waiting_.clear();
  }
  bool empty() const { return waiting_.empty(); }
  void push(uint32_t priority, const MergePair& pair) {
    Bucket& bucket = bucket_of(priority);
    if (bucket.empty()) {
      bucket.ordered.clear();
      bucket.head = 0;
      waiting_.push_back({priority, static_cast<uint32_t>(last_bucket_)});
      std::push_heap(waiting_.begin(), waiting_.end(), Later{});
    }
    if (bucket.ordered.empty() || pair.left >= bucket.ordered.back().left) {
      bucket.ordered.push_back(pair);
    } else {
      bucket.late.push_back(pair);
      std::push_heap(bucket.late.begin(), bucket.late.end(), Righter{});
    }
  }
  MergePair pop() {
    Bucket& bucket = buckets_[waiting_.front().bucket];
    const bool takes_late =
        !bucket.late.empty() && (bucket.head == bucket.ordered.size() ||
                                 bucket.late.front().left < bucket.ordered[bucket.head].left);
    MergePair pair;
    if (takes_late) {
      std::pop_heap(bucket.late.begin(), bucket.late.end(), Righter{});
      pair = bucket.late.back();
      bucket.late.pop_back();
    } else {
      pair = bucket.ordered[bucket.head++];
    }
    if (bucket.empty()) {
      std::pop_heap(waiting_.begin(), waiting_.end(), Later{});
      waiting_.pop_back();
    }
    return pair;
  }

 private:
  struct Bucket {
    std::vector<MergePair> ordered;
    size_t head = 0;  // of ordered
    std::vector<MergePair> late;
    bool empty() const { return head == ordered.size() && late.empty(); }
  };
  struct Waiting {
    uint32_t priority;
    uint32_t bucket;
  };
  struct Later {
    bool operator()(const Waiting& a, const Waiting& b) const { return a.priority > b.priority; }
  };
  struct Righter {
    bool operator()(const MergePair& a, const MergePair& b) const { return a.left > b.left; }
  };
  struct SeededHash {  // priorities come from the file
    size_t operator()(uint32_t priority) const {
      return hash_bytes({reinterpret_cast<const char*>(&priority), sizeof priority}, random_seed());
    }
  };

  Bucket& bucket_of(uint32_t priority) {
    if (last_bucket_ < buckets_.size() && last_priority_ == priority) return buckets_[last_bucket_];
    const auto [at, is_new] = index_.try_emplace(priority, static_cast<uint32_t>(buckets_.size()));
    if (is_new) buckets_.emplace_back();
    last_priority_ = priority;
    last_bucket_ = at->second;
    return buckets_[last_bucket_];
  }

  std::vector<Bucket> buckets_;
  std::unordered_map<uint32_t, uint32_t, SeededHash> index_;  // priority -> bucket
  std::vector<Waiting> waiting_;  // a heap of the buckets that are not empty
  uint32_t last_priority_ = 0;
  size_t last_bucket_ = 0;
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
    constexpr size_t kLongText = 512;  // symbols
    if (symbols_.size() < kLongText) {
      run_with(heap_, join);
    } else {
      PairBuckets buckets;
      run_with(buckets, join);
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
  template <class Queue, class Join>
  void run_with(Queue& queue, const Join& join) {
    const auto propose = [&](uint32_t left, uint32_t right) {
      const MergeResult result = join(symbols_[left], symbols_[right]);
      if (result.id < 0) return;
      queue.push(result.priority,
                 {left, symbols_[left].n_bytes + symbols_[right].n_bytes, result.id});
    };
    queue.clear();
    for (uint32_t i = 1; i < symbols_.size(); ++i) propose(i - 1, i);
    while (!queue.empty()) {
      const MergePair pair = queue.pop();
      MergeSymbol& left = symbols_[pair.left];
      if (left.n_bytes == 0 || left.next == MergeSymbol::kNoSymbol) continue;
      MergeSymbol& right = symbols_[left.next];
      // Starts never move, so two neighbours that still have this length together are the pair
      // proposed.
      if (left.n_bytes + right.n_bytes != pair.n_bytes) continue;
      left.n_bytes = pair.n_bytes;
      left.id = pair.id;
      right.n_bytes = 0;
      left.next = right.next;
      if (right.next != MergeSymbol::kNoSymbol) symbols_[right.next].previous = pair.left;
      if (left.previous != MergeSymbol::kNoSymbol) propose(left.previous, pair.left);
      if (left.next != MergeSymbol::kNoSymbol) propose(pair.left, left.next);
    }
  }

  std::vector<MergeSymbol> symbols_;
  PairHeap heap_;
};

}  // namespace olx::engine
