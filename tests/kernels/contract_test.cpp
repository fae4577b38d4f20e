// Every row of the registry that this machine can run keeps the contract of its op. A new row is tested by existing. Rows that
// have no function run on their device. OLLAMAX_TEST_BACKEND: those of one backend alone; OLLAMAX_TEST_BRIEF: a few cases of each.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gguf/dtype.h"
#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

namespace olx::kernels::contract {
namespace {

const KernelRegistry& registry() { return KernelRegistry::instance(); }

const char* wanted_backend() { return std::getenv("OLLAMAX_TEST_BACKEND"); }
bool is_wanted(const KernelRow& row) { return wanted_backend() == nullptr || std::string(wanted_backend()) == row.backend; }

// This machine's device of a backend; nullptr where it cannot be opened.
Device* device_of(const std::string& backend) {
  static auto& known = *new std::map<std::string, std::unique_ptr<Device>>;  // stays: at the exit a driver may have gone already
  const auto [entry, is_new] = known.try_emplace(backend);
  if (!is_new) return entry->second.get();
  try {
    entry->second = find_backend(backend)->open({.n_threads = 1});
  } catch (const DeviceError& error) {
    std::printf("skipped: rows of %s: %s\n", backend.c_str(), error.what());
  }
  return entry->second.get();
}

Features missing_of(const KernelRow& row) { return row.features & ~device_of(row.backend)->info().features; }
bool can_run(const KernelRow& row) { return device_of(row.backend) != nullptr && missing_of(row) == 0; }

CaseContext context_of(const KernelRow& row, bool is_brief) {
  Device* device = device_of(row.backend);
  CaseContext context{test_seed(), is_brief, registry().rows(), device->info().features};
  if (row.run == nullptr) context.device = device;
  return context;
}

// Where it takes long and is not what is looked for: kernels of GPUs under sanitizers, and on a driver of the tests.
bool is_brief(const KernelRow& row) {
  const std::string backend = row.backend;
  return std::getenv("OLLAMAX_TEST_BRIEF") != nullptr || (tests::kHasSanitizers && backend.starts_with("host_simt"));
}

void check_op(Op op) {
  size_t n_rows = 0, n_skipped = 0;
  for (const KernelRow& row : registry().rows()) {
    if (row.op != op || !is_wanted(row)) continue;
    if (!can_run(row)) {
      ++n_skipped;
      if (device_of(row.backend) == nullptr) continue;  // said already
      std::printf("skipped: %s: this machine lacks feature bits 0x%llx\n", describe(row).c_str(), static_cast<unsigned long long>(missing_of(row)));
      continue;
    }
    ++n_rows;
    const std::vector<std::string> failures = check_row(row, context_of(row, is_brief(row)));
    for (const std::string& failure : failures) UNSCOPED_INFO(failure);
    CHECK(failures.empty());
  }
  std::printf("%s: %zu rows checked, %zu skipped\n", std::string(op_name(op)).c_str(), n_rows, n_skipped);
  if (wanted_backend() != nullptr) {  // a backend that is asked for has to be there, unless it was not compiled in
    if (find_backend(wanted_backend())->unavailable_reason == nullptr) CHECK(n_rows > 0);
    return;
  }
  // Where every matmul takes f32 activations there is nothing to quantize.
  if (op != Op::kQuantize) CHECK(n_rows + n_skipped > 0);
}

// Tokens made one at a time, or those of prompts, which a kernel may multiply in another way.
enum class Origin { kMade, kPrompt };

// y of the first n_tokens rows of x.
std::vector<float> product_of(const KernelRow& row, const WeightView& w, const MatrixView& x, int64_t n_tokens, Origin origin,
                              const CaseContext& context) {
  Memory memory;
  std::byte* encoded = memory.add(static_cast<size_t>(row.activation->size_bytes(n_tokens, x.n_cols)));
  MatrixView tokens = x;
  tokens.n_rows = n_tokens;
  QuantizeArgs quantize{{encoded, row.activation, n_tokens, x.n_cols, 0, origin == Origin::kPrompt ? n_tokens : 0}, tokens};
  run_row(quantize_row_for(row, context.rows, context.features), &quantize, {0, n_tokens}, context);
  MatmulArgs matmul;
  matmul.w = w;
  matmul.x = quantize.y;
  matmul.y = memory.add_matrix(n_tokens, w.n_rows, 0, true);
  run_row(row, &matmul, {0, w.n_rows}, context);
  return read_matrix(matmul.y);
}

// How many tokens' y are not, bit for bit, what the token has alone.
int64_t n_changed_by_company(const KernelRow& row, const std::vector<int64_t>& counts, Origin origin, const CaseContext& context) {
  // Odd at every end: rows of a panel, columns of a chunk where the type allows it; more columns than a kernel takes at once.
  const int64_t n_rows = 2 * row.layout->row_multiple + 3, n_cols = 17 * 256 + (gguf::dtype_info(row.dtype).block_elems > 32 ? 0 : 96);
  Rng rng(context.seed, describe(row) + " in company");
  const std::vector<std::byte> native = random_weights(row.dtype, n_rows, n_cols, Values::kRandom, rng);
  Memory memory;
  std::byte* packed = memory.add(static_cast<size_t>(row.layout->size_bytes(row.dtype, n_rows, n_cols)));
  row.layout->pack(row.dtype, n_rows, n_cols, native.data(), packed, {0, n_rows});
  const WeightView w{packed, row.dtype, row.layout, n_rows, n_cols};
  const MatrixView x = memory.add_matrix(*std::max_element(counts.begin(), counts.end()), n_cols, 0, true);
  fill(x, Values::kOutliers, 1, rng);
  std::vector<std::vector<float>> alone;
  for (int64_t token = 0; token < x.n_rows; ++token) {
    MatrixView one = x;
    one.data = x.row(token);
    alone.push_back(product_of(row, w, one, 1, origin, context));
  }
  int64_t n_changed = 0;
  for (const int64_t n_tokens : counts) {
    const std::vector<float> y = product_of(row, w, x, n_tokens, origin, context);
    for (int64_t token = 0; token < n_tokens; ++token)
      n_changed += std::memcmp(y.data() + token * n_rows, alone[static_cast<size_t>(token)].data(), static_cast<size_t>(n_rows) * sizeof(float)) != 0;
  }
  return n_changed;
}

}  // namespace

TEST_CASE("Contract_Embed", "[T-102]") { check_op(Op::kEmbed); }
TEST_CASE("Contract_Quantize", "[T-102]") { check_op(Op::kQuantize); }
TEST_CASE("Contract_Matmul", "[T-102]") { check_op(Op::kMatmul); }
TEST_CASE("Contract_RmsNorm", "[T-102]") { check_op(Op::kRmsNorm); }
TEST_CASE("Contract_RopeTable") { check_op(Op::kRopeTable); }
TEST_CASE("Contract_Rope", "[T-102]") { check_op(Op::kRope); }
TEST_CASE("Contract_KvStore", "[T-102]") { check_op(Op::kKvStore); }
TEST_CASE("Contract_Attention", "[T-102]") { check_op(Op::kAttention); }
TEST_CASE("Contract_GatedActivation", "[T-102]") { check_op(Op::kGatedActivation); }
TEST_CASE("Contract_Add") { check_op(Op::kAdd); }
TEST_CASE("Contract_Scale") { check_op(Op::kScale); }
TEST_CASE("Contract_Softcap") { check_op(Op::kSoftcap); }
TEST_CASE("Contract_Softmax") { check_op(Op::kSoftmax); }
TEST_CASE("Contract_GatedMatmul", "[T-102]") { check_op(Op::kGatedMatmul); }
TEST_CASE("Contract_QkvMatmul", "[T-102]") { check_op(Op::kQkvMatmul); }
TEST_CASE("Contract_TopK", "[T-102]") { check_op(Op::kTopK); }
TEST_CASE("Contract_QkvStore", "[T-102]") { check_op(Op::kQkvStore); }
TEST_CASE("Contract_RmsNormAdd", "[T-102]") { check_op(Op::kRmsNormAdd); }

// On the CPU: a text must not depend on who else generates, nor on how much of it was guessed right, nor on how its prompt was cut.
TEST_CASE("Contract_MatmulGivesATokenTheSameBitsInAnyCompany", "[T-107]") {
  const std::vector<int64_t> counts = tests::kHasSanitizers ? std::vector<int64_t>{3, 9, 18} : std::vector<int64_t>{2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 21, 35};
  // AMX: one tile of tokens, two, few rows at a time, all rows at a time.
  const std::vector<int64_t> prompts = tests::kHasSanitizers ? std::vector<int64_t>{9, 18, 33} : std::vector<int64_t>{2, 16, 17, 32, 33, 130};
  size_t n_rows = 0, n_skipped = 0;
  for (const KernelRow& row : registry().rows()) {
    if (row.op != Op::kMatmul || row.layout == nullptr || is_rows(*row.activation) || std::string_view(row.backend) != "cpu") continue;
    if (!is_wanted(row) || !can_run(row)) {
      ++n_skipped;
      continue;
    }
    INFO(describe(row));
    CHECK(n_changed_by_company(row, counts, Origin::kMade, context_of(row, true)) == 0);
    CHECK(n_changed_by_company(row, prompts, Origin::kPrompt, context_of(row, true)) == 0);
    ++n_rows;
  }
  std::printf("%zu rows checked, %zu skipped\n", n_rows, n_skipped);
  CHECK(n_rows + n_skipped > 0);
}

TEST_CASE("Contract_AllRowsOfAnOpAndTypeAgreePairwise") {
  const std::span<const KernelRow> rows = registry().rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = i + 1; j < rows.size(); ++j) {
      if (rows[i].op != rows[j].op || rows[i].dtype != rows[j].dtype) continue;
      if (rows[i].op == Op::kQuantize && rows[i].activation != rows[j].activation) continue;
      if (!is_wanted(rows[i]) || !is_wanted(rows[j]) || !can_run(rows[i]) || !can_run(rows[j])) continue;
      if (rows[i].run == nullptr || rows[j].run == nullptr) continue;  // each has memory of its own device
      // The reference has no features of its own: the other row's device quantizes for it.
      CaseContext context = context_of(rows[i], true);
      context.features |= context_of(rows[j], true).features;
      const std::vector<std::string> failures = check_pair(rows[i], rows[j], context);
      for (const std::string& failure : failures) UNSCOPED_INFO(failure);
      CHECK(failures.empty());
    }
  }
}

}  // namespace olx::kernels::contract
