#include "engine/cache/block_tables.h"

#include "gguf/check.h"

namespace olx::engine {

BlockTables::BlockTables(int64_t n_pages, int64_t page_tokens, int64_t n_sequences,
                         int64_t max_blocks)
    : page_tokens_(page_tokens), max_blocks_(max_blocks) {
  OLX_CHECK(n_pages > 0 && page_tokens > 0 && n_sequences > 0 && max_blocks > 0);
  table_.assign(static_cast<size_t>(n_sequences * max_blocks), 0);
  pages_.resize(static_cast<size_t>(n_pages));
  sequences_.resize(static_cast<size_t>(n_sequences));
  free_.reserve(static_cast<size_t>(n_pages));
  for (int64_t page = n_pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

int32_t BlockTables::take_page() {
  OLX_CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  add_owner(page);
  return page;
}

void BlockTables::add_owner(int32_t page) {
  if (pages_[static_cast<size_t>(page)].n_owners++ == 0) ++n_held_;
}

void BlockTables::drop_owner(int32_t page) {
  Page& state = pages_[static_cast<size_t>(page)];
  if (--state.n_owners > 0) return;
  --n_held_;
  if (!state.is_kept) free_.push_back(page);
}

void BlockTables::keep(int32_t page) {
  Page& state = pages_[static_cast<size_t>(page)];
  OLX_CHECK(state.n_owners > 0 && !state.is_kept);
  state.is_kept = true;
}

void BlockTables::unkeep(int32_t page) {
  Page& state = pages_[static_cast<size_t>(page)];
  OLX_CHECK(state.is_kept);
  state.is_kept = false;
  if (state.n_owners == 0) free_.push_back(page);
}

int32_t BlockTables::page_of(int64_t sequence, int64_t block) const {
  OLX_CHECK(block >= 0 && block < sequences_[static_cast<size_t>(sequence)].n_blocks);
  return table_[static_cast<size_t>(sequence * max_blocks_ + block)];
}

bool BlockTables::reserve(int64_t sequence, int64_t n_positions, std::vector<PageCopy>& copies) {
  OLX_CHECK(sequence >= 0 && sequence < n_sequences() && n_positions >= 0);
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  const int64_t n_blocks = (n_positions + page_tokens_ - 1) / page_tokens_;
  if (n_blocks > max_blocks_) return false;
  // Only a page with both old and new positions can be shared and written: the one that n_used ends
  // in.
  const int64_t first_written = state.n_used / page_tokens_;
  int64_t n_needed = n_blocks > state.n_blocks ? n_blocks - state.n_blocks : 0;
  const auto is_shared = [&](int64_t block) {
    const Page& page = pages_[static_cast<size_t>(entry(sequence, block))];
    return page.n_owners > 1 || page.is_kept;
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
      entry(sequence, b) = take_page();
      drop_owner(old_page);
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
    drop_owner(page);
    page = 0;
  }
}

void BlockTables::truncate(int64_t sequence, int64_t n_positions) {
  OLX_CHECK(sequence >= 0 && sequence < n_sequences() && n_positions >= 0);
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  if (n_positions < state.n_used) state.n_used = n_positions;
  drop_blocks(sequence, (state.n_used + page_tokens_ - 1) / page_tokens_);
}

void BlockTables::attach(int64_t sequence, std::span<const int32_t> pages, int64_t n_positions) {
  OLX_CHECK(sequence >= 0 && sequence < n_sequences() && n_positions >= 0);
  OLX_CHECK(static_cast<int64_t>(pages.size()) == (n_positions + page_tokens_ - 1) / page_tokens_);
  OLX_CHECK(static_cast<int64_t>(pages.size()) <= max_blocks_);
  // Counted before the sequence lets go of what it has, which may be the same pages.
  for (const int32_t page : pages) {
    OLX_CHECK(page >= 0 && page < n_pages() && (is_held(page) || is_kept(page)));
    add_owner(page);
  }
  truncate(sequence, 0);
  Sequence& state = sequences_[static_cast<size_t>(sequence)];
  for (const int32_t page : pages) entry(sequence, state.n_blocks++) = page;
  state.n_used = n_positions;
}

}  // namespace olx::engine
