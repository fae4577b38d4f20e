// Ops that treat each token on its own: embed, quantize (oracle only), norms, activations, sums, softmax.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gguf/check.h"
#include "gguf/quantize.h"
#include "kernels/reference/activate.h"
#include "kernels/reference/sink.h"

namespace olx::kernels::reference {
namespace {

std::vector<double> as_double(const WideMatrix& x, int64_t row, int64_t n_cols) {
  std::vector<double> values(static_cast<size_t>(n_cols));
  for (int64_t col = 0; col < n_cols; ++col) values[static_cast<size_t>(col)] = x.at(row, col);
  return values;
}

template <typename Sink>
void embed(const EmbedArgs& args, RowRange range, Sink& sink) {
  const int64_t n_cols = args.table.n_cols;
  const int64_t row_bytes = gguf::row_size_bytes(args.table.dtype, n_cols);
  std::vector<float> decoded(static_cast<size_t>(n_cols));
  std::vector<std::byte> native(static_cast<size_t>(row_bytes));
  // A table of f32 rows may be a value of the network (a gather).
  const bool is_f32 = args.table.dtype == DType::kF32 && args.table.layout == nullptr;
  const WideValues values(is_f32 ? static_cast<const float*>(args.table.data) : nullptr);
  for (int64_t token = range.from; token < range.to; ++token) {
    const WeightView& table = args.table;
    const void* row = static_cast<const std::byte*>(table.data) + args.ids[token] * row_bytes;
    if (table.layout != nullptr) {
      table.layout->unpack_row(table.dtype, table.n_rows, n_cols, table.data, args.ids[token], native.data());
      row = native.data();
    }
    gguf::dequantize_row(table.dtype, row, decoded.data(), n_cols);
    for (int64_t col = 0; col < n_cols; ++col) {
      const double x = is_f32 ? values[args.ids[token] * n_cols + col] : decoded[static_cast<size_t>(col)];
      const double y = x * args.scale;
      sink(token, col, y, 2 * kHalfUlp * std::abs(y));
    }
  }
}

template <typename Sink>
void rms_norm(const RmsNormArgs& args, RowRange range, Sink& sink) {
  const int64_t group_cols = args.group_cols;
  const WideMatrix input(args.x);
  for (int64_t token = range.from; token < range.to; ++token) {
    const std::vector<double> x = as_double(input, token, args.x.n_cols);
    for (int64_t group = 0; group < args.x.n_cols; group += group_cols) {
      double sum = 0;
      for (int64_t i = 0; i < group_cols; ++i) sum += x[group + i] * x[group + i];
      const double root = std::sqrt(sum / static_cast<double>(group_cols) + static_cast<double>(args.eps));
      for (int64_t i = 0; i < group_cols; ++i) {
        const double weight = args.weight != nullptr ? args.weight[i] : 1.0;
        const double y = x[group + i] / root * weight;
        sink(token, group + i, y, static_cast<double>(group_cols + 8) * kHalfUlp * std::abs(y));
      }
    }
  }
}

template <typename Sink>
void rms_norm_add(const RmsNormAddArgs& args, RowRange range, Sink& sink) {
  const WideMatrix residual(args.residual);
  const auto add = [&](int64_t token, int64_t col, double normalised, double bound) {
    const double y = residual.at(token, col) + normalised;
    sink(token, col, y, bound + kHalfUlp * std::abs(y));
  };
  rms_norm({args.y, args.x, args.weight, args.x.n_cols, args.eps}, range, add);
}

template <typename Sink>
void gated_activation(const GatedActivationArgs& args, RowRange range, Sink& sink) {
  const WideMatrix gates(args.gate), ups(args.up);
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t col = 0; col < args.y.n_cols; ++col) {
      const double up = ups.at(token, col);
      const double y = activate(args.activation, gates.at(token, col)) * up;
      sink(token, col, y, 0x1p-20 * (std::abs(y) + std::abs(up)));
    }
  }
}

// y = f(x) element by element; f returns the value, bound_of(value) its bound.
template <typename Args, typename Sink, typename F, typename Bound>
void map_elements(const Args& args, RowRange range, Sink& sink, F&& f, Bound&& bound_of) {
  for (int64_t token = range.from; token < range.to; ++token) {
    for (int64_t col = 0; col < args.y.n_cols; ++col) {
      const double y = f(token, col);
      sink(token, col, y, bound_of(y));
    }
  }
}

double one_rounding(double y) { return kHalfUlp * std::abs(y); }

template <typename Sink>
void add(const AddArgs& args, RowRange range, Sink& sink) {
  const WideMatrix a(args.a), b(args.b);
  map_elements(
      args, range, sink, [&](int64_t token, int64_t col) { return a.at(token, col) + b.at(token, col); }, one_rounding);
}

template <typename Sink>
void scale(const ScaleArgs& args, RowRange range, Sink& sink) {
  const WideMatrix x(args.x);
  map_elements(
      args, range, sink, [&](int64_t token, int64_t col) { return x.at(token, col) * args.scale; }, one_rounding);
}

template <typename Sink>
void softcap(const SoftcapArgs& args, RowRange range, Sink& sink) {
  const double cap = args.cap;
  const WideMatrix x(args.x);
  map_elements(
      args, range, sink,
      [&](int64_t token, int64_t col) { return cap * std::tanh(x.at(token, col) / cap); },
      [&](double) { return 0x1p-20 * cap; });
}

template <typename Sink>
void softmax(const SoftmaxArgs& args, RowRange range, Sink& sink) {
  const int64_t n_cols = args.x.n_cols;
  const WideMatrix input(args.x);
  for (int64_t token = range.from; token < range.to; ++token) {
    std::vector<double> x = as_double(input, token, n_cols);
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) {
      value = largest == -std::numeric_limits<double>::infinity() ? 0 : std::exp(value - largest);
      sum += value;
    }
    for (int64_t col = 0; col < n_cols; ++col) {
      const double y = sum > 0 ? x[static_cast<size_t>(col)] / sum : 0;
      sink(token, col, y, static_cast<double>(n_cols + 16) * 0x1p-22 * y + 0x1p-126);
    }
  }
}

}  // namespace

Expected evaluate(const QuantizeArgs& args) {
  Record sink(args.x.n_rows, args.x.n_cols);
  const ActivationFormat& format = *args.y.format;
  for (int64_t token = 0; token < args.x.n_rows; ++token) {
    const float* x = args.x.row(token);
    for (int64_t col = 0; col < args.x.n_cols; ++col) {
      const int64_t from = col / format.block_elems * format.block_elems;
      const int64_t to = std::min(from + format.block_elems, args.x.n_cols);
      double largest = 0;
      for (int64_t i = from; i < to; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
      sink(token, col, x[col], format.step * largest);
    }
  }
  return std::move(sink.expected);
}

// A kernel row and its oracle from one template.
#define REFERENCE_OP(Args, op)                                                                                     \
  void op##_reference(const Args& args, RowRange range) {                                                          \
    StoreF32 sink{args.y};                                                                                         \
    op(args, range, sink);                                                                                         \
  }                                                                                                                \
  Expected evaluate(const Args& args) {                                                                            \
    return record(args, args.y, [](const Args& a, RowRange range, Record& sink) { op(a, range, sink); });          \
  }

REFERENCE_OP(EmbedArgs, embed)
REFERENCE_OP(RmsNormArgs, rms_norm)
REFERENCE_OP(RmsNormAddArgs, rms_norm_add)
REFERENCE_OP(GatedActivationArgs, gated_activation)
REFERENCE_OP(AddArgs, add)
REFERENCE_OP(ScaleArgs, scale)
REFERENCE_OP(SoftcapArgs, softcap)
REFERENCE_OP(SoftmaxArgs, softmax)
#undef REFERENCE_OP

}  // namespace olx::kernels::reference
