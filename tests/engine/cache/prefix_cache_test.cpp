#include "engine/cache/prefix_cache.h"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "tests/support/catch.h"

using olx::engine::BlockTables;
using olx::engine::PrefixCache;

namespace {

using Tokens = std::vector<int32_t>;

// Tables with pages that remember which tokens were written into them, written only by the sequence
// whose turn it is.
struct Pool {
  static constexpr int64_t kTokens = 4, kBlocks = 6;
  Pool(int64_t n_pages, int64_t n_sequences)
      : tables(n_pages, kTokens, n_sequences, kBlocks),
        cache(tables),
        texts(static_cast<size_t>(n_sequences)),
        content(static_cast<size_t>(n_pages), Tokens(kTokens, -1)) {}

  void reserve(int64_t sequence, int64_t n_positions) {
    copies.clear();
    while (!tables.reserve(sequence, n_positions, copies)) REQUIRE(cache.evict_one());
    for (const auto& copy : copies)
      content[static_cast<size_t>(copy.to)] = content[static_cast<size_t>(copy.from)];
  }
  void write(int64_t sequence, const Tokens& tokens) {
    Tokens& text = texts[static_cast<size_t>(sequence)];
    reserve(sequence, static_cast<int64_t>(text.size() + tokens.size()));
    for (const int32_t token : tokens) {
      const auto position = static_cast<int64_t>(text.size());
      content[static_cast<size_t>(tables.page_of(sequence, position / kTokens))]
             [static_cast<size_t>(position % kTokens)] = token;
      text.push_back(token);
    }
    tables.set_used(sequence, static_cast<int64_t>(text.size()));
  }
  int64_t attach(int64_t sequence, const Tokens& tokens) {
    const int64_t n = cache.attach(sequence, tokens);
    texts[static_cast<size_t>(sequence)].assign(tokens.begin(), tokens.begin() + n);
    return n;
  }
  void cut(int64_t sequence, size_t n) {
    texts[static_cast<size_t>(sequence)].resize(n);
    tables.truncate(sequence, static_cast<int64_t>(n));
  }
  void finish(int64_t sequence) {
    cache.insert(sequence, texts[static_cast<size_t>(sequence)], true);
    cut(sequence, 0);
  }
  void check_content(int64_t sequence) const {
    const Tokens& text = texts[static_cast<size_t>(sequence)];
    REQUIRE(tables.n_used(sequence) == static_cast<int64_t>(text.size()));
    for (size_t i = 0; i < text.size(); ++i)
      REQUIRE(content[static_cast<size_t>(tables.page_of(
                  sequence, static_cast<int64_t>(i) / kTokens))][i % kTokens] == text[i]);
  }

  BlockTables tables;
  PrefixCache cache;
  std::vector<Tokens> texts;
  std::vector<Tokens> content;
  std::vector<BlockTables::PageCopy> copies;
};

}  // namespace

TEST_CASE("PrefixCache_FindsTheLongestPrefixToTheLastToken") {
  Pool pool(24, 2);
  CHECK(pool.attach(0, {1, 2, 3}) == 0);
  pool.write(0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  pool.finish(0);
  CHECK(pool.cache.n_pages() == 3);
  CHECK(pool.tables.n_held_pages() == 0);
  CHECK(pool.attach(1, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) ==
        10);  // into the page that is not full
  pool.check_content(1);
  CHECK(pool.attach(1, {1, 2, 3, 4, 5, 6, 0, 8, 9}) == 6);
  CHECK(pool.attach(1, {1, 2, 3, 4, 5}) == 5);
  CHECK(pool.attach(1, {1, 2, 3, 4}) == 4);
  CHECK(pool.attach(1, {2, 2, 3, 4}) == 0);
  CHECK(pool.attach(1, {}) == 0);
  CHECK(pool.cache.stats().n_hits == 4);
  CHECK(pool.cache.stats().n_tokens_saved == 25);
}

TEST_CASE("PrefixCache_SharesWhatTwoTextsBeginWithAndKeepsBothEnds") {
  Pool pool(24, 2);
  pool.write(0, {1, 2, 3, 4, 5, 6, 7});
  pool.finish(0);
  CHECK(pool.attach(1, {1, 2, 3, 4, 5, 9}) == 5);
  pool.write(1, {9, 9, 9, 9});
  pool.finish(1);
  CHECK(pool.cache.n_pages() == 4);  // the first page once, 5 6 7, 5 9 9 9 and 9
  for (const Tokens& text : {Tokens{1, 2, 3, 4, 5, 6, 7}, Tokens{1, 2, 3, 4, 5, 9, 9, 9, 9}}) {
    CHECK(pool.attach(0, text) == static_cast<int64_t>(text.size()));
    pool.check_content(0);
  }
}

TEST_CASE("PrefixCache_AShortBlockGivesWayToALongerOne") {
  Pool pool(24, 2);
  pool.write(0, {1, 2, 3, 4, 5});
  pool.finish(0);
  CHECK(pool.attach(0, {1, 2, 3, 4, 5, 6}) == 5);
  pool.write(0, {6});
  pool.finish(0);
  CHECK(pool.cache.n_pages() == 2);
  CHECK(pool.tables.n_free_pages() == 22);
  pool.write(1, {1, 2, 3, 4, 5});  // and the longer one stays
  pool.finish(1);
  CHECK(pool.cache.n_pages() == 2);
  CHECK(pool.attach(0, {1, 2, 3, 4, 5, 6, 7}) == 6);
  pool.check_content(0);
}

TEST_CASE("PrefixCache_ARunningSequenceSharesItsFullPagesOnly") {
  Pool pool(24, 2);
  pool.write(0, {1, 2, 3, 4, 5, 6});
  pool.cache.insert(0, pool.texts[0], false);
  CHECK(pool.cache.n_pages() == 1);
  CHECK(pool.attach(1, {1, 2, 3, 4, 5, 6}) == 4);
  pool.write(0, {7});
  CHECK(pool.copies.empty());
  pool.cut(0, 2);  // a context that is shifted: the shared page is not its own any more
  pool.write(0, {8, 8});
  CHECK(pool.copies.size() == 1);
  pool.check_content(0);
  pool.check_content(1);
}

TEST_CASE("PrefixCache_GivesUpTheLeafNotUsedForLongest") {
  Pool pool(24, 2);
  for (const int32_t first : {1, 2, 3}) {
    pool.write(0, {first, 0, 0, 0, 7, 7});
    pool.finish(0);
  }
  pool.attach(0, {1, 0, 0});  // the first page of the first text only
  pool.cut(0, 0);
  CHECK(pool.cache.evict_one());  // the end of the first: older than those of the others
  CHECK(pool.attach(0, {1, 0, 0, 0, 7, 7}) == 4);
  pool.cut(0, 0);
  CHECK(pool.cache.evict_one());
  CHECK(pool.cache.evict_one());
  CHECK(pool.attach(0, {2, 0, 0, 0}) == 0);
  CHECK(pool.attach(0, {3, 0, 0, 0, 7, 7}) == 6);
  CHECK(pool.attach(1, {1, 0, 0, 0}) == 4);
  CHECK(pool.cache.stats().n_evicted == 3);
}

TEST_CASE("PrefixCache_PassesOverPagesThatSequencesHold") {
  Pool pool(4, 2);
  pool.write(0, {1, 1, 1, 1});
  pool.finish(0);
  pool.write(0, {2, 2, 2, 2});
  pool.finish(0);
  CHECK(pool.attach(0, {1, 1, 1, 1}) == 4);
  pool.attach(1, {2, 2, 2, 2});
  pool.cut(1, 0);
  pool.write(1, {3, 3, 3, 3, 3, 3, 3, 3,
                 3});  // three pages, two are free: the second text goes though used last
  pool.check_content(0);
  CHECK(pool.cache.n_pages() == 1);
  pool.cut(1, 0);
  CHECK(pool.attach(1, {1, 1, 1, 1}) == 4);
}

TEST_CASE("PrefixCache_ASequenceNeverLacksAPageThatTheCacheKeeps") {
  // Both sequences may hold all their blocks while the pages are in the tree too: the page to be
  // copied becomes the sequence's own when the tree lets it go.
  Pool pool(2 * Pool::kBlocks, 2);
  const Tokens whole(Pool::kBlocks * Pool::kTokens, 5);
  pool.write(0, whole);
  pool.write(1, Tokens(whole.size(), 6));
  for (const int64_t s : {0, 1}) pool.cache.insert(s, pool.texts[static_cast<size_t>(s)], true);
  CHECK(pool.tables.n_free_pages() == 0);
  pool.cut(0, whole.size() - 1);
  pool.write(0, {7});
  pool.check_content(0);
  pool.check_content(1);
}

TEST_CASE("PrefixCache_AgreesWithANaiveModelWhereNothingIsEvicted") {
  // Every text ever kept, as it is: the longest common prefix with any of them.
  std::mt19937 rng(11);
  const auto pick = [&](int n) { return static_cast<int32_t>(rng() % static_cast<uint32_t>(n)); };
  Pool pool(100'000, 3);
  std::vector<Tokens> kept;
  for (int step = 0; step < 2000; ++step) {
    const int64_t s = pick(3);
    Tokens text;
    if (!kept.empty() && pick(3) > 0) {
      text = kept[static_cast<size_t>(pick(static_cast<int>(kept.size())))];
      text.resize(static_cast<size_t>(pick(static_cast<int>(text.size()) + 1)));
    }
    while (text.size() < Pool::kBlocks * Pool::kTokens && pick(6) > 0) text.push_back(pick(3));
    int64_t expected = 0;
    for (const Tokens& other : kept)
      expected = std::max<int64_t>(
          expected,
          std::mismatch(text.begin(), text.end(), other.begin(), other.end()).first - text.begin());
    REQUIRE(pool.attach(s, text) == expected);
    pool.check_content(s);
    pool.write(s, {text.begin() + expected, text.end()});
    const bool is_final = pick(4) > 0;
    pool.cache.insert(s, pool.texts[static_cast<size_t>(s)], is_final);
    text.resize(is_final ? text.size() : text.size() / Pool::kTokens * Pool::kTokens);
    kept.push_back(text);
  }
  CHECK(pool.cache.stats().n_evicted == 0);
}

TEST_CASE("PrefixCache_LosesNoPageAndMixesUpNoTextUnderPressure", "[T-87][T-100]") {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    std::mt19937 rng(seed);
    const auto pick = [&](int64_t n) {
      return static_cast<int64_t>(rng() % static_cast<uint64_t>(n));
    };
    constexpr int64_t kSequences = 3, kPages = kSequences * Pool::kBlocks;
    Pool pool(kPages, kSequences);
    int64_t n_found = 0;
    for (int step = 0; step < 20'000; ++step) {
      const int64_t s = pick(kSequences);
      const Tokens& text = pool.texts[static_cast<size_t>(s)];
      switch (pick(6)) {
        case 0: {
          Tokens wanted;
          for (int64_t i = pick(Pool::kBlocks * Pool::kTokens); i > 0; --i)
            wanted.push_back(static_cast<int32_t>(pick(8) == 0));
          pool.finish(s);
          n_found += pool.attach(s, wanted);
          break;
        }
        case 1:
          pool.cache.insert(s, text, false);
          break;
        case 2:
          pool.cache.insert(s, text, true);
          break;
        case 3:
          pool.cut(s, static_cast<size_t>(pick(static_cast<int64_t>(text.size()) + 1)));
          break;
        case 4:
          pool.reserve(
              s, static_cast<int64_t>(text.size()) +
                     pick(Pool::kBlocks * Pool::kTokens - static_cast<int64_t>(text.size()) + 1));
          break;
        default: {
          // A sequence within its limit always gets room: Pool::reserve requires it.
          Tokens more;
          for (int64_t i =
                   pick(Pool::kBlocks * Pool::kTokens - static_cast<int64_t>(text.size()) + 1);
               i > 0; --i)
            more.push_back(static_cast<int32_t>(pick(8) == 0));
          pool.write(s, more);
        }
      }
      pool.check_content(pick(kSequences));
      REQUIRE(pool.tables.n_held_pages() + pool.tables.n_free_pages() <= kPages);
      REQUIRE(pool.cache.n_pages() <= kPages);
    }
    CHECK(n_found > 1000);
    CHECK(pool.cache.stats().n_evicted > 100);
    for (int64_t s = 0; s < kSequences; ++s) pool.cut(s, 0);
    REQUIRE(pool.tables.n_held_pages() == 0);
    REQUIRE(pool.tables.n_free_pages() + pool.cache.n_pages() == kPages);
    while (pool.cache.evict_one()) {
    }
    REQUIRE(pool.tables.n_free_pages() == kPages);
    REQUIRE(pool.cache.n_pages() == 0);
  }
}
