// Norms of heads, the rotation and the cache's write of a step's q, k and v, in one.

#include <algorithm>
#include <cmath>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/reference/kv.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

struct Bounded {
  double value;
  double bound;
};

// head(part, token, number of the head in q, k or v, its columns) for each head of the tokens.
template <typename Head>
void qkv_store(const QkvStoreArgs& args, RowRange range, Head&& take) {
  const int64_t dim = args.kv.head_dim, n_pairs = args.table.n_cols / 2;
  const int64_t n_heads[] = {args.n_heads, args.kv.n_kv_heads, args.kv.n_kv_heads};
  const float* norms[] = {args.q_norm, args.k_norm, nullptr};
  const WideMatrix x(args.x), table(args.table);
  std::vector<Bounded> head(static_cast<size_t>(dim));
  for (int64_t token = range.from; token < range.to; ++token) {
    int64_t start = 0;
    for (int part = 0; part < 3; ++part)
      for (int64_t h = 0; h < n_heads[part]; ++h, start += dim) {
        double squares = 0;
        for (int64_t i = 0; i < dim; ++i) squares += x.at(token, start + i) * x.at(token, start + i);
        const double root = std::sqrt(squares / static_cast<double>(dim) + double{args.norm_eps});
        for (int64_t i = 0; i < dim; ++i) {
          Bounded& column = head[static_cast<size_t>(i)] = {x.at(token, start + i), 0};
          if (norms[part] == nullptr) continue;
          column.value *= norms[part][i] / root;
          column.bound = static_cast<double>(dim + 8) * kHalfUlp * std::abs(column.value);
        }
        for (int64_t pair = 0; part < 2 && pair < n_pairs; ++pair) {
          Bounded& first = head[static_cast<size_t>(args.is_neox ? pair : 2 * pair)];
          Bounded& second = head[static_cast<size_t>(args.is_neox ? pair + n_pairs : 2 * pair + 1)];
          const Bounded a = first, b = second;
          const double c = table.at(token, 2 * pair), s = table.at(token, 2 * pair + 1);
          const double rounding = 0x1p-22 * (std::abs(a.value) + std::abs(b.value));
          first = {a.value * c - b.value * s, std::abs(c) * a.bound + std::abs(s) * b.bound + rounding};
          second = {a.value * s + b.value * c, std::abs(s) * a.bound + std::abs(c) * b.bound + rounding};
        }
        take(part, token, h, head);
      }
  }
}

// What a row of the cache holds of numbers this near to these.
void encode(DType dtype, std::vector<Bounded>& row) {
  if (dtype == DType::kF16) {
    for (Bounded& column : row) {
      if (column.bound == 0)
        column.value = gguf::f16_to_f32(gguf::f32_to_f16(static_cast<float>(column.value)));
      else  // half a unit in the last place, or of the smallest
        column.bound += 0x1p-11 * (std::abs(column.value) + column.bound) + 0x1p-25;
    }
  } else if (dtype == DType::kQ8_0) {
    // As kKvStore: half a step of the largest of 32 columns, and the rounding of the scale to f16, of 127 steps at most.
    for (size_t from = 0; from < row.size(); from += 32) {
      double largest = 0;
      for (size_t i = from; i < from + 32; ++i) largest = std::max(largest, std::abs(row[i].value) + row[i].bound);
      for (size_t i = from; i < from + 32; ++i)
        row[i].bound += largest * (0.5 / 127 + 0x1p-11) * (1 + 0x1p-10) + 127 * 0x1p-25;
    }
  }
}

}  // namespace

void qkv_store_reference(const QkvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  std::vector<float> rounded(static_cast<size_t>(kv.head_dim));
  qkv_store(args, range, [&](int part, int64_t token, int64_t head, const std::vector<Bounded>& columns) {
    for (size_t i = 0; i < rounded.size(); ++i) rounded[i] = static_cast<float>(columns[i].value);
    if (part == 0) {
      std::copy(rounded.begin(), rounded.end(), args.y.row(token) + head * kv.head_dim);
      return;
    }
    const TokenSlot slot = args.tokens[token];
    std::byte* row = kv_row(kv, part == 1 ? kv.k : kv.v, slot.sequence, slot.position, head);
    gguf::quantize_row(kv.dtype, rounded.data(), row, kv.head_dim);
  });
}

Expected evaluate(const QkvStoreArgs& args) {
  const int64_t dim = args.kv.head_dim;
  const int64_t first_head[] = {0, args.n_heads, args.n_heads + args.kv.n_kv_heads};
  Record sink(args.x.n_rows, args.x.n_cols);
  qkv_store(args, {0, args.rows()}, [&](int part, int64_t token, int64_t head, std::vector<Bounded> columns) {
    if (part > 0) encode(args.kv.dtype, columns);
    for (int64_t i = 0; i < dim; ++i) {
      const Bounded& column = columns[static_cast<size_t>(i)];
      sink(token, (first_head[part] + head) * dim + i, column.value, column.bound + 0x1p-149);
    }
  });
  return std::move(sink.expected);
}

}  // namespace olx::kernels::reference
