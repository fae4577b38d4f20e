// Every row of the registry that this machine can run keeps the contract of its op. A new row is tested by existing.

#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

namespace olx::kernels::contract {
namespace {

const KernelRegistry& registry() { return KernelRegistry::instance(); }

// What this machine's device of a backend offers; nothing where it cannot be opened.
std::optional<Features> features_of(const std::string& backend) {
  static std::map<std::string, std::optional<Features>> known;
  const auto [entry, is_new] = known.try_emplace(backend);
  if (!is_new) return entry->second;
  try {
    entry->second = find_backend(backend)->open({.n_threads = 1})->info().features;
  } catch (const DeviceError& error) {
    std::printf("skipped: rows of %s: %s\n", backend.c_str(), error.what());
  }
  return entry->second;
}

bool can_run(const KernelRow& row) {
  const std::optional<Features> features = features_of(row.backend);
  return features && (row.features & ~*features) == 0 && row.run != nullptr;
}

CaseContext context_of(const KernelRow& row, bool is_brief) {
  return {test_seed(), is_brief, registry().rows(), features_of(row.backend).value_or(0)};
}

bool is_brief(const KernelRow& row) { return tests::kHasSanitizers && std::string(row.backend).starts_with("host_simt"); }

void check_op(Op op) {
  size_t n_rows = 0, n_skipped = 0;
  for (const KernelRow& row : registry().rows()) {
    if (row.op != op) continue;
    if (!can_run(row)) {
      ++n_skipped;
      if (!features_of(row.backend)) continue;  // said already
      if (row.run == nullptr) continue;         // on its device: gpu_device_test, and the same kernel on host_simt
      std::printf("skipped: %s: this machine lacks feature bits 0x%llx\n", describe(row).c_str(),
                  static_cast<unsigned long long>(row.features & ~features_of(row.backend).value_or(0)));
      continue;
    }
    ++n_rows;
    const std::vector<std::string> failures = check_row(row, context_of(row, is_brief(row)));
    for (const std::string& failure : failures) UNSCOPED_INFO(failure);
    CHECK(failures.empty());
  }
  std::printf("%s: %zu rows checked, %zu skipped\n", std::string(op_name(op)).c_str(), n_rows, n_skipped);
  // Where every matmul takes f32 activations there is nothing to quantize.
  if (op != Op::kQuantize) CHECK(n_rows + n_skipped > 0);
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

TEST_CASE("Contract_AllRowsOfAnOpAndTypeAgreePairwise") {
  const std::span<const KernelRow> rows = registry().rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = i + 1; j < rows.size(); ++j) {
      if (rows[i].op != rows[j].op || rows[i].dtype != rows[j].dtype) continue;
      if (rows[i].op == Op::kQuantize && rows[i].activation != rows[j].activation) continue;
      if (!can_run(rows[i]) || !can_run(rows[j])) continue;
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
