#pragma once
// One Args struct per Op. The comment above each is the contract: seven tags, always in this order, checked by a test.
// Kernels do not repeat it. n_tokens may be smaller than the memory was planned for; it changes from step to step.
// Every struct has rows(): the number of work units a RowRange counts.

#include "kernels/api/op.h"
#include "kernels/api/tensor_view.h"

namespace olx::kernels {

// shapes: y [n_tokens, n_cols]; table [n_rows, n_cols]; ids [n_tokens]. Work unit: a token.
// layout: table as its WeightView says; y f32 row-major.
// align: y 4 bytes; table 64 bytes when packed.
// alias: none.
// numerics: exact decode of the block, times scale in f32: |err| <= 2^-23 |y|.
// errors: none; ids are within [0, n_rows) by the scheduler's promise.
// source: Vaswani et al. 2017, section 3.4 (scale: Gemma multiplies by sqrt(d_model)).
struct EmbedArgs {
  MatrixView y;
  WeightView table;
  const int32_t* ids = nullptr;
  float scale = 1.0f;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y: the format's encoding of x [n_tokens, n_cols]. Work unit: a token.
// layout: x f32 row-major; y as its ActivationFormat defines. n_cols % 32 == 0.
// align: y 64 bytes.
// alias: none.
// numerics: the format states the step; reference returns it as the bound of a decode.
// errors: none; NaN and infinity in x may give any value in that token's block, never a trap.
// source: LLM.int8(), Dettmers et al. 2022 (absmax scaling), here per block of 32.
struct QuantizeArgs {
  ActivationView y;  // y.data is written
  MatrixView x;
  int64_t rows() const { return x.n_rows; }
};

// shapes: y [n_tokens, n_rows]; x [n_tokens, n_cols]; w [n_rows, n_cols]; bias [n_rows]; residual [n_tokens, n_rows].
//   Work unit: a row of w (a column of y).
// layout: w as its layout says; ranges start at multiples of layout->row_multiple.
// align: w 64 bytes when packed; y 4 bytes.
// alias: residual may be y; nothing else.
// numerics: y = sum_k x w (+ bias) (+ residual), f32 or exact integer partial sums, f32 accumulation;
//   |err| <= (n_cols + 8) 2^-24 (sum|x| W + |bias| + |residual|), W the largest |w| of the 32 columns around each
//   (Q8_0: 128 times the block's scale, since int8 codes may be multiplied as unsigned ones with an offset), plus
//   format->weight_step sum|x| W; x is what the activation format decodes to (kQuantize bounds how far that is from the
//   f32 activations).
// errors: none.
// source: https://en.wikipedia.org/wiki/Basic_Linear_Algebra_Subprograms (GEMM with B transposed).
struct MatmulArgs {
  MatrixView y;
  ActivationView x;
  WeightView w;
  const float* bias = nullptr;
  const float* residual = nullptr;  // same stride as y
  int64_t rows() const { return w.n_rows; }
};

// shapes: y, x [n_tokens, n_cols], n_cols = n_groups * group_cols; weight [group_cols]. Work unit: a token.
//   Each group of group_cols columns is normalised on its own (group_cols = head_dim for a q/k norm).
// layout: row-major f32.
// align: 4 bytes.
// alias: y may be x.
// numerics: y = x / sqrt(mean(x^2) + eps) * weight; |err| <= (group_cols + 8) 2^-24 |y| while sum x^2 is finite in f32.
// errors: none.
// source: Zhang & Sennrich 2019, arXiv:1910.07467.
struct RmsNormArgs {
  MatrixView y;
  MatrixView x;
  const float* weight = nullptr;  // nullptr: no multiplication
  int64_t group_cols = 0;
  float eps = 0.0f;
  int64_t rows() const { return x.n_rows; }
};

// How positions become angles; fixed per model (and per layer kind).
struct RopeConfig {
  int64_t n_rot = 0;            // rotated dimensions of a head, even
  bool is_neox = false;         // false: pairs (2i, 2i+1); true: pairs (i, i + n_rot/2)
  double freq_base = 10000.0;
  double freq_scale = 1.0;      // 1 / linear scaling factor
  double ext_factor = 0.0;      // YaRN mix; 0 turns YaRN off
  double attn_factor = 1.0;     // multiplies cos and sin
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  int64_t n_ctx_orig = 0;       // training context for YaRN
  const float* freq_factors = nullptr;  // [n_rot / 2] or nullptr
};

// shapes: table [n_tokens, n_rot]: for each i < n_rot/2 the pair cos, sin at 2i, 2i+1; tokens [n_tokens]. Work unit: a token.
// layout: f32 row-major.
// align: 4 bytes.
// alias: none.
// numerics: angles in double; |err| <= 2^-23 attn_factor'.
// errors: none.
// source: Su et al. 2021, arXiv:2104.09864; Peng et al. 2023, arXiv:2309.00071 (YaRN).
struct RopeTableArgs {
  MatrixView table;
  const TokenSlot* tokens = nullptr;
  RopeConfig config;
  int64_t rows() const { return table.n_rows; }
};

// shapes: x [n_tokens, n_heads * head_dim]; table [n_tokens, n_rot]. Work unit: a token.
// layout: f32 row-major; dimensions >= n_rot of a head are left alone.
// align: 4 bytes.
// alias: in place on x.
// numerics: one rotation in f32: |err| <= 2^-22 (|a| + |b|) per pair.
// errors: none.
// source: as RopeTableArgs.
struct RopeArgs {
  MatrixView x;
  MatrixView table;
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  bool is_neox = false;
  int64_t rows() const { return x.n_rows; }
};

// shapes: k, v [n_tokens, n_kv_heads * head_dim]; tokens [n_tokens]. Work unit: a token.
// layout: as KvView says; pages named by the block table are writable.
// align: 64 bytes for pages.
// alias: none.
// numerics: f32 and f16 exact (round to nearest even); q8_0 within half a step of max|x| / 127 and the rounding of
//   that scale to f16.
// errors: none.
// source: Kwon et al. 2023, arXiv:2309.06180 (paged attention).
struct KvStoreArgs {
  KvView kv;
  MatrixView k;
  MatrixView v;
  const TokenSlot* tokens = nullptr;
  int64_t rows() const { return k.n_rows; }
};

constexpr int64_t kAttentionSegment = 256;  // positions that a split of the context may end at
constexpr int64_t kAttentionCounters = 64;  // at the beginning of AttentionArgs::scratch

// Elements of the scratch that attention over n_tokens, which together see no more than n_segments, needs for splits.
int64_t attention_scratch_elems(int64_t n_tokens, int64_t n_segments, int64_t n_heads, int64_t head_dim);

// shapes: y, q [n_tokens, n_heads * head_dim]; tokens [n_tokens]; sinks [n_heads].
//   Work unit: a (kv head, split of the context, token) triple, kv head slowest: unit = (kv_head * n_splits + split) *
//   n_tokens + token. The units of a kv head and a token together write its rows of y: whichever of them is the last.
// layout: f32 row-major; cache as KvView says. n_heads % n_kv_heads == 0; head h reads kv head h / (n_heads / n_kv_heads).
// align: 4 bytes; pages and scratch 64.
// alias: none.
// numerics: softmax over cached positions p with p <= position and position - p < sliding_window (0: no limit) of
//   softcap(scale q.k); f32 accumulation: |err| <= ((n_positions + head_dim + 16) 2^-22 + head_dim 2^-23 S) max|v|,
//   S the largest |scale| sum|q k| of a position: an error of a score becomes a relative one of its weight. The bits of
//   a token do not depend on the other tokens of the batch, nor on n_splits.
// errors: none.
// source: Vaswani et al. 2017; Dao et al. 2022 (online softmax); soft-cap: Gemma 2 report, arXiv:2408.00118.
struct AttentionArgs {
  MatrixView y;
  MatrixView q;
  KvView kv;
  const TokenSlot* tokens = nullptr;
  int64_t n_heads = 0;
  float scale = 1.0f;
  float softcap = 0.0f;          // 0: none
  int64_t sliding_window = 0;    // 0: none
  const float* sinks = nullptr;  // an extra logit per head that only enters the denominator
  // How many ways the context is divided, so that few tokens give work to many threads. More than one only where
  // n_kv_heads * n_tokens <= kAttentionCounters and the scratch has attention_scratch_elems. Its first
  // kAttentionCounters elements are zero bits before and after; the rest may hold anything.
  int64_t n_splits = 1;
  float* scratch = nullptr;
  // The last so many tokens belong to prompts: a kernel may add their sums in another order than those of the others.
  int64_t n_prompt = 0;
  int64_t rows() const { return kv.n_kv_heads * n_splits * q.n_rows; }
};

enum class Activation : uint8_t { kSilu, kGeluTanh, kGeluErf, kRelu };

// shapes: y, gate, up [n_tokens, n_cols]. Work unit: a token.
// layout: f32 row-major, each with its own stride.
// align: 4 bytes.
// alias: y may be gate or up.
// numerics: y = act(gate) * up; |err| <= 2^-20 (|y| + |up|).
// errors: none.
// source: Shazeer 2020, arXiv:2002.05202.
struct GatedActivationArgs {
  MatrixView y;
  MatrixView gate;
  MatrixView up;
  Activation activation = Activation::kSilu;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y, a, b [n_tokens, n_cols]. Work unit: a token.
// layout: f32 row-major. b.row_stride_elems may be 0: one row for all tokens.
// align: 4 bytes.
// alias: y may be a or b.
// numerics: one rounding.
// errors: none.
// source: elementwise sum.
struct AddArgs {
  MatrixView y;
  MatrixView a;
  MatrixView b;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y, x [n_tokens, n_cols]. Work unit: a token.
// layout: f32 row-major.
// align: 4 bytes.
// alias: y may be x.
// numerics: one rounding.
// errors: none.
// source: elementwise product with a constant.
struct ScaleArgs {
  MatrixView y;
  MatrixView x;
  float scale = 1.0f;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y, x [n_tokens, n_cols]. Work unit: a token.
// layout: f32 row-major.
// align: 4 bytes.
// alias: y may be x.
// numerics: y = cap * tanh(x / cap); |err| <= 2^-20 cap.
// errors: none.
// source: Gemma 2 report, arXiv:2408.00118, section 2.
struct SoftcapArgs {
  MatrixView y;
  MatrixView x;
  float cap = 1.0f;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y, x [n_tokens, n_cols]. Work unit: a token.
// layout: f32 row-major.
// align: 4 bytes.
// alias: y may be x.
// numerics: |err| <= (n_cols + 16) 2^-22 y + 2^-126; -inf gives 0.
// errors: none; a row of only -inf gives zeros.
// source: max-subtracted softmax.
struct SoftmaxArgs {
  MatrixView y;
  MatrixView x;
  int64_t rows() const { return y.n_rows; }
};

// shapes: y [n_tokens, n_rows]; x [n_tokens, n_cols]; gate, up [n_rows, n_cols]; norm_weight [n_cols];
//   biases [n_rows]. Work unit: a row of gate and of up (a column of y).
// layout: x rows of f32 (is_rows()); gate and up of one dtype, in the order of the file.
// align: y, x 4 bytes.
// alias: none.
// numerics: x' = x norm_weight rounded to f32, as the format decodes it; r = 1 / sqrt(mean(x^2) + norm_eps), both 1
//   without a norm; g = r sum_k x' gate (+ bias), u the same of up; y = act(g) u.
//   |err g| <= e_g = (2 n_cols + 16) 2^-24 (r sum|x'| W + |bias|), W as for kMatmul;
//   |err| <= 1.13 e_g (|u| + e_u) + |act(g)| e_u + 2^-20 (|y| + |u|), no activation being steeper than 1.13,
//   while sum x^2 is finite in f32.
// errors: none.
// source: Shazeer 2020, arXiv:2002.05202; Zhang & Sennrich 2019, arXiv:1910.07467.
struct GatedMatmulArgs {
  MatrixView y;
  ActivationView x;
  const float* norm_weight = nullptr;  // nullptr: x is not normalised
  float norm_eps = 0.0f;
  WeightView gate;
  WeightView up;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  Activation activation = Activation::kSilu;
  int64_t rows() const { return gate.n_rows; }
};

// shapes: y [n_tokens, n_heads * head_dim]; x [n_tokens, n_cols]; q [n_heads * head_dim, n_cols];
//   k, v [n_kv_heads * head_dim, n_cols]; biases: a value a row; table [n_tokens, n_rot]; tokens [n_tokens].
//   Without a table y is [n_tokens, (n_heads + 2 n_kv_heads) * head_dim]: of each token q, k and v as they come out of
//   the products, for kQkvStore; of kv only n_kv_heads and head_dim are read then.
//   Work unit: two rows, the i-th of head_dim / 2 of a head, of q first, then of k, then of v. Of q and k these are the
//   i-th pair that is rotated while i < n_rot / 2, and behind those two neighbours; of v neighbours.
// layout: x rows of f32 (is_rows()); weights in the order of the file; the cache as KvView says, F32 or F16.
// align: y, x 4 bytes; 64 for pages.
// alias: none.
// numerics: products as for kGatedMatmul, e their errors; rotated as kRope does it: |err| <= |c| e_a + |s| e_b +
//   2^-22 (|a| + |b|); in a cache of f16 half a unit in its last place more.
// errors: none.
// source: as kRope and kKvStore.
struct QkvMatmulArgs {
  MatrixView y;  // q
  ActivationView x;
  const float* norm_weight = nullptr;  // nullptr: x is not normalised
  float norm_eps = 0.0f;
  WeightView q;
  WeightView k;
  WeightView v;
  const float* q_bias = nullptr;
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  MatrixView table;  // of angles, as kRope reads it; without data: nothing is rotated and stored
  bool is_neox = false;
  int64_t n_heads = 0;
  KvView kv;
  const TokenSlot* tokens = nullptr;
  constexpr bool is_stored() const { return table.data != nullptr; }
  int64_t rows() const { return (n_heads + 2 * kv.n_kv_heads) * (kv.head_dim / 2); }
};

constexpr int64_t kTopKMax = 128;

// shapes: x, x_ids [n_tokens, n_cols]; y, y_ids [n_tokens, n_slices * k], n_slices = ceil(n_cols / slice_cols).
//   Work unit: a slice of a token, token slowest.
// layout: f32 and int32 row-major, ids with the stride of their values. 1 <= k <= kTopKMax.
// align: 4 bytes.
// alias: none.
// numerics: exact. Of each slice the k largest, largest first, of equal ones the lower id first. -inf is never one of
//   them: where there are fewer, -inf with id -1 takes the rest. A NaN in the slice makes its first value NaN, and the
//   others of that slice may be anything.
// errors: none.
// source: Fan et al. 2018, arXiv:1805.04833 (top-k sampling).
struct TopKArgs {
  MatrixView y;
  int32_t* y_ids = nullptr;
  MatrixView x;
  const int32_t* x_ids = nullptr;  // nullptr: the column is the id
  int64_t k = 1;
  int64_t slice_cols = 0;
  int64_t n_slices() const { return (x.n_cols + slice_cols - 1) / slice_cols; }
  int64_t rows() const { return x.n_rows * n_slices(); }
};

// shapes: y [n_tokens, n_heads * head_dim]; x [n_tokens, (n_heads + 2 n_kv_heads) * head_dim]: of each token q, k and v;
//   q_norm, k_norm [head_dim]; table [n_tokens, n_rot]; tokens [n_tokens]. Work unit: a token.
// layout: f32 row-major; dimensions >= n_rot of a head are not rotated; the cache as KvView says.
// align: 4 bytes; 64 for pages.
// alias: none.
// numerics: heads of q and k normalised as kRmsNorm does it, where there are weights for them: errors e of relative
//   (head_dim + 8) 2^-24; rotated as kRope does it: |err| <= |c| e_a + |s| e_b + 2^-22 (|a| + |b|), y; k and v stored as
//   kKvStore does it, with that much more.
// errors: none.
// source: as kRmsNorm, kRope and kKvStore; norms of heads: Dehghani et al. 2023, arXiv:2302.05442, section 2.
struct QkvStoreArgs {
  MatrixView y;  // q
  MatrixView x;
  const float* q_norm = nullptr;  // nullptr: not normalised
  const float* k_norm = nullptr;
  float norm_eps = 0.0f;
  MatrixView table;  // of angles, as kRope reads it
  bool is_neox = false;
  int64_t n_heads = 0;
  KvView kv;
  const TokenSlot* tokens = nullptr;
  int64_t rows() const { return x.n_rows; }
};

// shapes: y, x, residual [n_tokens, n_cols]; weight [n_cols]. Work unit: a token.
// layout: row-major f32.
// align: 4 bytes.
// alias: y may be x or residual.
// numerics: y = residual + x / sqrt(mean(x^2) + eps) * weight; |err| <= (n_cols + 8) 2^-24 |y - residual| + 2^-24 |y|
//   while sum x^2 is finite in f32.
// errors: none.
// source: as kRmsNorm.
struct RmsNormAddArgs {
  MatrixView y;
  MatrixView x;
  MatrixView residual;
  const float* weight = nullptr;  // nullptr: no multiplication
  float eps = 0.0f;
  int64_t rows() const { return x.n_rows; }
};

}  // namespace olx::kernels
