// validate() refuses each broken condition of a contract with one line that names op, expected and got.

#include <functional>
#include <limits>
#include <vector>

#include "kernels/api/registry.h"
#include "tests/support/catch.h"

namespace olx::kernels {
namespace {

alignas(64) float memory[4096];
alignas(64) std::byte pages[4096];
int32_t ids[16];
TokenSlot tokens[16];

MatrixView matrix(int index, int64_t n_rows, int64_t n_cols) { return {memory + 512 * index, n_rows, n_cols, n_cols}; }

MatmulArgs good_matmul() {
  MatmulArgs args;
  args.y = matrix(0, 3, 4);
  args.x = {matrix(1, 3, 32).data, &kActivationF32, 3, 32, 32};
  args.w = {pages, DType::kQ4_0, nullptr, 4, 32};
  return args;
}

AttentionArgs good_attention() {
  AttentionArgs args;
  args.y = matrix(0, 2, 64);
  args.q = matrix(1, 2, 64);
  args.kv = {pages, pages, DType::kF16, 1, 32, 16, ids, 1};
  args.tokens = tokens;
  args.n_heads = 2;
  return args;
}

template <typename Args>
struct Breakage {
  const char* said;
  std::function<void(Args&)> breaks;
};

template <typename Args>
void check_refusals(Op op, const Args& good, const std::vector<Breakage<Args>>& breakages) {
  CHECK(validate(op, &good) == "");
  for (const Breakage<Args>& breakage : breakages) {
    Args args = good;
    breakage.breaks(args);
    const std::string text = validate(op, &args);
    CHECK_THAT(text, Catch::Contains(breakage.said) && Catch::StartsWith(std::string(op_name(op)) + ": expected ") &&
                         Catch::Contains(", got ") && !Catch::Contains("\n"));
  }
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("Validate_RefusesEachBrokenConditionOfMatmul") {
  check_refusals<MatmulArgs>(
      Op::kMatmul, good_matmul(),
      {{"y to be given", [](auto& a) { a.y.data = nullptr; }},
       {"w columns to be a multiple of 32", [](auto& a) { a.w.n_cols = 33; }},
       {"w columns to be a multiple of 256", [](auto& a) { a.w.dtype = DType::kQ4_K; }},
       {"a type that encodes weights", [](auto& a) { a.w.dtype = DType::kI32; }},
       {"w rows > 0", [](auto& a) { a.w.n_rows = 0; }},
       {"x columns = 64", [](auto& a) { a.w.n_cols = 64; }},
       {"y [3, 5]", [](auto& a) { a.w.n_rows = 5; }},
       {"y row stride >= 4", [](auto& a) { a.y.row_stride_elems = 3; }},
       {"x row stride >= 32", [](auto& a) { a.x.row_stride_elems = 31; }},
       {"x tokens > 0", [](auto& a) { a.x.n_tokens = -1; }},
       {"aligned to 4 bytes", [](auto& a) { a.y.data = reinterpret_cast<float*>(reinterpret_cast<char*>(memory) + 1); }},
       {"64 bits count", [](auto& a) { a.w.n_rows = INT64_MAX / 4; }},
       {"y and x not to overlap", [](auto& a) { a.y.data = memory + 512; }},
       {"y and residual not to overlap", [](auto& a) { a.residual = a.y.data + 1; }},
       {"y and bias not to overlap", [](auto& a) { a.bias = a.y.data; }}});
}

TEST_CASE("Validate_RefusesEachBrokenConditionOfAttentionAndItsCache") {
  check_refusals<AttentionArgs>(
      Op::kAttention, good_attention(),
      {{"n_heads to be a multiple of 3", [](auto& a) { a.kv.n_kv_heads = 3; }},
       {"q columns = 96", [](auto& a) { a.n_heads = 3; }},
       {"a cache of F32, F16 or Q8_0", [](auto& a) { a.kv.dtype = DType::kQ4_0; }},
       {"head_dim to be a multiple of 32",
        [](auto& a) { a.kv.dtype = DType::kQ8_0, a.kv.head_dim = 33; }},
       {"page_tokens > 0", [](auto& a) { a.kv.page_tokens = 0; }},
       {"a finite scale", [](auto& a) { a.scale = kNan; }},
       {"softcap >= 0", [](auto& a) { a.softcap = -1; }},
       {"sliding_window >= 0", [](auto& a) { a.sliding_window = -1; }},
       {"n_splits > 0", [](auto& a) { a.n_splits = 0; }},
       {"scratch to be given", [](auto& a) { a.n_splits = 2; }},
       {"scratch aligned to 64", [](auto& a) { a.n_splits = 2, a.scratch = a.y.data + 1; }},
       {"at most 64 tokens",
        [](auto& a) {
          a.n_splits = 2, a.scratch = reinterpret_cast<float*>(pages), a.y.n_rows = a.q.n_rows = 65;
        }},
       {"tokens to be given", [](auto& a) { a.tokens = nullptr; }},
       {"k pages aligned to 64", [](auto& a) { a.kv.k = pages + 4; }},
       {"y and q not to overlap", [](auto& a) { a.y.data = a.q.data; }}});
  KvStoreArgs store;
  store.kv = good_attention().kv;
  store.k = matrix(0, 2, 32);
  store.v = matrix(1, 2, 32);
  store.tokens = tokens;
  check_refusals<KvStoreArgs>(Op::kKvStore, store,
                              {{"k columns = 32", [](auto& a) { a.k.n_cols = 16; }},
                               {"v [2, 32]", [](auto& a) { a.v.n_rows = 1; }},
                               {"block table to be given", [](auto& a) { a.kv.block_table = nullptr; }}});
}

TEST_CASE("Validate_RefusesEachBrokenConditionOfRope") {
  RopeTableArgs table;
  table.table = matrix(0, 2, 16);
  table.tokens = tokens;
  table.config.n_rot = 16;
  check_refusals<RopeTableArgs>(Op::kRopeTable, table,
                                {{"n_rot > 0", [](auto& a) { a.config.n_rot = 0; }},
                                 {"n_rot to be a multiple of 2", [](auto& a) { a.config.n_rot = 15; }},
                                 {"table columns = 18", [](auto& a) { a.config.n_rot = 18; }},
                                 {"freq_base > 0", [](auto& a) { a.config.freq_base = 0; }},
                                 {"freq_scale > 0", [](auto& a) { a.config.freq_scale = kNan; }},
                                 {"n_ctx_orig", [](auto& a) { a.config.ext_factor = 1; }}});
  RopeArgs rope{matrix(0, 2, 64), matrix(1, 2, 16), 2, 32, false};
  check_refusals<RopeArgs>(Op::kRope, rope,
                           {{"x columns = 128", [](auto& a) { a.n_heads = 4; }},
                            {"table rows = 2", [](auto& a) { a.table.n_rows = 3; }},
                            {"n_rot <= head_dim", [](auto& a) { a.n_heads = 8, a.head_dim = 8; }},
                            {"n_rot to be a multiple of 2", [](auto& a) { a.table.n_cols = 15; }}});
}

TEST_CASE("Validate_RefusesEachBrokenConditionOfRowwiseOps") {
  EmbedArgs embed{matrix(0, 2, 32), {pages, DType::kQ8_0, nullptr, 4, 32}, ids, 1.0f};
  check_refusals<EmbedArgs>(Op::kEmbed, embed,
                            {{"y columns = 32", [](auto& a) { a.y.n_cols = 16; }},
                             {"a finite scale", [](auto& a) { a.scale = kNan; }},
                             {"ids to be given", [](auto& a) { a.ids = nullptr; }}});
  RmsNormArgs norm{matrix(0, 2, 32), matrix(1, 2, 32), nullptr, 16, 1e-5f};
  check_refusals<RmsNormArgs>(Op::kRmsNorm, norm,
                              {{"x columns to be a multiple of 5", [](auto& a) { a.group_cols = 5; }},
                               {"group_cols > 0", [](auto& a) { a.group_cols = 0; }},
                               {"eps >= 0", [](auto& a) { a.eps = -1; }},
                               {"y and x not to overlap", [](auto& a) { a.y.data = a.x.data + 4; }}});
  AddArgs add{matrix(0, 2, 8), matrix(1, 2, 8), matrix(2, 2, 8)};
  check_refusals<AddArgs>(Op::kAdd, add,
                          {{"b [2, 8]", [](auto& a) { a.b.n_rows = 1; }},
                           {"a row stride >= 8", [](auto& a) { a.a.row_stride_elems = 0; }}});
  add.b.row_stride_elems = 0;
  CHECK(validate(Op::kAdd, &add) == "");
  SoftcapArgs softcap{matrix(0, 2, 8), matrix(1, 2, 8), 30};
  check_refusals<SoftcapArgs>(Op::kSoftcap, softcap, {{"cap > 0", [](auto& a) { a.cap = 0; }}});
  ScaleArgs scale{matrix(0, 2, 8), matrix(1, 2, 8), 2};
  check_refusals<ScaleArgs>(Op::kScale, scale, {{"a finite scale", [](auto& a) { a.scale = kNan; }}});
  SoftmaxArgs softmax{matrix(0, 2, 8), matrix(1, 2, 8)};
  check_refusals<SoftmaxArgs>(Op::kSoftmax, softmax, {{"y [2, 8]", [](auto& a) { a.y.n_cols = 7; }}});
  GatedActivationArgs gated{matrix(0, 2, 8), matrix(1, 2, 8), matrix(2, 2, 8), Activation::kSilu};
  check_refusals<GatedActivationArgs>(
      Op::kGatedActivation, gated,
      {{"up [2, 8]", [](auto& a) { a.up.n_cols = 4; }},
       {"a known activation", [](auto& a) { a.activation = static_cast<Activation>(9); }}});
}

TEST_CASE("Validate_RefusesEachBrokenConditionOfMatmulsWithWhatIsAroundThem") {
  const WeightView weights{pages, DType::kQ4_0, nullptr, 4, 32};
  GatedMatmulArgs gated;
  gated.y = matrix(0, 3, 4);
  gated.x = {matrix(1, 3, 32).data, &kActivationF32, 3, 32, 32};
  gated.gate = gated.up = weights;
  check_refusals<GatedMatmulArgs>(
      Op::kGatedMatmul, gated,
      {{"y [3, 4]", [](auto& a) { a.y.n_cols = 3; }},
       {"up rows = 4", [](auto& a) { a.up.n_rows = 3; }},
       {"gate columns = 32", [](auto& a) { a.gate.n_cols = 64; }},
       {"up of the type of gate", [](auto& a) { a.up.dtype = DType::kQ8_0; }},
       {"norm_eps >= 0", [](auto& a) { a.norm_eps = -1; }},
       {"a known activation", [](auto& a) { a.activation = static_cast<Activation>(9); }},
       {"y and x not to overlap", [](auto& a) { a.y.data = memory + 512; }}});
  QkvMatmulArgs qkv;
  qkv.y = matrix(0, 2, 4);
  qkv.x = {matrix(1, 2, 32).data, &kActivationF32, 2, 32, 32};
  qkv.q = weights;
  qkv.k = qkv.v = {pages, DType::kQ4_0, nullptr, 2, 32};
  qkv.table = matrix(2, 2, 2);
  qkv.n_heads = 2;
  qkv.kv = {pages, pages, DType::kF16, 1, 2, 16, ids, 1};
  qkv.tokens = tokens;
  check_refusals<QkvMatmulArgs>(
      Op::kQkvMatmul, qkv,
      {{"q rows = 6", [](auto& a) { a.n_heads = 3; }},
       {"v rows = 2", [](auto& a) { a.v.n_rows = 4; }},
       {"k columns = 32", [](auto& a) { a.k.n_cols = 64; }},
       {"table rows = 2", [](auto& a) { a.table.n_rows = 1; }},
       {"n_rot <= head_dim", [](auto& a) { a.table.n_cols = a.table.row_stride_elems = 4; }},
       {"tokens to be given", [](auto& a) { a.tokens = nullptr; }},
       {"y [2, 4]", [](auto& a) { a.y.n_rows = 1; }},
       {"y [2, 8]", [](auto& a) { a.table = {}; }},
       {"a cache of F32 or F16", [](auto& a) {
          a.kv.dtype = DType::kQ8_0;
          a.kv.head_dim = 32;
          a.n_heads = 1;
          a.q.n_rows = a.k.n_rows = a.v.n_rows = a.y.n_cols = a.y.row_stride_elems = 32;
        }}});
  qkv.table = {};
  qkv.tokens = nullptr;
  qkv.kv = {.n_kv_heads = 1, .head_dim = 2};
  qkv.y = matrix(0, 2, 8);
  check_refusals<QkvMatmulArgs>(
      Op::kQkvMatmul, qkv,
      {{"y [2, 8]", [](auto& a) { a.y.n_cols = 4; }}, {"n_kv_heads > 0", [](auto& a) { a.kv.n_kv_heads = 0; }}});
  QkvStoreArgs store;
  store.y = matrix(0, 2, 4);
  store.x = matrix(1, 2, 8);
  store.table = matrix(2, 2, 2);
  store.n_heads = 2;
  store.kv = {pages, pages, DType::kF16, 1, 2, 16, ids, 1};
  store.tokens = tokens;
  check_refusals<QkvStoreArgs>(
      Op::kQkvStore, store,
      {{"x columns = 10", [](auto& a) { a.n_heads = 3; }},
       {"y [2, 4]", [](auto& a) { a.y.n_rows = 1; }},
       {"table rows = 2", [](auto& a) { a.table.n_rows = 1; }},
       {"n_rot <= head_dim", [](auto& a) { a.table.n_cols = a.table.row_stride_elems = 4; }},
       {"norm_eps >= 0", [](auto& a) { a.norm_eps = -1; }},
       {"k pages to be given", [](auto& a) { a.kv.k = nullptr; }},
       {"tokens to be given", [](auto& a) { a.tokens = nullptr; }},
       {"y and x not to overlap", [](auto& a) { a.y.data = a.x.data; }}});
  RmsNormAddArgs norm{matrix(0, 2, 8), matrix(1, 2, 8), matrix(2, 2, 8), nullptr, 1e-5f};
  check_refusals<RmsNormAddArgs>(
      Op::kRmsNormAdd, norm,
      {{"residual [2, 8]", [](auto& a) { a.residual.n_cols = 4; }},
       {"eps >= 0", [](auto& a) { a.eps = -1; }},
       {"y and x not to overlap", [](auto& a) { a.y.data = a.x.data + 4; }},
       {"y and residual not to overlap", [](auto& a) { a.y.data = a.residual.data + 4; }}});
}

TEST_CASE("Validate_RefusesEachBrokenConditionOfTopK") {
  TopKArgs top{matrix(0, 2, 6), ids, matrix(1, 2, 20), nullptr, 3, 16};
  check_refusals<TopKArgs>(Op::kTopK, top,
                           {{"1 <= k <= 128", [](auto& a) { a.k = 0; }},
                            {"1 <= k <= 128", [](auto& a) { a.k = 129; }},
                            {"y [2, 12]", [](auto& a) { a.slice_cols = 5; }},
                            {"slice_cols > 0", [](auto& a) { a.slice_cols = 0; }},
                            {"y_ids to be given", [](auto& a) { a.y_ids = nullptr; }},
                            {"y and x not to overlap", [](auto& a) { a.y.data = a.x.data; }}});
}

}  // namespace olx::kernels
