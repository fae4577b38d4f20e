// The host body of the Simt policy: its operations mean what simt.h says, and each kind of fault is
// found, in a kernel that differs from a sound one by that fault alone.

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/host_simt/lane.h"
#include "kernels/simt/launch_table.h"
#include "tests/kernels/host_simt/faulty_kernels.h"
#include "tests/support/catch.h"

namespace olx::kernels::host_simt {
namespace {

constexpr int kThreads = 128;

struct Outcome {
  std::string fault;  // "" when there was none
  std::vector<float> y;
};

template <typename Body, int kWave>
Outcome run(int64_t n_tokens = 2) {
  std::vector<float> a(static_cast<size_t>(n_tokens * kThreads));
  Outcome outcome{"", std::vector<float>(a.size(), -1.0f)};
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
  const AddArgs args{{outcome.y.data(), n_tokens, kThreads, kThreads},
                     {a.data(), n_tokens, kThreads, kThreads},
                     {}};
  try {
    launch<simt::TestKernel<Body>, kWave>("the_kernel", args, {0, n_tokens});
  } catch (const SimtFault& fault) {
    outcome.fault = fault.what();
  }
  return outcome;
}

template <typename Body>
void is_sound() {
  CHECK(run<Body, 32>().fault == "");
  CHECK(run<Body, 64>().fault == "");
}

// Both wave sizes refuse it, in the same words in every run, and run sound kernels afterwards.
template <typename Body>
void is_refused(const std::vector<std::string>& words) {
  for (const auto& runner : {run<Body, 32>, run<Body, 64>}) {
    const std::string fault = runner(2).fault;
    std::printf("refused: %s\n", fault.c_str());
    CHECK(fault.starts_with("the_kernel, wave "));
    for (const std::string& word : words) CHECK_THAT(fault, Catch::Contains(word));
    CHECK(runner(2).fault == fault);
  }
  is_sound<simt::PassOn<true, 1>>();
  is_sound<simt::PassOnInWave<true>>();
}

}  // namespace

TEST_CASE("HostSimt_FindsRaces") {
  // The last lane to come to a barrier is the first to go on: 127.
  is_refused<simt::PassOn<false, 1>>(
      {"block 0: race: lane 0 writes element 0 of 128 of shared memory at faulty_kernels.h:",
       ", which lane 127 read at faulty_kernels.h:", "with no barrier between"});
  is_refused<simt::PassOn<false, 127>>(
      {"race: lane 0 reads element 127 of 128 of shared memory at faulty_kernels.h:",
       ", which lane 127 wrote at faulty_kernels.h:", "with no barrier between"});
  is_sound<simt::PassOn<true, 127>>();
  is_sound<simt::PassOnTwice<true>>();
  is_refused<simt::PassOnTwice<false>>(
      {"race: lane 0 writes element 0 of 128", "which lane 127 read at"});
  is_sound<simt::ReadersThenWriter<true>>();
  is_refused<simt::ReadersThenWriter<false>>({"race: lane 1 writes element 0 of 1", "which lane "});
  is_sound<simt::PassOnInWave<true>>();
  is_refused<simt::PassOnInWave<false>>(
      {"lane 0 reads element 1 of 128", "no lane of the block has written by then"});
  is_refused<simt::PassOnWithWaveSync>({"no lane of the block has written by then"});
  is_refused<simt::AllWriteOne>({"race", "lane 1 writes element 0 of 1", "which lane 0 wrote at"});
}

TEST_CASE("HostSimt_FindsSharedMemoryThatNobodyWrote") {
  is_sound<simt::ReadsSlotZero<0>>();
  is_refused<simt::ReadsSlotZero<1>>(
      {"lane ", "reads element 0 of 128 of shared memory at faulty_kernels.h:",
       "which no lane of the block has written"});
}

TEST_CASE("HostSimt_WhatABlockLeftIsGoneInTheNext") {
  // Lane 0 of block 0 writes, that of block 1 does not.
  struct OnlyTheFirstBlock {
    static float value(Lane<32>& s, float) {
      auto slots = s.shared<OnlyTheFirstBlock, float, 1>();
      if (s.block() == 0 && s.thread() == 0) slots.store(0, 7.0f);
      s.barrier();
      return slots.load(0);
    }
  };
  const auto fault = run<OnlyTheFirstBlock, 32>().fault;
  CHECK_THAT(fault, Catch::Contains("block 1: ") &&
                        Catch::Contains("which no lane of the block has written"));
}

TEST_CASE("HostSimt_FindsIndicesOutsideSharedMemory") {
  is_sound<simt::ReadsAt<0>>();
  is_refused<simt::ReadsAt<1>>(
      {"lane 127 reads element 128 of 128 of shared memory at faulty_kernels.h:",
       "which is outside"});
  is_refused<simt::ReadsAt<-1>>({"lane 0 reads element -1 of 128"});
  is_refused<simt::WritesPastTheEnd>({"lane 127 writes element 127 of 127"});
  is_refused<simt::TooMuchSharedMemory>({"expected at most 49152 bytes, got 49156"});
}

TEST_CASE("HostSimt_FindsBarriersThatAreNotReachedByAll") {
  is_refused<simt::BarrierInABranch>(
      {"the barrier at faulty_kernels.h:", "is reached by 127 of 128 lanes: lane 5 has ended"});
  is_refused<simt::TwoBarriersForOne>(
      {"the block is divided: lane 64 comes to the barrier at", "lane 0 waits in the one at"});
  is_refused<simt::BarrierAgainstShuffle>(
      {"a shuffle at ", " lanes: lane ", " waits at faulty_kernels.h:"});
}

TEST_CASE("HostSimt_FindsWavesThatAreDivided") {
  is_refused<simt::ShuffleOfHalfAWave>({"a shuffle at", " lanes: lane ", "has ended"});
  is_refused<simt::ReductionsInBranches>(
      {"the wave is divided: lane 1 comes to a maximum of the wave at",
       "lane 0 waits in a sum of the wave"});
  is_refused<simt::ShuffleOutsideTheWave>({"lane 0 shuffles with mask"});
}

namespace {

struct Butterfly {
  template <simt::Simt S>
  static float value(S& s, float x) {
    for (int mask = S::kWave / 2; mask > 0; mask /= 2) x += s.shuffle_xor(x, mask);
    return x;
  }
};
struct ReduceAdd {
  template <simt::Simt S>
  static float value(S& s, float x) {
    float values[3] = {0, x, 1};
    s.reduce_add(values);
    return values[0] == 0 && values[2] == S::kWave ? values[1] : -1;
  }
};
struct Thirds {
  template <simt::Simt S>
  static float value(S& s, float x) {
    return ReduceAdd::value(s, x / 3.0f) - Butterfly::value(s, x / 3.0f);
  }
};
struct Ballot {
  template <simt::Simt S>
  static float value(S& s, float) {
    return static_cast<float>(
        __builtin_popcountll(s.ballot(s.lane() % 3 == 0 || s.lane() == S::kWave - 1)));
  }
};
struct Max {
  template <simt::Simt S>
  static float value(S& s, float x) {
    float values[1] = {s.lane() % 2 == 0 ? x : -x};
    s.reduce_max(values);
    return values[0];
  }
};
struct BlockSum {
  template <simt::Simt S>
  static float value(S& s, float x) {
    return simt::block_sum(s, x) + 10000 * simt::block_max(s, x);
  }
};
struct Where {
  template <simt::Simt S>
  static float value(S& s, float) {
    const bool is_right =
        s.wave() * S::kWave + s.lane() == s.thread() && s.n_waves() * S::kWave == s.n_threads();
    return is_right ? static_cast<float>(s.block() * 1000 + s.thread()) : -1;
  }
};

// y[i] of every thread of both blocks.
template <typename Body>
void gives(const std::function<float(int wave, int block, int thread)>& expected) {
  const auto check = [&](int wave, const Outcome& outcome) {
    CHECK(outcome.fault == "");
    for (int i = 0; i < 2 * kThreads; ++i) {
      INFO("wave " << wave << " element " << i);
      CHECK(outcome.y[static_cast<size_t>(i)] == expected(wave, i / kThreads, i % kThreads));
    }
  };
  check(32, run<Body, 32>());
  check(64, run<Body, 64>());
}

}  // namespace

TEST_CASE("HostSimt_OperationsMeanWhatThePolicySays") {
  const auto wave_sum = [](int wave, int block, int thread) {
    const int first = block * kThreads + thread / wave * wave;
    return static_cast<float>(wave * first + wave * (wave - 1) / 2);
  };
  gives<Butterfly>(wave_sum);
  gives<ReduceAdd>(wave_sum);
  gives<Thirds>([](int, int, int) { return 0.0f; });  // to the last bit
  gives<Ballot>([](int wave, int, int) { return wave == 32 ? 12.0f : 22.0f; });
  gives<Max>([](int wave, int block, int thread) {
    return static_cast<float>(block * kThreads + thread / wave * wave + wave - 2);
  });
  gives<BlockSum>([](int, int block, int) {
    const int first = block * kThreads;
    return static_cast<float>(kThreads * first + kThreads * (kThreads - 1) / 2) +
           10000.0f * static_cast<float>(first + kThreads - 1);
  });
  gives<Where>(
      [](int, int block, int thread) { return static_cast<float>(block * 1000 + thread); });
  CHECK(Lane<32>::dot4(0x01ff807f, static_cast<int32_t>(0x0280807f), 5) ==
        5 + 127 * 127 + 128 * 128 + 128 + 2);
}

namespace {

// Each lane's words name each word of the rows and tokens, and each sum, as often as the machine
// holds it.
template <typename Layout>
void holds_everything(int n_times_rows, int n_times_cols) {
  int rows[16][8] = {}, cols[16][8] = {}, sums[16][16] = {};
  for (int lane = 0; lane < Layout::kWave; ++lane) {
    for (int i = 0; i < Layout::kRowWords; ++i) {
      const simt::TilePlace place = Layout::row_word(lane, i);
      ++rows[place.row][place.word];
    }
    for (int i = 0; i < Layout::kColWords; ++i) {
      const simt::TilePlace place = Layout::col_word(lane, i);
      ++cols[place.row][place.word];
    }
    for (int i = 0; i < Layout::kSums; ++i) {
      const simt::TilePlace place = Layout::sum(lane, i);
      ++sums[place.row][place.word];
    }
  }
  int at_neighbour[16] = {};
  for (int i = 0; i < 16; ++i) ++at_neighbour[Layout::neighbour(i)];
  for (int lane = 0; lane < Layout::kWave; ++lane)
    for (int i = 0; i < Layout::kColWords; ++i)
      CHECK(Layout::neighbour(Layout::col_word(lane, i).row) ==
            Layout::neighbour(Layout::col_word(lane, 0).row) +
                i / (Layout::kColWords / Layout::kLaneCols));
  for (int i = 0; i < 16; ++i) {
    CHECK(at_neighbour[i] == 1);
    for (int j = 0; j < 8; ++j) CHECK((rows[i][j] == n_times_rows && cols[i][j] == n_times_cols));
    for (int j = 0; j < 16; ++j) CHECK(sums[i][j] == 1);
  }
}

// A lane of TileLayoutDot4, alone.
template <int kWaveSize>
struct Dot4Lane : Lane<kWaveSize> {
  using TileLayout = simt::TileLayoutDot4<kWaveSize>;
};

template <int kWave>
void multiplies_by_dot4() {
  using Layout = simt::TileLayoutDot4<kWave>;
  int8_t a[16][32], b[16][32];
  for (int i = 0; i < 512; ++i) {
    a[i / 32][i % 32] = static_cast<int8_t>(i * 37 % 255 - 127);
    b[i / 32][i % 32] = static_cast<int8_t>(i * 91 % 253 - 126);
  }
  const auto word_of = [](const int8_t(&of)[16][32], simt::TilePlace place) {
    int32_t word = 0;
    std::memcpy(&word, &of[place.row][4 * place.word], 4);
    return word;
  };
  for (int lane = 0; lane < kWave; ++lane) {
    typename simt::Tile<Layout>::Rows rows{};
    typename simt::Tile<Layout>::Cols cols{};
    typename simt::Tile<Layout>::Sums sums{};
    for (int i = 0; i < Layout::kRowWords; ++i)
      rows.word[i] = word_of(a, Layout::row_word(lane, i));
    for (int i = 0; i < Layout::kColWords; ++i)
      cols.word[i] = word_of(b, Layout::col_word(lane, i));
    simt::multiply_by_dot4<Dot4Lane<kWave>>(rows, cols, 4, 4, sums);  // the second half alone
    for (int i = 0; i < Layout::kSums; ++i) {
      const simt::TilePlace place = Layout::sum(lane, i);
      int expected = 0;
      for (int k = 16; k < 32; ++k) expected += a[place.row][k] * b[place.word][k];
      CHECK(sums.word[i] == expected);
    }
  }
}

// Whole numbers, of which all sums are exact.
constexpr float f16_of_row(int row, int k) {
  return static_cast<float>((row * 37 + k * 11) % 61 - 30);
}
constexpr float f16_of_col(int col, int k) {
  return static_cast<float>((col * 23 + k * 29) % 53 - 26);
}
float product_of(int row, int col) {
  float sum = 0;
  for (int k = 0; k < 16; ++k) sum += f16_of_row(row, k) * f16_of_col(col, k);
  return sum;
}
int32_t word_of_f16(float low, float high) {
  return gguf::f32_to_f16(low) | static_cast<int32_t>(uint32_t{gguf::f32_to_f16(high)} << 16);
}

// A lane's part of a product by `multiply`: of how many sums it is wrong.
template <typename Layout, typename Multiply>
int n_wrong_of_f16(int lane, Multiply multiply) {
  typename simt::Tile<Layout>::Rows rows{};
  typename simt::Tile<Layout>::Cols cols{};
  typename simt::Tile<Layout>::Floats sums{};
  for (int i = 0; i < Layout::kRowWords; ++i) {
    const simt::TilePlace at = Layout::row_word(lane, i);
    rows.word[i] =
        word_of_f16(f16_of_row(at.row, 2 * at.word), f16_of_row(at.row, 2 * at.word + 1));
  }
  for (int i = 0; i < Layout::kColWords; ++i) {
    const simt::TilePlace at = Layout::col_word(lane, i);
    cols.word[i] =
        word_of_f16(f16_of_col(at.row, 2 * at.word), f16_of_col(at.row, 2 * at.word + 1));
  }
  for (int i = 0; i < Layout::kSums; ++i) sums.value[i] = static_cast<float>(i);
  multiply(rows, cols, sums);
  int n_wrong = 0;
  for (int i = 0; i < Layout::kSums; ++i) {
    const simt::TilePlace at = Layout::sum(lane, i);
    n_wrong += sums.value[i] == static_cast<float>(i) + product_of(at.row, at.word) ? 0 : 1;
  }
  return n_wrong;
}

template <int kWave>
void multiplies_by_fma() {
  using Layout = simt::TileLayoutDot4<kWave>;
  for (int lane = 0; lane < kWave; ++lane)
    CHECK(n_wrong_of_f16<Layout>(lane, [](const auto& rows, const auto& cols, auto& sums) {
            simt::multiply_by_fma<Dot4Lane<kWave>>(rows, cols, sums);
          }) == 0);
}

struct ProductOfF16 {
  template <simt::Simt S>
  static float value(S& s, float) {
    return static_cast<float>(n_wrong_of_f16<typename S::TileLayout>(
        s.lane(),
        [&](const auto& rows, const auto& cols, auto& sums) { s.multiply_f16(rows, cols, sums); }));
  }
};
// 1 + 16 2^-25.
struct SumOfSmallProducts {
  template <simt::Simt S>
  static float value(S& s, float) {
    typename S::Tile::Rows rows{};
    typename S::Tile::Cols cols{};
    typename S::Tile::Floats sums{};
    for (int32_t& word : rows.word) word = word_of_f16(0x1p-12f, 0x1p-12f);
    for (int32_t& word : cols.word) word = word_of_f16(0x1p-13f, 0x1p-13f);
    for (float& sum : sums.value) sum = 1.0f;
    s.multiply_f16(rows, cols, sums);
    return sums.value[0];
  }
};

}  // namespace

TEST_CASE("HostSimt_MultipliesF16") {
  gives<ProductOfF16>([](int, int, int) { return 0.0f; });
  gives<SumOfSmallProducts>([](int, int, int) { return 1.0f; });  // each is cut off, or rounded
  multiplies_by_fma<32>();
  multiplies_by_fma<64>();
}

TEST_CASE("HostSimt_LayoutsOfTilesHoldEveryWord") {
  holds_everything<simt::TileLayoutMma>(1, 1);
  holds_everything<simt::TileLayoutMfma>(1, 1);
  holds_everything<simt::TileLayoutWmma>(2, 2);  // both half waves
  holds_everything<simt::TileLayoutDot4<32>>(8, 4);
  holds_everything<simt::TileLayoutDot4<64>>(8, 8);
  multiplies_by_dot4<32>();
  multiplies_by_dot4<64>();
}

TEST_CASE("AttentionGrid_HasABlockATile") {
  AttentionArgs args;
  args.n_heads = 8;
  args.kv.n_kv_heads = 2;  // four heads each: four tokens fill a tile
  const auto n_blocks = [&](const std::vector<TokenSlot>& tokens, int64_t n_splits,
                            RowRange range) {
    args.tokens = tokens.data();
    args.q.n_rows = static_cast<int64_t>(tokens.size());
    args.n_splits = n_splits;
    if (range.size() == 0) range = {0, args.rows()};
    const simt::LaunchRow* row = simt::find_launch("attention_f16_simt");
    REQUIRE(row != nullptr);
    CHECK(row->grid(&args, range, 64).n_blocks == row->grid(&args, range, 32).n_blocks);
    return row->grid(&args, range, 32).n_blocks;
  };
  std::vector<TokenSlot> prompt, batch;
  for (int32_t i = 0; i < 62; ++i) prompt.push_back({0, i});
  for (int32_t i = 0; i < 6; ++i) batch.push_back({i, 100});
  CHECK(n_blocks(prompt, 1, {}) == 16 * 2);
  CHECK(n_blocks(batch, 1, {}) == 6 * 2);
  CHECK(n_blocks(batch, 3, {}) == 6 * 2 * 3);
  CHECK(n_blocks(prompt, 1, {10, 62}) == 16);  // of one kv head
  CHECK(n_blocks(prompt, 1, {61, 63}) == 16 * 2);
}

TEST_CASE("HostSimt_RunsOnManyThreadsAtOnce") {
  std::vector<std::jthread> threads;
  std::vector<Outcome> outcomes(4);
  for (Outcome& outcome : outcomes)
    threads.emplace_back([&outcome] {
      for (int i = 0; i < 20 && outcome.fault.empty(); ++i) outcome = run<BlockSum, 32>(3);
    });
  threads.clear();
  for (const Outcome& outcome : outcomes) {
    CHECK(outcome.fault == "");
    CHECK(outcome.y == outcomes[0].y);
  }
}

}  // namespace olx::kernels::host_simt
