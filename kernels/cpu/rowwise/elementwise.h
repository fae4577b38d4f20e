#pragma once
// The row operations, written once over Simd (each folder's simd.h, which must be included before). Internal linkage.

#include <cstdint>

#include "kernels/api/args.h"

namespace olx::kernels::cpu {
namespace {

using F = Simd::F;

// Applies fn(i) to whole vectors and fn_part(i, n) to the rest of a row.
template <typename Whole, typename Part>
inline void for_each_vector(int64_t n_cols, Whole whole, Part part) {
  int64_t i = 0;
  for (; i + Simd::kLanes <= n_cols; i += Simd::kLanes) whole(i);
  if (i < n_cols) part(i, n_cols - i);
}

// e^x: x = n ln 2 + r, |r| <= ln 2 / 2, the Taylor polynomial of degree 6 in r, times
// 2^n. Relative error below 2^-22 where the result is normal; -inf and what underflows give 0.
inline F exp(F x) {
  x = Simd::max(x, Simd::set(-120.0f));
  x = Simd::min(x, Simd::set(88.3f));
  const F n = Simd::round(Simd::mul(x, Simd::set(1.44269504088896341f)));
  F r = Simd::fma(n, Simd::set(-0.693145751953125f), x);
  r = Simd::fma(n, Simd::set(-1.42860682030941723e-6f), r);
  F y = Simd::set(1.0f / 720);
  y = Simd::fma(y, r, Simd::set(1.0f / 120));
  y = Simd::fma(y, r, Simd::set(1.0f / 24));
  y = Simd::fma(y, r, Simd::set(1.0f / 6));
  y = Simd::fma(y, r, Simd::set(0.5f));
  y = Simd::fma(y, r, Simd::set(1.0f));
  y = Simd::fma(y, r, Simd::set(1.0f));
  return Simd::scale2(y, n);
}

inline F sigmoid(F x) { return Simd::div(Simd::set(1.0f), Simd::add(Simd::set(1.0f), exp(Simd::sub(Simd::set(0.0f), x)))); }
inline F tanh(F x) {
  return Simd::sub(Simd::set(1.0f), Simd::div(Simd::set(2.0f), Simd::add(exp(Simd::add(x, x)), Simd::set(1.0f))));
}

inline void rms_norm(const RmsNormArgs& args, RowRange range) {
  const int64_t n = args.group_cols;
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t group = 0; group < args.x.n_cols; group += n) {
      const float* x = args.x.row(token) + group;
      float* y = args.y.row(token) + group;
      F squares = Simd::set(0.0f);
      for_each_vector(
          n, [&](int64_t i) { squares = Simd::fma(Simd::load(x + i), Simd::load(x + i), squares); },
          [&](int64_t i, int64_t part) {
            const F v = Simd::load_part(x + i, part);
            squares = Simd::fma(v, v, squares);
          });
      const float mean = Simd::sum(squares) / static_cast<float>(n);
      const F scale = Simd::set(1.0f / __builtin_sqrtf(mean + args.eps));
      const float* w = args.weight;
      for_each_vector(
          n,
          [&](int64_t i) {
            F v = Simd::mul(Simd::load(x + i), scale);
            if (w) v = Simd::mul(v, Simd::load(w + i));
            Simd::store(y + i, v);
          },
          [&](int64_t i, int64_t part) {
            F v = Simd::mul(Simd::load_part(x + i, part), scale);
            if (w) v = Simd::mul(v, Simd::load_part(w + i, part));
            Simd::store_part(y + i, v, part);
          });
    }
  }
}

// Rotates n pairs; table holds cos, sin alternating.
inline void rotate_neox(float* a, float* b, const float* table, int64_t n) {
  int64_t i = 0;
  for (; i + Simd::kLanes <= n; i += Simd::kLanes) {
    F c, s;
    Simd::split_pairs(table + 2 * i, c, s);
    const F x = Simd::load(a + i), y = Simd::load(b + i);
    Simd::store(a + i, Simd::sub(Simd::mul(x, c), Simd::mul(y, s)));
    Simd::store(b + i, Simd::add(Simd::mul(x, s), Simd::mul(y, c)));
  }
  for (; i < n; ++i) {
    const float x = a[i], y = b[i], c = table[2 * i], s = table[2 * i + 1];
    a[i] = x * c - y * s;
    b[i] = x * s + y * c;
  }
}

inline void rotate_pairs(float* x, const float* table, int64_t n) {
  int64_t i = 0;
  for (; i + Simd::kLanes <= n; i += Simd::kLanes) {
    F c, s, a, b;
    Simd::split_pairs(table + 2 * i, c, s);
    Simd::split_pairs(x + 2 * i, a, b);
    Simd::join_pairs(x + 2 * i, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)), Simd::add(Simd::mul(a, s), Simd::mul(b, c)));
  }
  for (; i < n; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1], c = table[2 * i], s = table[2 * i + 1];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = a * s + b * c;
  }
}

inline void rope(const RopeArgs& args, RowRange range) {
  const int64_t n_pairs = args.table.n_cols / 2;
  for (int64_t token = range.from; token < range.to; ++token)
    for (int64_t head = 0; head < args.n_heads; ++head) {
      float* x = args.x.row(token) + head * args.head_dim;
      if (args.is_neox) rotate_neox(x, x + n_pairs, args.table.row(token), n_pairs);
      else rotate_pairs(x, args.table.row(token), n_pairs);
    }
}

// y = fn(a, b) over whole rows.
template <typename Fn>
inline void combine_rows(const MatrixView& y, const MatrixView& a, const MatrixView& b, RowRange range, Fn fn) {
  for (int64_t token = range.from; token < range.to; ++token) {
    float* out = y.row(token);
    const float *left = a.row(token), *right = b.row(token);
    for_each_vector(
        y.n_cols, [&](int64_t i) { Simd::store(out + i, fn(Simd::load(left + i), Simd::load(right + i))); },
        [&](int64_t i, int64_t part) {
          Simd::store_part(out + i, fn(Simd::load_part(left + i, part), Simd::load_part(right + i, part)), part);
        });
  }
}

inline void add(const AddArgs& args, RowRange range) {
  combine_rows(args.y, args.a, args.b, range, [](F a, F b) { return Simd::add(a, b); });
}

inline void scale(const ScaleArgs& args, RowRange range) {
  const F s = Simd::set(args.scale);
  combine_rows(args.y, args.x, args.x, range, [&](F x, F) { return Simd::mul(x, s); });
}

inline void softcap(const SoftcapArgs& args, RowRange range) {
  const F cap = Simd::set(args.cap), inverse = Simd::set(1.0f / args.cap);
  combine_rows(args.y, args.x, args.x, range, [&](F x, F) { return Simd::mul(cap, tanh(Simd::mul(x, inverse))); });
}

// silu, tanh-gelu and relu; erf-gelu is left to a portable row (accepts.h).
inline void gated_activation(const GatedActivationArgs& args, RowRange range) {
  switch (args.activation) {
    case Activation::kSilu:
      combine_rows(args.y, args.gate, args.up, range, [](F g, F u) { return Simd::mul(Simd::mul(g, sigmoid(g)), u); });
      return;
    case Activation::kGeluTanh:
      // 0.5 (1 + tanh z) = sigmoid(2 z) with z = sqrt(2 / pi) (g + 0.044715 g^3): no cancellation for g << 0
      combine_rows(args.y, args.gate, args.up, range, [](F g, F u) {
        const F cube = Simd::mul(Simd::mul(g, g), g);
        const F z = Simd::mul(Simd::set(1.5957691216057308f), Simd::fma(Simd::set(0.044715f), cube, g));
        return Simd::mul(Simd::mul(g, sigmoid(z)), u);
      });
      return;
    default:
      combine_rows(args.y, args.gate, args.up, range, [](F g, F u) { return Simd::mul(Simd::max(g, Simd::set(0.0f)), u); });
  }
}

inline void softmax(const SoftmaxArgs& args, RowRange range) {
  constexpr float kLowest = -__builtin_inff();
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    float* y = args.y.row(token);
    const int64_t n = args.x.n_cols;
    F largest = Simd::set(kLowest);
    int64_t i = 0;
    for (; i + Simd::kLanes <= n; i += Simd::kLanes) largest = Simd::max(Simd::load(x + i), largest);
    float peak = Simd::largest(largest);
    for (; i < n; ++i) peak = x[i] > peak ? x[i] : peak;
    if (peak == kLowest) {
      for (i = 0; i < n; ++i) y[i] = 0.0f;
      continue;
    }
    const F shift = Simd::set(peak);
    float sum = 0.0f;
    F sums = Simd::set(0.0f);
    for_each_vector(
        n,
        [&](int64_t at) {
          const F e = exp(Simd::sub(Simd::load(x + at), shift));
          sums = Simd::add(sums, e);
          Simd::store(y + at, e);
        },
        [&](int64_t at, int64_t part) {
          Simd::store_part(y + at, exp(Simd::sub(Simd::load_part(x + at, part), shift)), part);
          for (int64_t j = at; j < at + part; ++j) sum += y[j];
        });
    const F inverse = Simd::set(1.0f / (sum + Simd::sum(sums)));
    for_each_vector(
        n, [&](int64_t at) { Simd::store(y + at, Simd::mul(Simd::load(y + at), inverse)); },
        [&](int64_t at, int64_t part) { Simd::store_part(y + at, Simd::mul(Simd::load_part(y + at, part), inverse), part); });
  }
}

}  // namespace
}  // namespace olx::kernels::cpu
