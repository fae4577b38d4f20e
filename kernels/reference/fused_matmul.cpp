// Matmuls with what stands around them: a norm before, a gated activation or the rotation and the
// cache's write behind. The products are those of matmul.cpp, of rows that are prepared as the
// contract says.

#include <algorithm>
#include <cmath>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/reference/activate.h"
#include "kernels/reference/kv.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

// x norm_weight in f32, and what divides each row.
struct Rows {
  std::vector<float> values;
  std::vector<double> factors;
  ActivationView view;

  Rows(const ActivationView& x, const float* norm_weight, float norm_eps)
      : values(static_cast<size_t>(x.n_tokens * x.n_cols)),
        factors(static_cast<size_t>(x.n_tokens), 1.0),
        view(x) {
    for (int64_t token = 0; token < x.n_tokens; ++token) {
      const float* from = static_cast<const float*>(x.data) + token * x.row_stride_elems;
      float* to = values.data() + token * x.n_cols;
      double squares = 0;
      for (int64_t col = 0; col < x.n_cols; ++col) {
        to[col] = norm_weight != nullptr ? from[col] * norm_weight[col] : from[col];
        squares += double{from[col]} * from[col];
      }
      if (norm_weight != nullptr)
        factors[static_cast<size_t>(token)] =
            1 / std::sqrt(squares / static_cast<double>(x.n_cols) + double{norm_eps});
    }
    view.data = values.data();
    view.row_stride_elems = x.n_cols;
  }
};

// Rows of a product, with the bound of each element.
struct Products {
  std::vector<double> value, bound;  // [n_tokens, n]
  int64_t first = 0;
  int64_t n = 0;
  size_t at(int64_t token, int64_t row) const {
    return static_cast<size_t>(token * n + row - first);
  }
};

Products multiply(const Rows& rows, const WeightView& w, const float* bias, RowRange range) {
  const ActivationView& x = rows.view;
  Products products{.value = {}, .bound = {}, .first = range.from, .n = range.size()};
  if (range.size() == 0) return products;
  WeightView part = w;  // native rows
  part.data = static_cast<const std::byte*>(w.data) +
              range.from * static_cast<int64_t>(gguf::row_size_bytes(w.dtype, w.n_cols));
  part.n_rows = range.size();
  std::vector<float> nothing(1);
  const MatrixView y{nothing.data(), x.n_tokens, range.size(), range.size()};
  Expected plain = evaluate(MatmulArgs{.y = y, .x = x, .w = part});
  const auto n_cols = static_cast<double>(x.n_cols);
  for (int64_t token = 0; token < x.n_tokens; ++token) {
    const double factor = rows.factors[static_cast<size_t>(token)];
    for (int64_t row = range.from; row < range.to; ++row) {
      const size_t i = products.at(token, row);
      const double b = bias != nullptr ? bias[row] : 0.0;
      plain.value[i] = plain.value[i] * factor + b;
      // evaluate() bounds by n_cols + 8 halves of a unit.
      plain.bound[i] =
          (2 * n_cols + 16) * (plain.bound[i] * factor / (n_cols + 8) + kHalfUlp * std::abs(b));
    }
  }
  products.value = std::move(plain.value);
  products.bound = std::move(plain.bound);
  return products;
}

template <typename Sink>
void gated_matmul(const GatedMatmulArgs& args, RowRange range, Sink& sink) {
  constexpr double kSteepest = 1.13;
  const Rows rows(args.x, args.norm_weight, args.norm_eps);
  const Products gate = multiply(rows, args.gate, args.gate_bias, range);
  const Products up = multiply(rows, args.up, args.up_bias, range);
  for (int64_t token = 0; token < args.y.n_rows; ++token)
    for (int64_t row = range.from; row < range.to; ++row) {
      const size_t i = gate.at(token, row);
      const double act = activate(args.activation, gate.value[i]), u = up.value[i], y = act * u;
      sink(token, row, y,
           kSteepest * gate.bound[i] * (std::abs(u) + up.bound[i]) + std::abs(act) * up.bound[i] +
               0x1p-20 * (std::abs(y) + std::abs(u)));
    }
}

// store(part, token, column of q, k or v, value, bound) for each element of the units.
template <typename Store>
void qkv_matmul(const QkvMatmulArgs& args, RowRange range, Store&& store) {
  const int64_t head_dim = args.kv.head_dim, n_pairs = head_dim / 2;
  const int64_t n_rotated = args.table.n_cols / 2;
  const Rows rows(args.x, args.norm_weight, args.norm_eps);
  const WeightView* weights[] = {&args.q, &args.k, &args.v};
  const float* biases[] = {args.q_bias, args.k_bias, args.v_bias};
  int64_t first_unit = 0;
  for (int part = 0; part < 3; ++part) {
    const WeightView& w = *weights[part];
    const int64_t n_units = w.n_rows / 2;
    const int64_t from = std::clamp<int64_t>(range.from - first_unit, 0, n_units);
    const int64_t to = std::clamp<int64_t>(range.to - first_unit, 0, n_units);
    first_unit += n_units;
    if (from >= to) continue;
    // Whole heads, for a unit's rows lie anywhere in its own.
    const RowRange heads{from / n_pairs * head_dim, ((to - 1) / n_pairs + 1) * head_dim};
    const Products y = multiply(rows, w, biases[part], heads);
    for (int64_t token = 0; token < args.x.n_tokens; ++token)
      for (int64_t unit = from; unit < to; ++unit) {
        const int64_t start = unit / n_pairs * head_dim, pair = unit % n_pairs;
        const bool is_rotated = part < 2 && pair < n_rotated;
        const int64_t first = start + (is_rotated && args.is_neox ? pair : 2 * pair);
        const int64_t second = is_rotated && args.is_neox ? first + n_rotated : first + 1;
        const double a = y.value[y.at(token, first)], b = y.value[y.at(token, second)];
        const double e_a = y.bound[y.at(token, first)], e_b = y.bound[y.at(token, second)];
        if (!is_rotated) {
          store(part, token, first, a, e_a);
          store(part, token, second, b, e_b);
          continue;
        }
        const double c = args.table.row(token)[2 * pair], s = args.table.row(token)[2 * pair + 1];
        const double rounding = 0x1p-22 * (std::abs(a) + std::abs(b));
        store(part, token, first, a * c - b * s, std::abs(c) * e_a + std::abs(s) * e_b + rounding);
        store(part, token, second, a * s + b * c, std::abs(s) * e_a + std::abs(c) * e_b + rounding);
      }
  }
}

}  // namespace

void gated_matmul_reference(const GatedMatmulArgs& args, RowRange range) {
  StoreF32 sink{args.y};
  gated_matmul(args, range, sink);
}

Expected evaluate(const GatedMatmulArgs& args) {
  return record(args, args.y,
                [](const GatedMatmulArgs& a, RowRange r, Record& s) { gated_matmul(a, r, s); });
}

void qkv_matmul_reference(const QkvMatmulArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const int64_t n_q = args.q.n_rows, n_k = args.k.n_rows;
  qkv_matmul(args, range, [&](int part, int64_t token, int64_t col, double value, double) {
    const auto rounded = static_cast<float>(value);
    if (part == 0 || !args.is_stored()) {
      args.y.row(token)[part == 0 ? col : n_q + (part - 1) * n_k + col] = rounded;
      return;
    }
    const TokenSlot slot = args.tokens[token];
    std::byte* row =
        kv_row(kv, part == 1 ? kv.k : kv.v, slot.sequence, slot.position, col / kv.head_dim);
    gguf::quantize_row(kv.dtype, &rounded,
                       row + col % kv.head_dim * gguf::dtype_info(kv.dtype).block_bytes, 1);
  });
}

Expected evaluate(const QkvMatmulArgs& args) {
  const int64_t n_q = args.q.n_rows, n_k = args.k.n_rows;
  const bool is_f16 = args.is_stored() && args.kv.dtype == DType::kF16;
  Record sink(args.x.n_tokens, n_q + 2 * n_k);
  qkv_matmul(args, {0, args.rows()},
             [&](int part, int64_t token, int64_t col, double value, double bound) {
               // Half a unit of an f16 in its last place, or of the smallest of them.
               if (part > 0 && is_f16) bound += 0x1p-11 * (std::abs(value) + bound) + 0x1p-25;
               sink(token, part == 0 ? col : n_q + (part - 1) * n_k + col, value, bound);
             });
  return std::move(sink.expected);
}

}  // namespace olx::kernels::reference
