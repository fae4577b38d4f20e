#include "engine/cache/block_tables.h"

#include <random>
#include <set>

#include "tests/support/catch.h"

using olx::engine::BlockTables;

namespace {

void share_prefix(BlockTables& tables, int64_t from, int64_t to, int64_t n_positions) {
  std::vector<int32_t> pages;
  for (int64_t b = 0; b * tables.page_tokens() < n_positions; ++b)
    pages.push_back(tables.page_of(from, b));
  tables.attach(to, pages, n_positions);
}

}  // namespace

TEST_CASE("BlockTables_GivesPagesAndTakesThemBack") {
  BlockTables tables(8, 4, 2, 6);
  std::vector<BlockTables::PageCopy> copies;
  REQUIRE(tables.reserve(0, 9, copies));  // three pages
  REQUIRE(tables.n_free_pages() == 5);
  tables.set_used(0, 9);
  REQUIRE(tables.reserve(1, 20, copies));  // five: the pool is now empty
  REQUIRE_FALSE(tables.reserve(0, 13, copies));
  REQUIRE(tables.reserve(0, 12, copies));  // still inside its third page
  tables.truncate(1, 0);
  REQUIRE(tables.n_free_pages() == 5);
  REQUIRE_FALSE(tables.reserve(0, 25, copies));  // more than max_blocks pages
  tables.truncate(0, 4);
  REQUIRE(tables.n_used(0) == 4);
  REQUIRE(tables.n_free_pages() == 7);
  REQUIRE(copies.empty());
}

TEST_CASE("BlockTables_CopiesASharedPageBeforeItIsWritten") {
  BlockTables tables(8, 4, 2, 4);
  std::vector<BlockTables::PageCopy> copies;
  REQUIRE(tables.reserve(0, 6, copies));
  tables.set_used(0, 6);
  share_prefix(tables, 0, 1, 5);
  REQUIRE(tables.n_used(1) == 5);
  REQUIRE(tables.n_free_pages() == 6);
  REQUIRE(tables.table()[0] == tables.table()[4]);
  REQUIRE(tables.table()[1] == tables.table()[5]);
  REQUIRE(tables.reserve(1, 6, copies));
  REQUIRE(copies.size() == 1);
  REQUIRE(copies[0].from == tables.table()[1]);
  REQUIRE(copies[0].to == tables.table()[5]);
  REQUIRE(copies[0].from != copies[0].to);
  copies.clear();
  REQUIRE(tables.reserve(0, 8, copies));  // the other owner is alone now
  REQUIRE(copies.empty());
  tables.truncate(0, 0);
  REQUIRE(tables.n_free_pages() == 6);  // its first page lives on in sequence 1
  tables.truncate(1, 0);
  REQUIRE(tables.n_free_pages() == 8);
}

TEST_CASE("BlockTables_KeepsAPageWhoseSequencesAreGoneAndDoesNotLetItBeWritten") {
  BlockTables tables(4, 4, 2, 4);
  std::vector<BlockTables::PageCopy> copies;
  REQUIRE(tables.reserve(0, 6, copies));
  tables.set_used(0, 6);
  const std::vector<int32_t> pages{tables.page_of(0, 0), tables.page_of(0, 1)};
  for (const int32_t page : pages) tables.keep(page);
  REQUIRE(tables.n_held_pages() == 2);
  tables.truncate(0, 0);
  REQUIRE(tables.n_held_pages() == 0);
  REQUIRE(tables.n_free_pages() == 2);
  REQUIRE_FALSE(tables.is_held(pages[0]));
  tables.attach(1, pages, 5);
  REQUIRE(tables.n_held_pages() == 2);
  REQUIRE(tables.n_used(1) == 5);
  REQUIRE(tables.reserve(1, 6, copies));  // its only owner, and yet not its own
  REQUIRE(copies.size() == 1);
  REQUIRE(copies[0].from == pages[1]);
  REQUIRE(tables.n_held_pages() == 2);
  REQUIRE(tables.n_free_pages() == 1);
  tables.unkeep(pages[1]);
  REQUIRE(tables.n_free_pages() == 2);
  tables.unkeep(pages[0]);
  REQUIRE(tables.n_free_pages() == 2);  // sequence 1 still reads it
  tables.truncate(1, 0);
  REQUIRE(tables.n_free_pages() == 4);
}

TEST_CASE("BlockTables_NeverGiveOneWritablePageToTwoSequences", "[T-99]") {
  std::mt19937 rng(7);
  constexpr int64_t kPages = 24, kTokens = 3, kSequences = 4, kBlocks = 8;
  BlockTables tables(kPages, kTokens, kSequences, kBlocks);
  std::vector<BlockTables::PageCopy> copies;
  const auto pick = [&](int64_t n) {
    return static_cast<int64_t>(rng() % static_cast<uint64_t>(n));
  };
  for (int step = 0; step < 5000; ++step) {
    const int64_t s = pick(kSequences);
    switch (pick(3)) {
      case 0: {
        const int64_t want = tables.n_used(s) + pick(8);
        const int64_t first = tables.n_used(s) / kTokens;
        if (tables.reserve(s, want, copies)) {
          std::set<int32_t> others;
          for (int64_t t = 0; t < kSequences; ++t) {
            const int64_t n_blocks = (tables.n_used(t) + kTokens - 1) / kTokens;
            for (int64_t b = 0; t != s && b < n_blocks; ++b) {
              others.insert(tables.table()[t * kBlocks + b]);
            }
          }
          for (int64_t b = first; want > tables.n_used(s) && b * kTokens < want; ++b) {
            REQUIRE(others.count(tables.table()[s * kBlocks + b]) == 0);
          }
          tables.set_used(s, std::max(want, tables.n_used(s)));
        }
        break;
      }
      case 1:
        tables.truncate(s, pick(tables.n_used(s) + 2));
        break;
      default: {
        const int64_t to = pick(kSequences);
        share_prefix(tables, s, to, pick(tables.n_used(s) + 1));  // to itself too
      }
    }
  }
  for (int64_t s = 0; s < kSequences; ++s) tables.truncate(s, 0);
  REQUIRE(tables.n_free_pages() == kPages);
}
