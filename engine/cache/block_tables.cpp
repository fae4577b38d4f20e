#include "engine/cache/block_tables.h"

#include "gguf/check.h"

namespace olx::engine {

BlockTables::BlockTables(int64_t n_pages, int64_t page_tokens, int64_t n_sequences,
                         int64_t max_blocks)
    : page_tokens_(page_tokens), max_blocks_(max_blocks) {
  OLX_CHECK(n_pages > 0 && page_tokens > 0 && n_sequences > 0 && max_blocks > 0);
  table_.assign(static_cast<size_t>(n_sequences * max_blocks), 0);
  n_owners_.assign(static_cast<size_t>(n_pages), 0);
  sequences_.resize(static_cast<size_t>(n_sequences));
  free_.reserve(static_cast<size_t>(n_pages));
  for (int64_t page = n_pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

int32_t BlockTables::take_page() {
  OLX_CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  n_owners_[static_cast<size_t>(page)] = 1;
  return page;
}

bool BlockTables::reserve(int64_t sequence, int64_t n_positions, std::vector<PageCopy>& copies) {
  OLX_CHECK(sequence >= 0 && sequence < n_sequences() && n_positions >= 0);
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  const int64_t n_blocks = (n_positions + page_tokens_ - 1) / page_tokens_;
  if (n_blocks > max_blocks_) return false;
  // Only a page with both old and new positions can be shared and written: the one that n_used ends in.
  const int64_t first_written = state.n_used / page_tokens_;
  int64_t n_needed = n_blocks > state.n_blocks ? n_blocks - state.n_blocks : 0;
  const auto is_shared = [&](int64_t block) {
    return n_owners_[static_cast<size_t>(entry(sequence, block))] > 1;
  };
  const int64_t end_held = n_blocks < state.n_blocks ? n_blocks : state.n_blocks;
  if (n_positions > state.n_used) {
    for (int64_t b = first_written; b < end_held; ++b) n_needed += is_shared(b) ? 1 : 0;
  }
  if (n_needed > n_free_pages()) return false;
  if (n_positions > state.n_used) {
    for (int64_t b = first_written; b < end_held; ++b) {
      if (!is_shared(b)) continue;
      const int32_t old_page = entry(sequence, b);
      --n_owners_[static_cast<size_t>(old_page)];
      entry(sequence, b) = take_page();
      copies.push_back({old_page, entry(sequence, b)});
    }
  }
  for (; state.n_blocks < n_blocks; ++state.n_blocks) entry(sequence, state.n_blocks) = take_page();
  return true;
}

void BlockTables::set_used(int64_t sequence, int64_t n_positions) {
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  OLX_CHECK(n_positions >= 0 && n_positions <= state.n_blocks * page_tokens_);
  state.n_used = n_positions;
}

void BlockTables::drop_blocks(int64_t sequence, int64_t n_kept) {
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  while (state.n_blocks > n_kept) {
    int32_t& page = entry(sequence, --state.n_blocks);
    if (--n_owners_[static_cast<size_t>(page)] == 0) free_.push_back(page);
    page = 0;
  }
}

void BlockTables::truncate(int64_t sequence, int64_t n_positions) {
  OLX_CHECK(sequence >= 0 && sequence < n_sequences() && n_positions >= 0);
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  if (n_positions < state.n_used) state.n_used = n_positions;
  drop_blocks(sequence, (state.n_used + page_tokens_ - 1) / page_tokens_);
}

void BlockTables::share_prefix(int64_t from, int64_t to, int64_t n_positions) {
  OLX_CHECK(from >= 0 && from < n_sequences() && to >= 0 && to < n_sequences() && from != to);
  OLX_CHECK(n_positions >= 0 && n_positions <= n_used(from));
  truncate(to, 0);
  Sequence& state = sequences_[static_cast<size_t>(to)];
  const int64_t n_blocks = (n_positions + page_tokens_ - 1) / page_tokens_;
  for (; state.n_blocks < n_blocks; ++state.n_blocks) {
    const int32_t page = entry(from, state.n_blocks);
    ++n_owners_[static_cast<size_t>(page)];
    entry(to, state.n_blocks) = page;
  }
  state.n_used = n_positions;
}

}  // namespace olx::engine
