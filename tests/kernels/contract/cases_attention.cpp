// Cases of the ops that touch the KV cache: kv_store and attention, over shuffled pages of several sequences.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "gguf/quantize.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {
namespace {

using reference::kv_row;

struct CacheShape {
  int64_t n_kv_heads, head_dim, page_tokens;
  std::vector<int64_t> lengths;  // positions of each sequence
};

// Pages of all sequences in random order, one page of each kind unused; everything still NaN.
KvView add_cache(DType dtype, const CacheShape& shape, Memory& memory, Rng& rng) {
  KvView kv{nullptr, nullptr, dtype, shape.n_kv_heads, shape.head_dim, shape.page_tokens, nullptr, 0};
  const auto blocks_of = [&](int64_t length) { return (length + shape.page_tokens - 1) / shape.page_tokens; };
  int64_t n_pages = 2;
  for (int64_t length : shape.lengths) {
    kv.max_blocks = std::max(kv.max_blocks, blocks_of(length) + 1);
    n_pages += blocks_of(length);
  }
  std::vector<int32_t> pages(static_cast<size_t>(n_pages));
  std::iota(pages.begin(), pages.end(), 0);
  for (size_t i = pages.size(); i > 1; --i)
    std::swap(pages[i - 1], pages[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);

  const size_t n_entries = shape.lengths.size() * static_cast<size_t>(kv.max_blocks);
  auto* table = reinterpret_cast<int32_t*>(memory.add(n_entries * sizeof(int32_t)));
  std::fill(table, table + n_entries, 0);
  size_t next = 0;
  for (size_t s = 0; s < shape.lengths.size(); ++s)
    for (int64_t block = 0; block < blocks_of(shape.lengths[s]); ++block)
      table[static_cast<int64_t>(s) * kv.max_blocks + block] = pages[next++];
  kv.block_table = table;

  const auto size = static_cast<size_t>(n_pages * shape.n_kv_heads * shape.page_tokens * reference::kv_row_bytes(kv));
  kv.k = memory.add(size);
  kv.v = memory.add(size);
  return kv;
}

void fill_rows(const KvView& kv, void* base, const CacheShape& shape, Values values, float huge, Rng& rng) {
  std::vector<float> row(static_cast<size_t>(shape.head_dim));
  const MatrixView view{row.data(), 1, shape.head_dim, shape.head_dim};
  for (size_t s = 0; s < shape.lengths.size(); ++s) {
    for (int64_t position = 0; position < shape.lengths[s]; ++position) {
      for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
        fill(view, values, huge, rng);
        gguf::quantize_row(kv.dtype, row.data(), kv_row(kv, base, static_cast<int64_t>(s), position, head),
                           shape.head_dim);
      }
    }
  }
}

// The last positions of each sequence, a whole chunk of the first and one of each other: prefill
// beside decode.
const TokenSlot* add_tokens(const CacheShape& shape, int64_t n_tokens, Memory& memory) {
  auto* tokens = reinterpret_cast<TokenSlot*>(memory.add(static_cast<size_t>(n_tokens) * sizeof(TokenSlot)));
  const auto n_sequences = static_cast<int64_t>(shape.lengths.size());
  const int64_t n_first = std::max<int64_t>(n_tokens - (n_sequences - 1), 0);
  for (int64_t i = 0; i < n_tokens; ++i) {
    const int64_t sequence = i < n_first ? 0 : i - n_first + (n_first > 0 ? 1 : 0);
    const int64_t length = shape.lengths[static_cast<size_t>(sequence)];
    tokens[i] = {
        static_cast<int32_t>(sequence),
        static_cast<int32_t>(sequence == 0 && n_first > 0 ? length - n_first + i : length - 1)};
  }
  return tokens;
}

std::string shape_text(const CacheShape& shape) {
  std::string text = "kv heads " + std::to_string(shape.n_kv_heads) + " head_dim " + std::to_string(shape.head_dim) +
                     " page " + std::to_string(shape.page_tokens) + " lengths";
  for (int64_t length : shape.lengths) text += " " + std::to_string(length);
  return text;
}

std::vector<float> read_stored(const KvStoreArgs& args) {
  std::vector<float> all;
  std::vector<float> row(static_cast<size_t>(args.kv.head_dim));
  for (void* base : {args.kv.k, args.kv.v}) {
    for (int64_t token = 0; token < args.k.n_rows; ++token) {
      for (int64_t head = 0; head < args.kv.n_kv_heads; ++head) {
        gguf::dequantize_row(args.kv.dtype,
                             kv_row(args.kv, base, args.tokens[token].sequence, args.tokens[token].position, head),
                             row.data(), args.kv.head_dim);
        all.insert(all.end(), row.begin(), row.end());
      }
    }
  }
  return all;
}

}  // namespace

void each_kv_store_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  for (int64_t head_dim : {32, 64, 96, 128, 256}) {
    for (int64_t page_tokens : {16, 32, 64}) {
      for (Values values : {Values::kRandom, Values::kZero, Values::kMaxCodes, Values::kOutliers, Values::kHuge}) {
        Case c(context);
        c.name = "head_dim " + std::to_string(head_dim) + " page " + std::to_string(page_tokens) + " " +
                 values_name(values);
        Rng rng(context.seed, c.name);
        const CacheShape shape{rng.pick({1, 2, 3}), head_dim, page_tokens, {rng.pick({19, 35, 64}), 1, 40}};
        KvStoreArgs args;
        args.kv = add_cache(row.dtype, shape, c.memory, rng);
        const int64_t n_tokens = rng.pick({1, 2, 3, 7, 18});
        args.tokens = add_tokens(shape, n_tokens, c.memory);
        args.k = c.memory.add_matrix(n_tokens, shape.n_kv_heads * head_dim, rng.pick({0, 3}), rng.coin());
        args.v = c.memory.add_matrix(n_tokens, shape.n_kv_heads * head_dim, rng.pick({0, 7}), rng.coin());
        const float huge = row.dtype == DType::kF32 ? 1e30f : 6e4f;  // f16 ends at 65504
        fill(args.k, values, huge, rng);
        fill(args.v, values, huge, rng);
        for (void* base : {args.kv.k, args.kv.v})
          for (int64_t token = 0; token < n_tokens; ++token)
            for (int64_t head = 0; head < shape.n_kv_heads; ++head)
              c.memory.allow_writes(
                  kv_row(args.kv, base, args.tokens[token].sequence, args.tokens[token].position, head),
                  static_cast<size_t>(reference::kv_row_bytes(args.kv)));
        c.expected = reference::evaluate(args);
        c.args = args;
        c.read = [](const AnyArgs& any) { return read_stored(std::get<KvStoreArgs>(any)); };
        if (!visit(c)) return;
      }
      if (context.is_brief) return;
    }
  }
}

void each_attention_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  struct Heads {
    int64_t n_heads, n_kv_heads, head_dim;
  };
  const Heads all_heads[] = {{1, 1, 64}, {2, 1, 32}, {4, 2, 64}, {9, 3, 64}, {8, 1, 96}, {6, 2, 128}, {4, 1, 256}, {3, 3, 160},
                             {2, 2, 80}, {21, 1, 36}, {2, 1, 512}};  // no whole tiles; more heads than a tile has rows
  // One decode token; a chunk; decode of three sequences; a chunk beside two decodes; one position only; a chunk
  // longer than a block of positions (not where lanes run on the CPU).
  const struct {
    std::vector<int64_t> lengths;
    int64_t n_tokens;
  } batches[] = {{{37}, 1}, {{19}, 19}, {{5, 33, 70}, 3}, {{40, 1, 17}, 9},
                 {{1}, 1},  {{150}, 4}, {{600, 20}, 5}, {{100}, 70}};
  int index = 0;
  for (const Heads& heads : all_heads) {
    if (heads.head_dim % gguf::dtype_info(row.dtype).block_elems != 0) continue;
    for (const auto& batch : batches) {
      if (batch.n_tokens > 64 && std::string_view(row.backend) != "cpu") continue;
      const int variant = index++ % 6;
      const Values values = variant == 4 ? Values::kHuge : variant == 5 ? Values::kZero : Values::kRandom;
      Rng option_rng(context.seed, "attention" + std::to_string(index));
      const CacheShape shape{heads.n_kv_heads, heads.head_dim, option_rng.pick({16, 32, 64}), batch.lengths};
      Case c(context);
      c.name = "heads " + std::to_string(heads.n_heads) + " " + shape_text(shape) + " tokens " +
               std::to_string(batch.n_tokens) + " v " + values_name(values);
      Rng rng(context.seed, c.name);
      AttentionArgs args;
      args.n_heads = heads.n_heads;
      args.kv = add_cache(row.dtype, shape, c.memory, rng);
      fill_rows(args.kv, args.kv.k, shape, Values::kRandom, 1, rng);
      fill_rows(args.kv, args.kv.v, shape, values, row.dtype == DType::kF32 ? 1e25f : 3e4f, rng);
      args.tokens = add_tokens(shape, batch.n_tokens, c.memory);
      args.q = c.memory.add_matrix(batch.n_tokens, heads.n_heads * heads.head_dim, rng.pick({0, 5}), rng.coin());
      fill(args.q, Values::kRandom, 1, rng);
      args.scale = rng.coin() ? 0.125f : 1.0f;
      if (option_rng.below(3) == 0) args.softcap = 2.5f, c.name += " softcap";
      if (option_rng.below(3) == 0) {
        args.sliding_window = option_rng.pick({1, 4, 16, 33});
        c.name += " window " + std::to_string(args.sliding_window);
      }
      if (option_rng.below(3) == 0) {
        const MatrixView sinks = c.memory.add_matrix(1, heads.n_heads, 0, rng.coin());
        fill(sinks, Values::kHuge, 4, rng);
        args.sinks = sinks.data;
        c.name += " sinks";
      }
      args.y = c.memory.add_matrix(batch.n_tokens, heads.n_heads * heads.head_dim, rng.pick({0, 3}), rng.coin());
      c.memory.allow_writes(args.y);
      args.n_prompt = rng.pick({int64_t{0}, batch.n_tokens, rng.below(batch.n_tokens + 1)});
      c.name += " prompt " + std::to_string(args.n_prompt);
      args.n_splits =
          heads.n_kv_heads * batch.n_tokens <= kAttentionCounters ? rng.pick({1, 2, 3, 5}) : 1;
      if (args.n_splits > 1) {
        const int64_t n_segments =
            *std::max_element(batch.lengths.begin(), batch.lengths.end()) / kAttentionSegment + 1;
        const auto bytes = static_cast<size_t>(attention_scratch_elems(
                               batch.n_tokens, n_segments, heads.n_heads, heads.head_dim)) *
                           4;
        args.scratch = reinterpret_cast<float*>(c.memory.add(bytes));
        constexpr size_t kCounterBytes = kAttentionCounters * sizeof(float);
        std::memset(args.scratch, 0, kCounterBytes);
        c.memory.allow_writes(args.scratch, kCounterBytes, true);
        c.memory.allow_writes(args.scratch + kAttentionCounters, bytes - kCounterBytes);
        c.name += " splits " + std::to_string(args.n_splits);
      }
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = [](const AnyArgs& any) { return read_matrix(std::get<AttentionArgs>(any).y); };
      if (!visit(c)) return;
    }
    if (context.is_brief && heads.n_heads == 4) return;
  }
}

}  // namespace olx::kernels::contract
