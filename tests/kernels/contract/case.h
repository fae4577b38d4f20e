#pragma once
// One set of arguments for one kernel row, with all the memory they name, what must come out, and how to read it.
// Cases depend on the op, the dtype and the formats of a row, not on its name: rows of one (op, dtype) get the same.

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/reference/oracle.h"
#include "tests/kernels/contract/memory.h"
#include "tests/kernels/contract/rng.h"

namespace olx::kernels::contract {

using AnyArgs = std::variant<EmbedArgs, QuantizeArgs, MatmulArgs, RmsNormArgs, RopeTableArgs, RopeArgs, KvStoreArgs,
                             AttentionArgs, GatedActivationArgs, AddArgs, ScaleArgs, SoftcapArgs, SoftmaxArgs, GatedMatmulArgs,
                             QkvMatmulArgs, TopKArgs, QkvStoreArgs, RmsNormAddArgs>;

// Where the cases of a row come from: what else exists on this machine, and how thorough to be.
struct CaseContext {
  uint64_t seed = 0;
  bool is_brief = false;                  // a few cases, for pairwise comparison
  std::span<const KernelRow> rows;        // among them the kQuantize row of a matmul's format
  Features features = 0;
  bool guards_canaries = true;            // under AddressSanitizer; off for kernels that are known to be broken
  Device* device = nullptr;               // which a row that has no function runs on, in memory of which the cases are
};

// The units of a row that has a function, or all of them on the context's device. `args` of the row's op.
void run_row(const KernelRow& row, void* args, RowRange range, const CaseContext& context);

struct Case {
  explicit Case(const CaseContext& context) : memory(context.device) {}

  std::string name;
  Memory memory;
  AnyArgs args;
  int64_t split_multiple = 1;      // RowRanges start at multiples of it
  reference::Expected expected;
  // The output as [expected.n_rows, expected.n_cols].
  std::function<std::vector<float>(const AnyArgs&)> read;

  void* args_pointer() {
    return std::visit([](auto& typed) { return static_cast<void*>(&typed); }, args);
  }
};

using CaseVisitor = std::function<bool(Case&)>;  // false: enough

// How the numbers of a case are drawn.
enum class Values { kRandom, kZero, kMaxCodes, kHuge, kOutliers };
const char* values_name(Values values);
// Numbers of one kind; `huge` is what kHuge multiplies with.
void fill(const MatrixView& matrix, Values values, float huge, Rng& rng);
// n_rows rows of valid blocks in file order: random codes under sane scales; kMaxCodes sets all code bits, or none.
std::vector<std::byte> random_weights(DType dtype, int64_t n_rows, int64_t n_cols, Values values, Rng& rng);
std::vector<float> read_matrix(const MatrixView& matrix);
// The kQuantize row that makes a matmul row's activations: of the same variant where there is one. Throws
// std::runtime_error when nothing makes the format.
const KernelRow& quantize_row_for(const KernelRow& row, std::span<const KernelRow> rows, Features features);

// The cases of a row, in a fixed order, until visit returns false. They skip what the row does not accept.
void each_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);

void each_embed_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_quantize_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_matmul_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_rms_norm_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_rope_table_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_rope_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_kv_store_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_attention_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_elementwise_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_softmax_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_gated_matmul_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_qkv_matmul_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_qkv_store_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_rms_norm_add_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);
void each_top_k_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit);

// What a qkv_matmul or qkv_store made, as evaluate() orders it: of each token y, then its rows of k and of v; without tokens y.
std::vector<float> read_qkv(const MatrixView& y, const KvView& kv, const TokenSlot* tokens);

// What a top_k made as numbers that a judge of numbers takes: values and ids as evaluate() orders
// them, NaN and -inf as numbers of their own.
std::vector<float> read_top_k(const TopKArgs& args);
double top_k_number(double value);

}  // namespace olx::kernels::contract
