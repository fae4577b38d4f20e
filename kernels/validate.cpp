// The contracts of api/args.h as conditions. A plan that passes gives kernels nothing to check; a refusal names the op,
// what was expected and what was given. Contents of memory (ids, positions, block tables) are the scheduler's promise.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "kernels/api/registry.h"
#include "kernels/args_cast.h"

namespace olx::kernels {
namespace {

std::string number(int64_t value) { return std::to_string(value); }
std::string number(double value) {
  std::string text(32, '\0');
  text.resize(static_cast<size_t>(std::snprintf(text.data(), text.size(), "%g", value)));
  return text;
}

// Collects the first broken condition of one op. Every method returns whether all held so far.
class Check {
 public:
  explicit Check(Op op) : op_(op) {}
  std::string text() const { return text_; }

  bool that(bool condition, const std::string& expected, const std::string& got) {
    if (!condition && text_.empty()) text_ = std::string(op_name(op_)) + ": expected " + expected + ", got " + got;
    return text_.empty();
  }
  template <typename Number>
  bool equal(const char* name, Number got, Number expected) {
    return that(got == expected, std::string(name) + " = " + number(expected), number(got));
  }
  bool positive(const char* name, int64_t got) { return that(got > 0, std::string(name) + " > 0", number(got)); }
  bool present(const char* name, const void* pointer) {
    return that(pointer != nullptr, std::string(name) + " to be given", "nullptr");
  }
  bool multiple(const char* name, int64_t got, int64_t of) {
    return that(of > 0 && got % of == 0, std::string(name) + " to be a multiple of " + number(of), number(got));
  }
  bool finite(const char* name, double got) {
    return that(std::isfinite(got), std::string("a finite ") + name, number(got));
  }
  bool aligned(const char* name, const void* pointer, uintptr_t bytes) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    return that(address % bytes == 0, std::string(name) + " aligned to " + number(static_cast<int64_t>(bytes)) + " bytes",
                "an address " + number(static_cast<int64_t>(address % bytes)) + " past it");
  }
  // May the matrix be used: it has memory, a shape, and rows that do not overlap.
  bool matrix(const char* name, const MatrixView& matrix, bool may_repeat_row = false) {
    const std::string what = name;
    const bool repeats = may_repeat_row && matrix.row_stride_elems == 0;
    return present(name, matrix.data) && aligned(name, matrix.data, alignof(float)) &&
           positive((what + " rows").c_str(), matrix.n_rows) && positive((what + " columns").c_str(), matrix.n_cols) &&
           that(repeats || matrix.n_rows == 1 || matrix.row_stride_elems >= matrix.n_cols,
                what + " row stride >= " + number(matrix.n_cols), number(matrix.row_stride_elems)) &&
           that(matrix.n_rows <= INT64_MAX / 8 / std::max<int64_t>(matrix.row_stride_elems, matrix.n_cols),
                what + " of a size that 64 bits count", number(matrix.n_rows) + " rows");
  }
  bool shape(const char* name, const MatrixView& got, int64_t n_rows, int64_t n_cols) {
    return that(got.n_rows == n_rows && got.n_cols == n_cols,
                std::string(name) + " [" + number(n_rows) + ", " + number(n_cols) + "]",
                "[" + number(got.n_rows) + ", " + number(got.n_cols) + "]");
  }
  // The memory of two matrices is the same rows, or none in common.
  bool same_or_apart(const char* names, const MatrixView& a, const MatrixView& b) {
    const bool is_same = a.data == b.data && (a.row_stride_elems == b.row_stride_elems || a.n_rows == 1);
    return is_same || apart(names, a, b);
  }
  bool apart(const char* names, const MatrixView& a, const MatrixView& b) {
    return apart(names, a.data, extent_bytes(a), b.data, extent_bytes(b));
  }
  bool apart(const char* names, const void* a, int64_t a_bytes, const void* b, int64_t b_bytes) {
    const auto a_from = reinterpret_cast<uintptr_t>(a), b_from = reinterpret_cast<uintptr_t>(b);
    return that(a_from + static_cast<uintptr_t>(a_bytes) <= b_from || b_from + static_cast<uintptr_t>(b_bytes) <= a_from,
                std::string(names) + " not to overlap", "memory in common");
  }
  static int64_t extent_bytes(const MatrixView& m) {
    return ((m.n_rows - 1) * m.row_stride_elems + m.n_cols) * static_cast<int64_t>(sizeof(float));
  }

 private:
  Op op_;
  std::string text_;
};

// Bits of an op's tensors that kernels can decode: the integer types and f64 are not weights.
bool is_weight_dtype(DType dtype) {
  switch (dtype) {
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
    case DType::kF64: return false;
    default: return gguf::find_dtype(static_cast<uint32_t>(dtype)) != nullptr;
  }
}

int64_t weight_bytes(const WeightView& w) {
  return w.layout != nullptr ? w.layout->size_bytes(w.dtype, w.n_rows, w.n_cols)
                             : w.n_rows * gguf::row_size_bytes(w.dtype, w.n_cols);
}

bool check_weight(Check& check, const char* name, const WeightView& w) {
  const std::string what = name;
  return check.present(name, w.data) && check.positive((what + " rows").c_str(), w.n_rows) &&
         check.positive((what + " columns").c_str(), w.n_cols) &&
         check.that(is_weight_dtype(w.dtype), what + " of a type that encodes weights",
                    "type " + number(static_cast<int64_t>(w.dtype))) &&
         check.multiple((what + " columns").c_str(), w.n_cols, gguf::dtype_info(w.dtype).block_elems) &&
         check.that(w.n_rows <= INT64_MAX / 16 / w.n_cols, what + " of a size that 64 bits count",
                    number(w.n_rows) + " x " + number(w.n_cols)) &&
         (w.layout == nullptr || check.aligned(name, w.data, 64));
}

bool check_activation(Check& check, const char* name, const ActivationView& x) {
  const std::string what = name;
  if (!(check.present(name, x.data) && check.present((what + " format").c_str(), x.format) &&
        check.positive((what + " tokens").c_str(), x.n_tokens) && check.positive((what + " columns").c_str(), x.n_cols)))
    return false;
  if (is_rows(*x.format))
    return check.aligned(name, x.data, alignof(float)) &&
           check.that(x.n_tokens == 1 || x.row_stride_elems >= x.n_cols, what + " row stride >= " + number(x.n_cols),
                      number(x.row_stride_elems));
  return check.aligned(name, x.data, 64) && check.multiple((what + " columns").c_str(), x.n_cols, 32);
}

int64_t activation_bytes(const ActivationView& x) {
  return is_rows(*x.format)
             ? ((x.n_tokens - 1) * x.row_stride_elems + x.n_cols) * static_cast<int64_t>(sizeof(float))
             : x.format->size_bytes(x.n_tokens, x.n_cols);
}

bool check_kv(Check& check, const KvView& kv) {
  return check.present("k pages", kv.k) && check.present("v pages", kv.v) && check.present("block table", kv.block_table) &&
         check.aligned("k pages", kv.k, 64) && check.aligned("v pages", kv.v, 64) &&
         check.that(kv.dtype == DType::kF32 || kv.dtype == DType::kF16 || kv.dtype == DType::kQ8_0,
                    "a cache of F32, F16 or Q8_0", "type " + number(static_cast<int64_t>(kv.dtype))) &&
         check.positive("n_kv_heads", kv.n_kv_heads) && check.positive("head_dim", kv.head_dim) &&
         check.positive("page_tokens", kv.page_tokens) && check.positive("max_blocks", kv.max_blocks) &&
         check.multiple("head_dim", kv.head_dim, gguf::dtype_info(kv.dtype).block_elems);
}

void check_args(Check& check, const EmbedArgs& args) {
  check.matrix("y", args.y) && check_weight(check, "table", args.table) && check.present("ids", args.ids) &&
      check.equal("y columns", args.y.n_cols, args.table.n_cols) && check.finite("scale", args.scale) &&
      check.apart("y and table", args.y.data, Check::extent_bytes(args.y), args.table.data, weight_bytes(args.table));
}

void check_args(Check& check, const QuantizeArgs& args) {
  check.matrix("x", args.x) && check_activation(check, "y", args.y) &&
      check.that(!is_rows(*args.y.format), "an encoded activation format", args.y.format->name) &&
      check.equal("y tokens", args.y.n_tokens, args.x.n_rows) && check.equal("y columns", args.y.n_cols, args.x.n_cols) &&
      check.apart("y and x", args.y.data, args.y.format->size_bytes(args.y.n_tokens, args.y.n_cols), args.x.data,
                  Check::extent_bytes(args.x));
}

void check_args(Check& check, const MatmulArgs& args) {
  if (!(check.matrix("y", args.y) && check_activation(check, "x", args.x) && check_weight(check, "w", args.w) &&
        check.equal("x columns", args.x.n_cols, args.w.n_cols) &&
        check.shape("y", args.y, args.x.n_tokens, args.w.n_rows)))
    return;
  const int64_t y_bytes = Check::extent_bytes(args.y);
  check.apart("y and x", args.y.data, y_bytes, args.x.data, activation_bytes(args.x));
  check.apart("y and w", args.y.data, y_bytes, args.w.data, weight_bytes(args.w));
  if (args.bias != nullptr)
    check.apart("y and bias", args.y.data, y_bytes, args.bias, args.w.n_rows * static_cast<int64_t>(sizeof(float)));
  if (args.residual != nullptr && args.residual != args.y.data)
    check.apart("y and residual", args.y.data, y_bytes, args.residual, y_bytes);
}

void check_args(Check& check, const RmsNormArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.shape("y", args.y, args.x.n_rows, args.x.n_cols) &&
      check.positive("group_cols", args.group_cols) && check.multiple("x columns", args.x.n_cols, args.group_cols) &&
      check.that(std::isfinite(args.eps) && args.eps >= 0, "a finite eps >= 0", number(double{args.eps})) &&
      check.same_or_apart("y and x", args.y, args.x);
}

void check_args(Check& check, const RopeTableArgs& args) {
  const RopeConfig& config = args.config;
  check.matrix("table", args.table) && check.present("tokens", args.tokens) && check.positive("n_rot", config.n_rot) &&
      check.multiple("n_rot", config.n_rot, 2) && check.equal("table columns", args.table.n_cols, config.n_rot) &&
      check.that(std::isfinite(config.freq_base) && config.freq_base > 0, "a finite freq_base > 0",
                 number(config.freq_base)) &&
      check.that(std::isfinite(config.freq_scale) && config.freq_scale > 0, "a finite freq_scale > 0",
                 number(config.freq_scale)) &&
      check.finite("ext_factor", config.ext_factor) && check.finite("attn_factor", config.attn_factor) &&
      (config.ext_factor == 0 ||
       (check.positive("n_ctx_orig (YaRN)", config.n_ctx_orig) &&
        check.that(config.freq_base != 1, "freq_base other than 1 (YaRN)", number(config.freq_base)) &&
        check.that(std::isfinite(config.beta_fast) && config.beta_fast > 0, "a finite beta_fast > 0",
                   number(config.beta_fast)) &&
        check.that(std::isfinite(config.beta_slow) && config.beta_slow > 0, "a finite beta_slow > 0",
                   number(config.beta_slow))));
}

void check_args(Check& check, const RopeArgs& args) {
  check.matrix("x", args.x) && check.matrix("table", args.table) && check.positive("n_heads", args.n_heads) &&
      check.positive("head_dim", args.head_dim) &&
      check.equal("x columns", args.x.n_cols, args.n_heads * args.head_dim) &&
      check.equal("table rows", args.table.n_rows, args.x.n_rows) && check.multiple("n_rot", args.table.n_cols, 2) &&
      check.that(args.table.n_cols <= args.head_dim, "n_rot <= head_dim = " + number(args.head_dim),
                 number(args.table.n_cols)) &&
      check.apart("x and table", args.x, args.table);
}

void check_args(Check& check, const KvStoreArgs& args) {
  check_kv(check, args.kv) && check.matrix("k", args.k) && check.matrix("v", args.v) &&
      check.present("tokens", args.tokens) &&
      check.equal("k columns", args.k.n_cols, args.kv.n_kv_heads * args.kv.head_dim) &&
      check.shape("v", args.v, args.k.n_rows, args.k.n_cols);
}

void check_args(Check& check, const AttentionArgs& args) {
  check_kv(check, args.kv) && check.matrix("y", args.y) && check.matrix("q", args.q) &&
      check.present("tokens", args.tokens) && check.positive("n_heads", args.n_heads) &&
      check.multiple("n_heads", args.n_heads, args.kv.n_kv_heads) &&
      check.equal("q columns", args.q.n_cols, args.n_heads * args.kv.head_dim) &&
      check.shape("y", args.y, args.q.n_rows, args.q.n_cols) && check.finite("scale", args.scale) &&
      check.that(std::isfinite(args.softcap) && args.softcap >= 0, "a finite softcap >= 0",
                 number(double{args.softcap})) &&
      check.that(args.sliding_window >= 0, "sliding_window >= 0", number(args.sliding_window)) &&
      check.positive("n_splits", args.n_splits) &&
      (args.n_splits == 1 ||
       (check.present("scratch", args.scratch) && check.aligned("scratch", args.scratch, 64) &&
        check.that(args.q.n_rows <= kAttentionCounters / args.kv.n_kv_heads,
                   "at most " + number(kAttentionCounters / args.kv.n_kv_heads) +
                       " tokens where the context is split",
                   number(args.q.n_rows)))) &&
      check.apart("y and q", args.y, args.q);
}

void check_args(Check& check, const GatedActivationArgs& args) {
  check.matrix("y", args.y) && check.matrix("gate", args.gate) && check.matrix("up", args.up) &&
      check.shape("gate", args.gate, args.y.n_rows, args.y.n_cols) &&
      check.shape("up", args.up, args.y.n_rows, args.y.n_cols) &&
      check.that(static_cast<int>(args.activation) <= static_cast<int>(Activation::kRelu), "a known activation",
                 number(static_cast<int64_t>(args.activation))) &&
      check.same_or_apart("y and gate", args.y, args.gate) && check.same_or_apart("y and up", args.y, args.up);
}

void check_args(Check& check, const AddArgs& args) {
  check.matrix("y", args.y) && check.matrix("a", args.a) && check.matrix("b", args.b, true) &&
      check.shape("a", args.a, args.y.n_rows, args.y.n_cols) && check.shape("b", args.b, args.y.n_rows, args.y.n_cols) &&
      check.same_or_apart("y and a", args.y, args.a) && check.same_or_apart("y and b", args.y, args.b);
}

void check_args(Check& check, const ScaleArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.shape("y", args.y, args.x.n_rows, args.x.n_cols) &&
      check.finite("scale", args.scale) && check.same_or_apart("y and x", args.y, args.x);
}

void check_args(Check& check, const SoftcapArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.shape("y", args.y, args.x.n_rows, args.x.n_cols) &&
      check.that(std::isfinite(args.cap) && args.cap > 0, "a finite cap > 0", number(double{args.cap})) &&
      check.same_or_apart("y and x", args.y, args.x);
}

void check_args(Check& check, const SoftmaxArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.shape("y", args.y, args.x.n_rows, args.x.n_cols) &&
      check.same_or_apart("y and x", args.y, args.x);
}

// What kernels read that normalise and encode rows themselves.
bool check_rows(Check& check, const ActivationView& x, float norm_eps) {
  return check_activation(check, "x", x) && check.that(is_rows(*x.format), "x of f32 rows", x.format->name) &&
         check.that(std::isfinite(norm_eps) && norm_eps >= 0, "a finite norm_eps >= 0", number(double{norm_eps}));
}
bool check_native_weight(Check& check, const char* name, const WeightView& w, int64_t n_cols) {
  const std::string what = name;
  return check_weight(check, name, w) && check.equal((what + " columns").c_str(), w.n_cols, n_cols) &&
         check.that(w.layout == nullptr, what + " in the order of the file",
                    w.layout != nullptr ? w.layout->name : "");
}

void check_args(Check& check, const GatedMatmulArgs& args) {
  check.matrix("y", args.y) && check_rows(check, args.x, args.norm_eps) &&
      check_native_weight(check, "gate", args.gate, args.x.n_cols) &&
      check_native_weight(check, "up", args.up, args.x.n_cols) &&
      check.equal("up rows", args.up.n_rows, args.gate.n_rows) &&
      check.that(args.up.dtype == args.gate.dtype, "up of the type of gate",
                 "type " + number(static_cast<int64_t>(args.up.dtype))) &&
      check.shape("y", args.y, args.x.n_tokens, args.gate.n_rows) &&
      check.that(static_cast<int>(args.activation) <= static_cast<int>(Activation::kRelu), "a known activation",
                 number(static_cast<int64_t>(args.activation))) &&
      check.apart("y and x", args.y.data, Check::extent_bytes(args.y), args.x.data, activation_bytes(args.x));
}

// What is rotated and stored: its table, its pages, and whose tokens it is.
template <typename Args>
bool check_store(Check& check, const Args& args, int64_t n_tokens) {
  return check_kv(check, args.kv) && check.matrix("table", args.table) && check.equal("table rows", args.table.n_rows, n_tokens) &&
         check.multiple("n_rot", args.table.n_cols, 2) &&
         check.that(args.table.n_cols <= args.kv.head_dim, "n_rot <= head_dim = " + number(args.kv.head_dim),
                    number(args.table.n_cols)) &&
         check.present("tokens", args.tokens) && check.apart("y and table", args.y, args.table);
}

void check_args(Check& check, const QkvMatmulArgs& args) {
  const int64_t n_kept = args.is_stored() ? args.q.n_rows : args.q.n_rows + args.k.n_rows + args.v.n_rows;
  check.matrix("y", args.y) && check_rows(check, args.x, args.norm_eps) &&
      check_native_weight(check, "q", args.q, args.x.n_cols) &&
      check_native_weight(check, "k", args.k, args.x.n_cols) &&
      check_native_weight(check, "v", args.v, args.x.n_cols) && check.positive("n_heads", args.n_heads) &&
      check.positive("n_kv_heads", args.kv.n_kv_heads) && check.positive("head_dim", args.kv.head_dim) &&
      check.multiple("head_dim", args.kv.head_dim, 2) &&
      check.equal("q rows", args.q.n_rows, args.n_heads * args.kv.head_dim) &&
      check.equal("k rows", args.k.n_rows, args.kv.n_kv_heads * args.kv.head_dim) &&
      check.equal("v rows", args.v.n_rows, args.k.n_rows) &&
      check.shape("y", args.y, args.x.n_tokens, n_kept) &&
      check.apart("y and x", args.y.data, Check::extent_bytes(args.y), args.x.data, activation_bytes(args.x)) &&
      (!args.is_stored() ||
       (check_store(check, args, args.x.n_tokens) &&
        check.that(args.kv.dtype != DType::kQ8_0, "a cache of F32 or F16", "Q8_0")));
}

void check_args(Check& check, const QkvStoreArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.positive("n_heads", args.n_heads) &&
      check_store(check, args, args.x.n_rows) && check.multiple("head_dim", args.kv.head_dim, 2) &&
      check.equal("x columns", args.x.n_cols, (args.n_heads + 2 * args.kv.n_kv_heads) * args.kv.head_dim) &&
      check.shape("y", args.y, args.x.n_rows, args.n_heads * args.kv.head_dim) &&
      check.that(std::isfinite(args.norm_eps) && args.norm_eps >= 0, "a finite norm_eps >= 0", number(double{args.norm_eps})) &&
      check.apart("y and x", args.y, args.x);
}

void check_args(Check& check, const RmsNormAddArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.matrix("residual", args.residual) &&
      check.shape("y", args.y, args.x.n_rows, args.x.n_cols) &&
      check.shape("residual", args.residual, args.x.n_rows, args.x.n_cols) &&
      check.that(std::isfinite(args.eps) && args.eps >= 0, "a finite eps >= 0", number(double{args.eps})) &&
      check.same_or_apart("y and x", args.y, args.x) && check.same_or_apart("y and residual", args.y, args.residual);
}

void check_args(Check& check, const TopKArgs& args) {
  check.matrix("y", args.y) && check.matrix("x", args.x) && check.present("y_ids", args.y_ids) &&
      check.that(args.k >= 1 && args.k <= kTopKMax, "1 <= k <= " + number(kTopKMax), number(args.k)) &&
      check.positive("slice_cols", args.slice_cols) &&
      check.that(args.x.n_cols <= INT32_MAX, "columns that 32 bits count", number(args.x.n_cols)) &&
      check.shape("y", args.y, args.x.n_rows, args.n_slices() * args.k) && check.apart("y and x", args.y, args.x);
}

}  // namespace

std::string validate(Op op, const void* args) {
  Check check(op);
  visit_args(op, args, [&](const auto& typed) { check_args(check, typed); });
  return check.text();
}

}  // namespace olx::kernels
