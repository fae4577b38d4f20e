#pragma once
// The Simt policy (simt/simt.h) on the CPU: what a kernel sees of its lane. Every access to shared
// memory is checked, and every wave operation and barrier takes the line that calls it, for the
// report.

#include <bit>
#include <cmath>
#include <type_traits>

#include "gguf/quantize.h"
#include "kernels/host_simt/block.h"
#include "kernels/host_simt/tile_product.h"
#include "kernels/simt/tile.h"

namespace olx::kernels::host_simt {

template <typename T>
class SharedRef {
 public:
  SharedRef(LaneState& lane, SharedMemory::Array& array) : lane_(lane), array_(array) {}
  T load(int64_t i, const Site& site = Site::current()) const {
    uint32_t bits = 0;
    const Block& block = *lane_.block;
    if (!block.shared().load(array_, i, lane_.place, site, bits)) [[unlikely]]
      block.fail_access(false, array_, i, lane_.place, site);
    return std::bit_cast<T>(bits);
  }
  void store(int64_t i, T x, const Site& site = Site::current()) const {
    const Block& block = *lane_.block;
    if (!block.shared().store(array_, i, lane_.place, site, std::bit_cast<uint32_t>(x)))
        [[unlikely]]
      block.fail_access(true, array_, i, lane_.place, site);
  }

 private:
  static_assert(sizeof(T) == 4 && std::is_trivially_copyable_v<T>);
  LaneState& lane_;
  SharedMemory::Array& array_;
};

template <int kWaveSize>
class Lane {
 public:
  static constexpr int kWave = kWaveSize;
  explicit Lane(LaneState& state) : state_(state) {}

  int thread() const { return state_.place.thread; }
  int n_threads() const { return state_.block->n_threads(); }
  int lane() const { return state_.lane; }
  int wave() const { return state_.place.wave; }
  int n_waves() const { return n_threads() / kWave; }
  int64_t block() const { return state_.block_index; }

  template <typename T>
  T shuffle_xor(T x, int mask, const Site& site = Site::current()) {
    static_assert(sizeof(T) == 4);
    if (mask < 0 || mask >= kWave) state_.block->fail_mask(state_, mask, site);
    const auto word = std::bit_cast<uint32_t>(x);
    const uint32_t* words = state_.block->meet_wave(state_, Together::kShuffle, &word, 1, site);
    return std::bit_cast<T>(words[(state_.lane ^ mask) * kMeetingWords]);
  }
  uint64_t ballot(bool bit, const Site& site = Site::current()) {
    const uint32_t word = bit ? 1 : 0;
    const uint32_t* words = state_.block->meet_wave(state_, Together::kBallot, &word, 1, site);
    uint64_t all = 0;
    for (int i = 0; i < kWave; ++i) all |= uint64_t{words[i * kMeetingWords]} << i;
    return all;
  }
  template <int kN>
  void reduce_add(float (&values)[kN], const Site& site = Site::current()) {
    reduce<kN>(values, Together::kReduceAdd, site, [](float a, float b) { return a + b; });
  }
  template <int kN>
  void reduce_max(float (&values)[kN], const Site& site = Site::current()) {
    reduce<kN>(values, Together::kReduceMax, site, [](float a, float b) { return a > b ? a : b; });
  }
  void wave_sync(const Site& site = Site::current()) { state_.block->sync_wave(state_, site); }
  void barrier(const Site& site = Site::current()) { state_.block->barrier(state_, site); }

  template <typename Tag, typename T, int kN>
  SharedRef<T> shared() {
    static constexpr char kIdentity = 0;  // its address: one for each (Tag, T, kN)
    SharedMemory& memory = state_.block->shared();
    SharedMemory::Array* array = memory.find(&kIdentity, kN, simt::kMaxSharedBytes);
    if (array == nullptr) state_.block->fail_size();
    return {state_, *array};
  }
  uint32_t atomic_add(uint32_t* counter, uint32_t x) {
    return __atomic_fetch_add(counter, x, __ATOMIC_ACQ_REL);
  }

  using TileLayout = std::conditional_t<kWave == 32, simt::TileLayoutMma, simt::TileLayoutMfma>;
  using Tile = simt::Tile<TileLayout>;
  void multiply(const typename Tile::Rows& rows, const typename Tile::Cols& cols,
                typename Tile::Sums& sums, const Site& site = Site::current()) {
    constexpr int kRowWords = TileLayout::kRowWords, kColWords = TileLayout::kColWords;
    static_assert(kRowWords + kColWords + TileLayout::kSums <= kMeetingWords);
    uint32_t words[kRowWords + kColWords];
    for (int i = 0; i < kRowWords; ++i) words[i] = static_cast<uint32_t>(rows.word[i]);
    for (int i = 0; i < kColWords; ++i) words[kRowWords + i] = static_cast<uint32_t>(cols.word[i]);
    // Done once, by the last lane to come.
    const uint32_t* all =
        state_.block->meet_wave(state_, Together::kMultiply, words, kRowWords + kColWords, site,
                                kWave == 32 ? multiply_as_mma : multiply_as_mfma);
    for (int i = 0; i < TileLayout::kSums; ++i)
      sums.word[i] += static_cast<int32_t>(all[state_.lane * kMeetingWords + i]);
  }
  void multiply_half(typename Tile::Rows rows, const typename Tile::Cols& cols, int half,
                     typename Tile::Sums& sums, const Site& site = Site::current()) {
    for (int i = 0; i < TileLayout::kRowWords; ++i)
      if (TileLayout::row_word(state_.lane, i).word / 4 != half) rows.word[i] = 0;
    multiply(rows, cols, sums, site);
  }
  void multiply_f16(const typename Tile::Rows& rows, const typename Tile::Cols& cols,
                    typename Tile::Floats& sums, const Site& site = Site::current()) {
    constexpr int kRowWords = TileLayout::kRowWords, kColWords = TileLayout::kColWords,
                  kFactors = kRowWords + kColWords;
    uint32_t words[kFactors + TileLayout::kSums];
    for (int i = 0; i < kRowWords; ++i) words[i] = static_cast<uint32_t>(rows.word[i]);
    for (int i = 0; i < kColWords; ++i) words[kRowWords + i] = static_cast<uint32_t>(cols.word[i]);
    for (int i = 0; i < TileLayout::kSums; ++i)
      words[kFactors + i] = std::bit_cast<uint32_t>(sums.value[i]);
    const uint32_t* all =
        state_.block->meet_wave(state_, Together::kMultiply, words, kFactors + TileLayout::kSums,
                                site, kWave == 32 ? multiply_f16_as_mma : multiply_f16_as_mfma);
    for (int i = 0; i < TileLayout::kSums; ++i)
      sums.value[i] = std::bit_cast<float>(all[state_.lane * kMeetingWords + i]);
  }

  static int32_t dot4(int32_t a, int32_t b, int32_t c) {
    for (int i = 0; i < 32; i += 8) c += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
    return c;
  }
  static float from_f16(uint16_t bits) { return gguf::f16_to_f32(bits); }
  static uint16_t to_f16(float x) { return gguf::f32_to_f16(x); }
  static float fma(float a, float b, float c) { return std::fma(a, b, c); }
  static float exp(float x) { return std::exp(x); }
  static float tanh(float x) { return std::tanh(x); }
  static float erfc(float x) { return std::erfc(x); }
  static float sqrt(float x) { return std::sqrt(x); }
  static float round(float x) { return std::nearbyint(x); }
  static double pow(double x, double y) { return std::pow(x, y); }
  static double cos(double x) { return std::cos(x); }
  static double sin(double x) { return std::sin(x); }
  static double log(double x) { return std::log(x); }
  static double floor(double x) { return std::floor(x); }
  static double ceil(double x) { return std::ceil(x); }

 private:
  template <int kN, typename Join>
  void reduce(float (&values)[kN], Together kind, const Site& site, Join) {
    static_assert(kN <= simt::kMaxReduce);
    uint32_t words[kN];
    for (int i = 0; i < kN; ++i) words[i] = std::bit_cast<uint32_t>(values[i]);
    // Done once, by the last lane to come: in the order that a butterfly of shuffles has, which
    // gives all lanes the same.
    const uint32_t* all = state_.block->meet_wave(
        state_, kind, words, kN, site, [](uint32_t* of_lanes, int n, int wave_size) {
          for (int step = wave_size / 2; step > 0; step /= 2)
            for (int lane = 0; lane < step; ++lane)
              for (int i = 0; i < n; ++i) {
                uint32_t& mine = of_lanes[lane * kMeetingWords + i];
                mine = std::bit_cast<uint32_t>(
                    Join{}(std::bit_cast<float>(mine),
                           std::bit_cast<float>(of_lanes[(lane + step) * kMeetingWords + i])));
              }
        });
    for (int i = 0; i < kN; ++i) values[i] = std::bit_cast<float>(all[i]);
  }

  LaneState& state_;
};

static_assert(simt::Simt<Lane<32>> && simt::Simt<Lane<64>>);

// Runs a kernel over the units of `range`. Throws SimtFault.
template <typename Kernel, int kWave, typename Args>
void launch(const char* name, const Args& args, RowRange range) {
  if (range.from >= range.to) return;
  struct Context {
    const Args& args;
    RowRange range;
  };
  const Context context{args, range};
  Block::of_this_thread().run({name, kWave, Kernel::template grid<kWave>(args, range),
                               [](const void* pointer, LaneState& state) {
                                 const auto& c = *static_cast<const Context*>(pointer);
                                 Lane<kWave> lane(state);
                                 Kernel::run(lane, c.args, c.range);
                               },
                               &context});
}

}  // namespace olx::kernels::host_simt
