#pragma once
// BlockTables: which page of the KV pool holds which positions of which sequence. Pages are counted, so that sequences
// can share a prefix (Kwon et al. 2023, arXiv:2309.06180). Pure bookkeeping: it owns no keys and values.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace olx::engine {

class BlockTables {
 public:
  // One page holds page_tokens positions; a sequence at most max_blocks pages.
  BlockTables(int64_t n_pages, int64_t page_tokens, int64_t n_sequences, int64_t max_blocks);

  // A page that a writer must copy before writing, because another sequence still reads it.
  struct PageCopy {
    int32_t from = 0;
    int32_t to = 0;
  };

  // Gives the sequence pages for positions [0, n_positions). False, with nothing changed, when the pool has too few
  // or n_positions exceeds max_blocks pages. Pages that [n_used, n_positions) will write and that are shared are
  // replaced by fresh ones, and `copies` lists what the caller must copy.
  bool reserve(int64_t sequence, int64_t n_positions, std::vector<PageCopy>& copies);
  // Says that positions [0, n_positions) now hold data. They must be reserved (OLX_CHECK).
  void set_used(int64_t sequence, int64_t n_positions);
  // Forgets positions >= n_positions and frees the pages behind them, reserved ones included.
  void truncate(int64_t sequence, int64_t n_positions);
  // Makes `to` (emptied first) hold the first n_positions of `from`. n_positions <= n_used(from) (OLX_CHECK).
  void share_prefix(int64_t from, int64_t to, int64_t n_positions);

  int64_t n_used(int64_t sequence) const { return sequences_[static_cast<size_t>(sequence)].n_used; }
  int64_t n_free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t n_pages() const { return static_cast<int64_t>(n_owners_.size()); }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t max_blocks() const { return max_blocks_; }
  int64_t n_sequences() const { return static_cast<int64_t>(sequences_.size()); }
  // [n_sequences, max_blocks] page indices; the address never changes. Entries without a page are 0.
  const int32_t* table() const { return table_.data(); }

 private:
  struct Sequence {
    int64_t n_used = 0;    // positions with data
    int64_t n_blocks = 0;  // pages held
  };
  int32_t& entry(int64_t sequence, int64_t block) {
    return table_[static_cast<size_t>(sequence * max_blocks_ + block)];
  }
  void drop_blocks(int64_t sequence, int64_t n_kept);
  int32_t take_page();

  int64_t page_tokens_;
  int64_t max_blocks_;
  std::vector<int32_t> table_;
  std::vector<int32_t> n_owners_;  // per page
  std::vector<int32_t> free_;      // a stack: the page freed last is used first, while it is warm
  std::vector<Sequence> sequences_;
};

}  // namespace olx::engine
