#pragma once
// BlockTables: which page of the KV pool holds which positions of which sequence. Pages are
// counted, so that sequences can share a prefix (Kwon et al. 2023, arXiv:2309.06180), and can be
// kept for later by PrefixCache. Used by KvCache. Pure bookkeeping: it owns no keys and values.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace olx::engine {

class BlockTables {
 public:
  // One page holds page_tokens positions; a sequence at most max_blocks pages.
  BlockTables(int64_t n_pages, int64_t page_tokens, int64_t n_sequences, int64_t max_blocks);

  // A page that a writer must copy before writing, because somebody else still reads it.
  struct PageCopy {
    int32_t from = 0;
    int32_t to = 0;
  };

  // Gives the sequence pages for positions [0, n_positions). False, with nothing changed, when the
  // pool has too few or n_positions exceeds max_blocks pages. Pages that [n_used, n_positions) will
  // write and that are shared are replaced by fresh ones, and `copies` lists what the caller must
  // copy.
  bool reserve(int64_t sequence, int64_t n_positions, std::vector<PageCopy>& copies);
  // Says that positions [0, n_positions) now hold data. They must be reserved (OLX_CHECK).
  void set_used(int64_t sequence, int64_t n_positions);
  // Forgets positions >= n_positions and frees the pages behind them, reserved ones included.
  void truncate(int64_t sequence, int64_t n_positions);
  // Makes the sequence (emptied first) begin with these pages, whose first n_positions hold data.
  // They must be held or kept, and as many as n_positions needs (OLX_CHECK).
  void attach(int64_t sequence, std::span<const int32_t> pages, int64_t n_positions);

  // A page in use that is kept does not become free when the last sequence lets it go. A page can
  // be kept once.
  void keep(int32_t page);
  void unkeep(int32_t page);

  int64_t n_used(int64_t sequence) const {
    return sequences_[static_cast<size_t>(sequence)].n_used;
  }
  // The page of the block'th page_tokens positions; they must be reserved (OLX_CHECK).
  int32_t page_of(int64_t sequence, int64_t block) const;
  // By a sequence.
  bool is_held(int32_t page) const { return pages_[static_cast<size_t>(page)].n_owners > 0; }
  bool is_kept(int32_t page) const { return pages_[static_cast<size_t>(page)].is_kept; }
  int64_t n_free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t n_held_pages() const { return n_held_; }
  int64_t n_pages() const { return static_cast<int64_t>(pages_.size()); }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t max_blocks() const { return max_blocks_; }
  int64_t n_sequences() const { return static_cast<int64_t>(sequences_.size()); }
  // [n_sequences, max_blocks] page indices; the address never changes. Entries without a page are
  // 0.
  const int32_t* table() const { return table_.data(); }

 private:
  struct Sequence {
    int64_t n_used = 0;    // positions with data
    int64_t n_blocks = 0;  // pages held
  };
  struct Page {
    int32_t n_owners = 0;  // sequences
    bool is_kept = false;
  };
  int32_t& entry(int64_t sequence, int64_t block) {
    return table_[static_cast<size_t>(sequence * max_blocks_ + block)];
  }
  void drop_blocks(int64_t sequence, int64_t n_kept);
  int32_t take_page();
  void add_owner(int32_t page);
  void drop_owner(int32_t page);

  int64_t page_tokens_;
  int64_t max_blocks_;
  std::vector<int32_t> table_;
  std::vector<Page> pages_;
  int64_t n_held_ = 0;         // pages that sequences own
  std::vector<int32_t> free_;  // a stack: the page freed last is used first, while it is warm
  std::vector<Sequence> sequences_;
};

}  // namespace olx::engine
