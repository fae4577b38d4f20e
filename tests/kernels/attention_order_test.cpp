// A token's attention has the same bits alone, in a draft, in any chunk of a prompt, beside other
// sequences and for any number of splits and any order of units: what a prefix cache, a draft and a
// batch rely on. Tokens of prompts may have other bits than those that are made one at a time
// (AttentionArgs::n_prompt), so both are asked. For every kernel of this machine that is not the
// reference.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/contract/case.h"
#include "tests/support/catch.h"

namespace olx::kernels::contract {
namespace {

struct Shape {
  int64_t n_heads, n_kv_heads, head_dim;
  int64_t window = 0;
  float softcap = 0;
  bool has_sinks = false;
};

constexpr int64_t kLength = 600;  // three segments, the last of them not whole
constexpr int64_t kPage = 32;

// A sequence of kLength positions in shuffled pages, a second one with the same contents in other
// pages, and queries.
class World {
 public:
  World(const KernelRow& row, const Shape& shape) : row_(row), shape_(shape) {
    Rng rng(7, "attention order");
    const int64_t n_blocks = (kLength + kPage - 1) / kPage, n_pages = 2 * n_blocks;
    const gguf::DTypeInfo& type = gguf::dtype_info(row.dtype);
    const int64_t row_bytes = shape.head_dim / type.block_elems * type.block_bytes;
    kv_ = {nullptr, nullptr, row.dtype, shape.n_kv_heads, shape.head_dim, kPage, nullptr, n_blocks};
    for (int64_t i = 0; i < n_pages; ++i) pages_.push_back(static_cast<int32_t>(i * 7 % n_pages));
    kv_.block_table = pages_.data();
    const int64_t page_bytes = shape.n_kv_heads * kPage * row_bytes;
    for (void** plane : {&kv_.k, &kv_.v}) {
      std::byte* memory = memory_.add(static_cast<size_t>(n_pages * page_bytes));
      *plane = memory;
      for (int64_t block = 0; block < n_blocks; ++block) {
        const std::vector<std::byte> rows = random_weights(row.dtype, shape.n_kv_heads * kPage,
                                                           shape.head_dim, Values::kRandom, rng);
        for (int64_t sequence = 0; sequence < 2; ++sequence)
          std::memcpy(
              memory + pages_[static_cast<size_t>(sequence * n_blocks + block)] * page_bytes,
              rows.data(), rows.size());
      }
    }
    q_ = memory_.add_matrix(kLength, shape.n_heads * shape.head_dim, 0, false);
    fill(q_, Values::kRandom, 1, rng);
    sinks_ = memory_.add_matrix(1, shape.n_heads, 0, false);
    fill(sinks_, Values::kRandom, 1, rng);
    scratch_.resize(static_cast<size_t>(attention_scratch_elems(kAttentionCounters, 3,
                                                                shape.n_heads, shape.head_dim)) +
                    16);
  }

  // The rows of y of some tokens of one step, the last n_prompt of prompts, its units run in random order.
  std::vector<float> run(const std::vector<TokenSlot>& tokens, int64_t n_splits, int64_t n_prompt, Rng& rng) {
    const auto n = static_cast<int64_t>(tokens.size());
    const int64_t n_cols = q_.n_cols;
    std::vector<float> q(static_cast<size_t>(n * n_cols)), y(q.size());
    for (int64_t i = 0; i < n; ++i)
      std::copy_n(q_.row(tokens[static_cast<size_t>(i)].position), n_cols, q.begin() + i * n_cols);
    AttentionArgs args;
    args.y = {y.data(), n, n_cols, n_cols};
    args.q = {q.data(), n, n_cols, n_cols};
    args.kv = kv_;
    args.tokens = tokens.data();
    args.n_heads = shape_.n_heads;
    args.scale = 0.125f;
    args.softcap = shape_.softcap;
    args.sliding_window = shape_.window;
    args.sinks = shape_.has_sinks ? sinks_.data : nullptr;
    args.n_splits = shape_.n_kv_heads * n <= kAttentionCounters ? n_splits : 1;
    args.n_prompt = n_prompt;
    void* scratch = scratch_.data();
    size_t space = scratch_.size() * sizeof(float);
    args.scratch = static_cast<float*>(std::align(64, 64, scratch, space));
    std::vector<RowRange> ranges;
    for (int64_t from = 0; from < args.rows();) {
      const int64_t to = std::min(args.rows(), from + 1 + rng.below(args.rows()));
      ranges.push_back({from, to});
      from = to;
    }
    for (size_t i = ranges.size(); i > 1; --i)
      std::swap(ranges[i - 1], ranges[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
    for (const RowRange& range : ranges) row_.run(&args, range);
    return y;
  }

  enum class Spoil { kNan, kInfinity };

  // A key or a value of the first sequence: no element of it is a finite number.
  void spoil(bool is_key, int64_t position, int64_t kv_head, Spoil with) {
    std::byte* row = reference::kv_row(kv_, is_key ? kv_.k : kv_.v, 0, position, kv_head);
    const auto n_bytes = static_cast<size_t>(reference::kv_row_bytes(kv_));
    // In every type a NaN, or codes of 1.
    std::memset(row, with == Spoil::kNan ? 0xff : 1, n_bytes);
    if (with == Spoil::kNan) return;
    constexpr float kF32 = std::numeric_limits<float>::infinity();
    constexpr uint16_t kF16 = 0x7c00;  // q8_0: the scale of a block
    const size_t step = gguf::dtype_info(kv_.dtype).block_bytes;
    for (size_t at = 0; at < n_bytes; at += step)
      if (kv_.dtype == DType::kF32)
        std::memcpy(row + at, &kF32, sizeof(kF32));
      else
        std::memcpy(row + at, &kF16, sizeof(kF16));
  }

 private:
  const KernelRow& row_;
  Shape shape_;
  Memory memory_;
  std::vector<int32_t> pages_;
  KvView kv_;
  MatrixView q_, sinks_;
  std::vector<float> scratch_;
};

std::vector<TokenSlot> run_of(int64_t from, int64_t to, int32_t sequence = 0) {
  std::vector<TokenSlot> tokens;
  for (int64_t p = from; p < to; ++p) tokens.push_back({sequence, static_cast<int32_t>(p)});
  return tokens;
}

// How many elements of `got`, rows of whole[first] and following, differ in their bits.
int64_t differing(const std::vector<float>& got, const std::vector<float>& whole, int64_t first,
                  int64_t n_cols) {
  int64_t n = 0;
  for (size_t i = 0; i < got.size(); ++i)
    n += std::memcmp(&got[i], &whole[static_cast<size_t>(first * n_cols) + i], sizeof(float)) != 0
             ? 1
             : 0;
  return n;
}

// Whether tokens of prompts have other bits than those that are made one at a time: then both are asked.
bool has_two_ways(const KernelRow& row, const Shape& shape) {
  constexpr int64_t kTokens = 4;
  Rng rng(test_seed(), "attention order");
  World world(row, shape);
  const std::vector<TokenSlot> tokens = run_of(kLength - kTokens, kLength);
  const std::vector<float> single = world.run(tokens, 1, 0, rng), prompt = world.run(tokens, 1, kTokens, rng);
  return differing(single, prompt, 0, 0) != 0;
}

// For positions from `first` on: those before are left out where a kernel runs slowly.
void check_row_keeps_order(const KernelRow& row, const Shape& shape, int64_t first, bool are_prompts) {
  Rng rng(test_seed(), "attention order");
  World world(row, shape);
  const int64_t n_cols = shape.n_heads * shape.head_dim;
  const std::vector<float> whole = world.run(run_of(first, kLength), 1, are_prompts ? kLength - first : 0, rng);
  const auto count = [&](const std::vector<TokenSlot>& tokens, int64_t n_splits) {
    const auto n_prompt = static_cast<int64_t>(are_prompts ? tokens.size() : 0);
    return differing(world.run(tokens, n_splits, n_prompt, rng), whole, tokens[0].position - first, n_cols);
  };
  // Alone, around every border: of a vector, a block, a segment, the window.
  for (int64_t position : {0, 1, 15, 16, 63, 64, 65, 100, 101, 255, 256, 257, 319, 511, 512, 590, 599})
    for (int64_t n_splits : {1, 2, 3})
      if (position >= first) CHECK(count(run_of(position, position + 1), n_splits) == 0);
  // Drafts.
  for (int64_t n : {2, 3, 4, 5, 8})
    for (int64_t from : {0, 61, 253, 510, 592})
      if (from >= first) CHECK(count(run_of(from, from + n), rng.pick({1, 2, 3})) == 0);
  // Prompts in chunks; those of few tokens may be split.
  for (int64_t chunk : {7, 30, 100, 256, 333})
    for (int64_t from = first; from < (chunk == 7 && first == 0 ? 84 : kLength); from += chunk)
      CHECK(count(run_of(from, std::min(from + chunk, kLength)), rng.pick({1, 2, 3})) == 0);
  // Several sequences at once: the second holds the same tokens.
  const int64_t base = std::min(first + 70, kLength - 5);
  std::vector<TokenSlot> tokens = run_of(base, base + 2);
  for (TokenSlot token : run_of(base + 2, base + 5, 1)) tokens.push_back(token);
  for (int64_t n_splits : {1, 2}) CHECK(count(tokens, n_splits) == 0);
  // Beside tokens of the other kind, of which nothing is asked here: those of prompts come last.
  for (int64_t n_splits : {1, 2}) {
    std::vector<float> both = world.run(tokens, n_splits, 3, rng);
    const int64_t n_first = are_prompts ? 2 : 0, n = are_prompts ? 3 : 2;
    both = std::vector<float>(both.begin() + n_first * n_cols, both.begin() + (n_first + n) * n_cols);
    CHECK(differing(both, whole, base + n_first - first, n_cols) == 0);
  }
}

// The rows that this machine can run, which are not the reference's.
std::vector<const KernelRow*> rows_here() {
  const Features features = find_backend("cpu")->open({.n_threads = 1})->info().features;
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : KernelRegistry::instance().rows()) {
    const std::string_view backend = row.backend;
    if (row.op != Op::kAttention || row.run == nullptr || backend == "reference" ||
        (backend == "cpu" && (row.features & ~features) != 0))
      continue;
    rows.push_back(&row);
  }
  CHECK(rows.size() >= 3);
  return rows;
}

}  // namespace

TEST_CASE("Attention_ATokenHasTheSameBitsHoweverItsStepIsMadeUp") {
  const Shape shapes[] = {{4, 1, 64},          {3, 1, 32, 40},
                          {2, 2, 96, 0, 3.0f}, {2, 1, 256, 300, 0, true},
                          {5, 1, 160},         {6, 3, 64, 64, 2.0f, true}};
  for (const KernelRow* here : rows_here()) {
    const KernelRow& row = *here;
    const std::string_view backend = row.backend;
    // The portable one has the body of all instruction sets, and is slow: the first shapes and the
    // last two segments will do. Lanes on the CPU are slower still: the last positions, which see
    // all three segments, and the window; of the other shapes that of the longest heads.
    const bool is_portable = std::string_view(row.variant) == "portable", is_cpu = backend == "cpu";
    for (const Shape& shape : std::span(shapes).first(is_portable ? 2 : std::size(shapes))) {
      const bool is_long = shape.head_dim == 256;
      if (!is_cpu && &shape >= shapes + 2 && !is_long) continue;
      const int64_t first = is_cpu ? (is_portable ? 500 : 0) : is_long ? 593 : 584;
      INFO(row.backend << " " << row.name << ": " << shape.n_heads << " heads of " << shape.n_kv_heads
                       << " kv heads, head_dim " << shape.head_dim << ", window " << shape.window);
      check_row_keeps_order(row, shape, first, false);
      if (has_two_ways(row, shape)) check_row_keeps_order(row, shape, first, true);
    }
  }
}

// Those that share a tile with it and do not see it may not even weigh it with 0: 0 times it is no
// number either.
TEST_CASE("Attention_WhatIsNoNumberReachesOnlyTokensThatSeeIt") {
  enum Speed { kLanesOnCpu, kPortable, kVectors };  // of a row, and what a case is worth running on
  struct Spoiled {
    Shape shape;
    int64_t first;     // of the tokens of the step, which go on to kLength
    int64_t position;  // what is spoiled, of the last kv head
    Speed speed = kLanesOnCpu;
  };
  // Within a vector, with a window that ends; then the borders of a block, of a segment, and
  // windows that end in another.
  const Spoiled cases[] = {{{4, 2, 64}, 590, 595},
                           {{4, 2, 64, 3}, 590, 592},
                           {{6, 2, 96, 0, 2.0f, true}, 560, 576, kPortable},
                           {{3, 1, 32, 40}, 500, 511, kVectors},
                           {{8, 1, 64}, 100, 256, kVectors},
                           {{2, 2, 128, 64}, 300, 383, kVectors},
                           {{5, 1, 160, 300}, 0, 63, kVectors}};
  for (const KernelRow* row : rows_here()) {
    const Speed speed = std::string_view(row->backend) != "cpu"        ? kLanesOnCpu
                        : std::string_view(row->variant) == "portable" ? kPortable
                                                                       : kVectors;
    for (const auto& [shape, first, position, least_speed] : cases) {
      if (speed < least_speed) continue;
      Rng rng(test_seed(), "attention order");
      const int64_t n_splits = speed == kVectors ? rng.pick({1, 2, 3}) : 1;
      const int64_t last_head = shape.n_kv_heads - 1, n_group = shape.n_heads / shape.n_kv_heads;
      const std::vector<TokenSlot> tokens = run_of(first, kLength);
      const int64_t n_prompt = rng.pick({0, kLength - first});
      const std::vector<float> sound = World(*row, shape).run(tokens, n_splits, n_prompt, rng);
      for (bool is_key : {false, true}) {
        for (const World::Spoil with : {World::Spoil::kNan, World::Spoil::kInfinity}) {
          World world(*row, shape);
          world.spoil(is_key, position, last_head, with);
          const std::vector<float> spoiled = world.run(tokens, n_splits, n_prompt, rng);
          int64_t n_wrong = 0;
          for (size_t i = 0; i < sound.size(); ++i) {
            const int64_t at = static_cast<int64_t>(i) / shape.head_dim;
            const int64_t token = first + at / shape.n_heads, head = at % shape.n_heads;
            const bool sees_it = head / n_group == last_head && token >= position &&
                                 (shape.window == 0 || token < position + shape.window);
            if (!sees_it)
              n_wrong += std::memcmp(&spoiled[i], &sound[i], sizeof(float)) != 0 ? 1 : 0;
            else if (!is_key)  // a score that is no number may also be a weight of 0
              n_wrong += std::isfinite(spoiled[i]) ? 1 : 0;
          }
          INFO(row->backend << " " << row->name << ": " << (is_key ? "key " : "value ") << position
                            << " of " << shape.n_heads << " heads of " << shape.n_kv_heads
                            << " kv heads, head_dim " << shape.head_dim << ", window "
                            << shape.window << ", prompt " << n_prompt << ", "
                            << (with == World::Spoil::kNan ? "NaN" : "infinity"));
          CHECK(n_wrong == 0);
        }
      }
    }
  }
}

}  // namespace olx::kernels::contract
