// Every row of the registry that this machine can run keeps the contract of its op. A new row is tested by existing. Rows that
// have no function run on their device. OLLAMAX_TEST_BACKEND: those of one backend alone; OLLAMAX_TEST_BRIEF: a few cases of each.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

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
