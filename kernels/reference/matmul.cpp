// Matrix product in double. Each weight row is decoded once; tokens lie side by side in panels of eight, so that the
// inner loop is eight independent sums and a prompt of a small model takes seconds and not hours.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "gguf/blocks.h"
#include "gguf/quantize.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

constexpr int64_t kPanelTokens = 8;
constexpr int64_t kGroupCols = 32;  // the bound takes |w| as the largest of this many neighbours

// x as [n_panels][n_cols][kPanelTokens] doubles; tokens past the end are zero.
std::vector<double> panels_of(const ActivationView& x) {
  const int64_t n_panels = (x.n_tokens + kPanelTokens - 1) / kPanelTokens;
  std::vector<double> panels(static_cast<size_t>(n_panels * x.n_cols * kPanelTokens));
  std::vector<float> decoded(static_cast<size_t>(x.n_cols));
  const bool is_encoded = x.format->decode != nullptr;
  const WideValues values(is_encoded ? nullptr : static_cast<const float*>(x.data));
  for (int64_t token = 0; token < x.n_tokens; ++token) {
    double* panel = panels.data() + token / kPanelTokens * x.n_cols * kPanelTokens + token % kPanelTokens;
    if (is_encoded) x.format->decode(x, token, decoded.data());
    for (int64_t col = 0; col < x.n_cols; ++col)
      panel[col * kPanelTokens] = is_encoded ? decoded[static_cast<size_t>(col)] : values[token * x.row_stride_elems + col];
  }
  return panels;
}

// No checks of sanitizers within: it is most of the time of the tests.
__attribute__((no_sanitize("address", "undefined"))) void dot_panel(const double* w, const double* panel, int64_t n_cols, double* sums) {
  double local[kPanelTokens] = {};
  for (int64_t col = 0; col < n_cols; ++col)
    for (int64_t t = 0; t < kPanelTokens; ++t) local[t] += w[col] * panel[col * kPanelTokens + t];
  std::copy(local, local + kPanelTokens, sums);
}

void largest_of_groups(const std::vector<double>& w, std::vector<double>& largest) {
  for (size_t from = 0; from < w.size(); from += kGroupCols) {
    const size_t to = std::min(from + kGroupCols, w.size());
    double most = 0;
    for (size_t i = from; i < to; ++i) most = std::max(most, std::abs(w[i]));
    std::fill(largest.begin() + static_cast<std::ptrdiff_t>(from),
              largest.begin() + static_cast<std::ptrdiff_t>(to), most);
  }
}

// Kernels may read Q8_0 codes with an offset of 128: a block of small codes still costs the rounding of large ones.
void allow_for_offset(const WeightView& weight, const void* bytes, std::vector<double>& largest) {
  if (weight.dtype != DType::kQ8_0) return;
  const auto* blocks = static_cast<const gguf::BlockQ8_0*>(bytes);
  for (size_t col = 0; col < largest.size(); ++col)
    largest[col] = std::max(largest[col], std::abs(128.0 * gguf::f16_to_f32(blocks[col / 32].d)));
}

template <typename Sink>
void matmul(const MatmulArgs& args, RowRange range, Sink& sink) {
  const WeightView& weight = args.w;
  const int64_t n_cols = weight.n_cols;
  const int64_t n_tokens = args.y.n_rows;
  const int64_t row_bytes = gguf::row_size_bytes(weight.dtype, n_cols);
  const std::vector<double> panels = panels_of(args.x);
  const WideValues residuals(args.residual);
  std::vector<double> magnitudes;
  if (Sink::kWantsBound) {
    magnitudes.resize(panels.size());
    std::transform(panels.begin(), panels.end(), magnitudes.begin(), [](double x) { return std::abs(x); });
  }

  std::vector<std::byte> native(static_cast<size_t>(row_bytes));
  std::vector<float> decoded(static_cast<size_t>(n_cols));
  std::vector<double> w(static_cast<size_t>(n_cols)), largest(static_cast<size_t>(n_cols));
  for (int64_t row = range.from; row < range.to; ++row) {
    const void* bytes = static_cast<const std::byte*>(weight.data) + row * row_bytes;
    if (weight.layout != nullptr) {
      weight.layout->unpack_row(weight.dtype, weight.n_rows, n_cols, weight.data, row, native.data());
      bytes = native.data();
    }
    gguf::dequantize_row(weight.dtype, bytes, decoded.data(), n_cols);
    std::copy(decoded.begin(), decoded.end(), w.begin());
    if (Sink::kWantsBound) {
      largest_of_groups(w, largest);
      allow_for_offset(weight, bytes, largest);
    }

    for (int64_t token = 0; token < n_tokens; token += kPanelTokens) {
      double sums[kPanelTokens], bounds[kPanelTokens] = {};
      dot_panel(w.data(), panels.data() + token * n_cols, n_cols, sums);
      if (Sink::kWantsBound) dot_panel(largest.data(), magnitudes.data() + token * n_cols, n_cols, bounds);
      for (int64_t t = 0; t < std::min(kPanelTokens, n_tokens - token); ++t) {
        const double bias = args.bias != nullptr ? args.bias[row] : 0.0;
        const double residual =
            args.residual != nullptr ? residuals[(token + t) * args.y.row_stride_elems + row] : 0.0;
        const double y = sums[t] + bias + residual;
        const double magnitude = bounds[t] + std::abs(bias) + std::abs(residual);
        sink(token + t, row, y,
             static_cast<double>(n_cols + 8) * kHalfUlp * magnitude + args.x.format->weight_step * bounds[t]);
      }
    }
  }
}

}  // namespace

void matmul_reference(const MatmulArgs& args, RowRange range) {
  StoreF32 sink{args.y};
  matmul(args, range, sink);
}

Expected evaluate(const MatmulArgs& args) {
  return record(args, args.y, [](const MatmulArgs& a, RowRange r, Record& s) { matmul(a, r, s); });
}

}  // namespace olx::kernels::reference
