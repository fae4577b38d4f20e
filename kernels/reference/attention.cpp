// KV store and attention in double. Keys are decoded transposed, [head_dim][positions], so that
// scores of all positions grow side by side; a (kv head, sequence) is decoded once and serves all
// its tokens.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gguf/quantize.h"
#include "kernels/reference/kv.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

// What one kv head of one sequence remembers, decoded as far as it was needed.
class DecodedHead {
 public:
  DecodedHead(const KvView& kv, int64_t capacity)
      : kv_(kv),
        capacity_(capacity),
        row_(static_cast<size_t>(kv.head_dim)),
        decoded_(static_cast<size_t>(kv.head_dim)),
        keys_(static_cast<size_t>(kv.head_dim * capacity)),
        values_(static_cast<size_t>(kv.head_dim * capacity)),
        wide_k_(kv.dtype == DType::kF32 ? static_cast<const float*>(kv.k) : nullptr),
        wide_v_(kv.dtype == DType::kF32 ? static_cast<const float*>(kv.v) : nullptr) {}

  void require(int64_t kv_head, int64_t sequence, int64_t n_positions) {
    if (kv_head != kv_head_ || sequence != sequence_) n_decoded_ = 0;
    kv_head_ = kv_head;
    sequence_ = sequence;
    for (; n_decoded_ < n_positions; ++n_decoded_) {
      decode(kv_.k, wide_k_);
      for (int64_t d = 0; d < kv_.head_dim; ++d) keys_[d * capacity_ + n_decoded_] = decoded_[d];
      decode(kv_.v, wide_v_);
      std::copy(decoded_.begin(), decoded_.end(), values_.begin() + n_decoded_ * kv_.head_dim);
    }
  }
  const double* keys(int64_t d) const { return keys_.data() + d * capacity_; }        // [positions]
  const double* value(int64_t p) const { return values_.data() + p * kv_.head_dim; }  // [head_dim]

 private:
  // The row of position n_decoded_; `wide` is of the whole plane, for an f32 cache.
  void decode(void* plane, const WideValues& wide) {
    const std::byte* row = kv_row(kv_, plane, sequence_, n_decoded_, kv_head_);
    if (kv_.dtype != DType::kF32) {
      gguf::dequantize_row(kv_.dtype, row, row_.data(), kv_.head_dim);
      std::copy(row_.begin(), row_.end(), decoded_.begin());
      return;
    }
    const int64_t first =
        (row - static_cast<const std::byte*>(plane)) / static_cast<int64_t>(sizeof(float));
    for (int64_t d = 0; d < kv_.head_dim; ++d) decoded_[d] = wide[first + d];
  }
  const KvView& kv_;
  int64_t capacity_;
  int64_t kv_head_ = -1, sequence_ = -1, n_decoded_ = 0;
  std::vector<float> row_;
  std::vector<double> decoded_;
  std::vector<double> keys_, values_;
  WideValues wide_k_, wide_v_;
};

struct Head {
  std::vector<double> scores;  // of positions from..to, then their softmax weights
  double score_magnitude = 0;  // largest |scale| sum |q k|
};

// Fills head.scores with exp(score - max) and returns their sum, the sink included.
double weigh(const AttentionArgs& args, int64_t head_index, const WideValues& q, int64_t q_first,
             const DecodedHead& cache, int64_t from, int64_t to, bool wants_magnitude, Head& head) {
  const int64_t n = to - from;
  head.scores.assign(static_cast<size_t>(n), 0.0);
  std::vector<double> magnitudes(wants_magnitude ? static_cast<size_t>(n) : 0);
  for (int64_t d = 0; d < args.kv.head_dim; ++d) {
    const double q_d = q[q_first + d];
    const double* keys = cache.keys(d) + from;
    for (int64_t p = 0; p < n; ++p) head.scores[p] += q_d * keys[p];
    if (wants_magnitude)
      for (int64_t p = 0; p < n; ++p) magnitudes[p] += std::abs(q_d * keys[p]);
  }
  double largest =
      args.sinks != nullptr ? args.sinks[head_index] : -std::numeric_limits<double>::infinity();
  for (double& score : head.scores) {
    score *= args.scale;
    if (args.softcap != 0) score = args.softcap * std::tanh(score / args.softcap);
    largest = std::max(largest, score);
  }
  double sum = args.sinks != nullptr ? std::exp(args.sinks[head_index] - largest) : 0;
  for (double& score : head.scores) {
    score = std::exp(score - largest);
    sum += score;
  }
  head.score_magnitude = 0;
  for (double magnitude : magnitudes)
    head.score_magnitude = std::max(head.score_magnitude, std::abs(args.scale) * magnitude);
  return sum;
}

template <typename Sink>
void attention(const AttentionArgs& args, RowRange range, Sink& sink) {
  const int64_t n_tokens = args.q.n_rows;
  const int64_t head_dim = args.kv.head_dim;
  const int64_t group = args.n_heads / args.kv.n_kv_heads;
  int64_t capacity = 1;
  for (int64_t token = 0; token < n_tokens; ++token)
    capacity = std::max<int64_t>(capacity, args.tokens[token].position + 1);
  DecodedHead cache(args.kv, capacity);
  const WideValues q(args.q.data);
  std::vector<double> y(static_cast<size_t>(head_dim));
  Head head;
  for (int64_t kv_head = 0; kv_head < args.kv.n_kv_heads; ++kv_head)
    for (int64_t token = 0; token < n_tokens; ++token) {
      // The first split does the work of all.
      const int64_t unit = kv_head * args.n_splits * n_tokens + token;
      if (unit < range.from || unit >= range.to) continue;
      const int64_t to = args.tokens[token].position + 1;
      const int64_t from =
          args.sliding_window > 0 ? std::max<int64_t>(0, to - args.sliding_window) : 0;
      cache.require(kv_head, args.tokens[token].sequence, to);
      double largest_value = 0;
      if (Sink::kWantsBound)
        for (int64_t p = from; p < to; ++p)
          for (int64_t d = 0; d < head_dim; ++d)
            largest_value = std::max(largest_value, std::abs(cache.value(p)[d]));

      for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
        const int64_t q_first = token * args.q.row_stride_elems + h * head_dim;
        const double sum = weigh(args, h, q, q_first, cache, from, to, Sink::kWantsBound, head);
        std::fill(y.begin(), y.end(), 0.0);
        for (int64_t p = from; p < to; ++p) {
          const double weight = head.scores[p - from] / sum;
          const double* value = cache.value(p);
          for (int64_t d = 0; d < head_dim; ++d) y[d] += weight * value[d];
        }
        const double bound = (static_cast<double>(to - from + head_dim + 16) * 0x1p-22 +
                              2 * static_cast<double>(head_dim) * kHalfUlp * head.score_magnitude) *
                             largest_value;
        for (int64_t d = 0; d < head_dim; ++d) sink(token, h * head_dim + d, y[d], bound);
      }
    }
}

}  // namespace

void attention_reference(const AttentionArgs& args, RowRange range) {
  StoreF32 sink{args.y};
  attention(args, range, sink);
}

Expected evaluate(const AttentionArgs& args) {
  return record(args, args.y,
                [](const AttentionArgs& a, RowRange r, Record& s) { attention(a, r, s); });
}

void kv_store_reference(const KvStoreArgs& args, RowRange range) {
  const KvView& kv = args.kv;
  const auto store = [&](const MatrixView& x, void* plane) {
    const WideMatrix wide(x);
    for (int64_t token = range.from; token < range.to; ++token) {
      const TokenSlot slot = args.tokens[token];
      for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
        const int64_t col = head * kv.head_dim;
        std::byte* row = kv_row(kv, plane, slot.sequence, slot.position, head);
        gguf::quantize_row(kv.dtype, x.row(token) + col, row, kv.head_dim);
        double* behind = kv.dtype == DType::kF32 ? find_wide(row) : nullptr;
        for (int64_t d = 0; behind != nullptr && d < kv.head_dim; ++d)
          behind[d] = wide.at(token, col + d);
      }
    }
  };
  store(args.k, kv.k);
  store(args.v, kv.v);
}

Expected evaluate(const KvStoreArgs& args) {
  const int64_t n_tokens = args.k.n_rows, n_cols = args.k.n_cols;
  Record sink(2 * n_tokens, n_cols);
  for (int64_t row = 0; row < 2 * n_tokens; ++row) {
    const float* x = row < n_tokens ? args.k.row(row) : args.v.row(row - n_tokens);
    for (int64_t col = 0; col < n_cols; ++col) {
      if (args.kv.dtype == DType::kF16) {
        sink(row, col, gguf::f16_to_f32(gguf::f32_to_f16(x[col])), 0);
      } else if (args.kv.dtype == DType::kQ8_0) {
        // Half a step of max|x| / 127, and the rounding of the scale to f16, of 127 steps at most.
        double largest = 0;
        for (int64_t i = col / 32 * 32; i < col / 32 * 32 + 32; ++i)
          largest = std::max(largest, std::abs(double{x[i]}));
        sink(row, col, x[col], largest * (0.5 / 127 + 0x1p-11) * (1 + 0x1p-10) + 127 * 0x1p-25);
      } else {
        sink(row, col, x[col], 0);
      }
    }
  }
  return std::move(sink.expected);
}

}  // namespace olx::kernels::reference
