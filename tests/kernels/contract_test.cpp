// Every row of the registry that this machine can run keeps the contract of its op. A new row is tested by existing.

#include <cstdio>
#include <string>

#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"

namespace olx::kernels::contract {
namespace {

const KernelRegistry& registry() { return KernelRegistry::instance(); }

// What the devices of this machine offer to a row; false where the row's device cannot be opened.
bool can_run(const KernelRow& row, Features& features) {
  try {
    features = find_backend(row.backend)->open({})->info().features;
  } catch (const DeviceError& error) {
    std::printf("skipped: %s: %s\n", describe(row).c_str(), error.what());
    return false;
  }
  const Features missing = row.features & ~features;
  if (missing != 0)
    std::printf("skipped: %s: this machine lacks feature bits 0x%llx\n", describe(row).c_str(),
                static_cast<unsigned long long>(missing));
  return missing == 0;
}

CaseContext context_of(Features features, bool is_brief) {
  return {test_seed(), is_brief, registry().rows(), features};
}

void check_op(Op op) {
  size_t n_rows = 0;
  for (const KernelRow& row : registry().rows()) {
    Features features = 0;
    if (row.op != op || !can_run(row, features)) continue;
    ++n_rows;
    const std::vector<std::string> failures = check_row(row, context_of(features, false));
    for (const std::string& failure : failures) UNSCOPED_INFO(failure);
    CHECK(failures.empty());
  }
  if (n_rows == 0) std::printf("skipped: no %s row can run here\n", std::string(op_name(op)).c_str());
}

}  // namespace

TEST_CASE("Contract_Embed") { check_op(Op::kEmbed); }
TEST_CASE("Contract_Quantize") { check_op(Op::kQuantize); }
TEST_CASE("Contract_Matmul") { check_op(Op::kMatmul); }
TEST_CASE("Contract_RmsNorm") { check_op(Op::kRmsNorm); }
TEST_CASE("Contract_RopeTable") { check_op(Op::kRopeTable); }
TEST_CASE("Contract_Rope") { check_op(Op::kRope); }
TEST_CASE("Contract_KvStore") { check_op(Op::kKvStore); }
TEST_CASE("Contract_Attention") { check_op(Op::kAttention); }
TEST_CASE("Contract_GatedActivation") { check_op(Op::kGatedActivation); }
TEST_CASE("Contract_Add") { check_op(Op::kAdd); }
TEST_CASE("Contract_Scale") { check_op(Op::kScale); }
TEST_CASE("Contract_Softcap") { check_op(Op::kSoftcap); }
TEST_CASE("Contract_Softmax") { check_op(Op::kSoftmax); }

TEST_CASE("Contract_AllRowsOfAnOpAndTypeAgreePairwise") {
  const std::span<const KernelRow> rows = registry().rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = i + 1; j < rows.size(); ++j) {
      Features features = 0, other_features = 0;
      if (rows[i].op != rows[j].op || rows[i].dtype != rows[j].dtype) continue;
      if (rows[i].op == Op::kQuantize && rows[i].activation != rows[j].activation) continue;
      if (!can_run(rows[i], features) || !can_run(rows[j], other_features)) continue;
      const std::vector<std::string> failures =
          check_pair(rows[i], rows[j], context_of(features | other_features, true));
      for (const std::string& failure : failures) UNSCOPED_INFO(failure);
      CHECK(failures.empty());
    }
  }
}

}  // namespace olx::kernels::contract
