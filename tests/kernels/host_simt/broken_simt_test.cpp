// The contract tests refuse kernels for GPUs that are wrong, also where a device would give the
// right numbers or only one wave size does.

#include "tests/kernels/host_simt/broken_simt.h"

#include <cstdio>
#include <initializer_list>
#include <string_view>

#include "kernels/host_simt/rows.h"
#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"

namespace olx::kernels::host_simt {
namespace {

template <int kWave>
void check_rows() {
  using namespace simt;  // where the kernels are that the lines name
#define OLX_SIMT_KERNEL(op, dtype, variant, activation, rank, accepts, name, ...)             \
  table_row<kWave>(Op::k##op, #name, #variant, DType::k##dtype, activation, rank,             \
                   erase_accepts<op##Args, accepts>(), [](const void* args, RowRange range) { \
                     launch<__VA_ARGS__, kWave>(#name, *static_cast<const op##Args*>(args),   \
                                                range);                                       \
                   }),
  const std::initializer_list<KernelRow> rows = {
#include "tests/kernels/host_simt/broken_simt.inc"
  };
#undef OLX_SIMT_KERNEL
  for (const KernelRow& row : rows) {
    const std::string_view variant = row.variant;
    const bool is_sound = variant == "sound" || variant == (kWave == 32 ? "wave32" : "wave64");
    const std::vector<std::string> failures = contract::check_row(
        row, {contract::test_seed(), false, KernelRegistry::instance().rows(), kFeatureNone, true});
    if (!failures.empty())
      std::printf("refused in waves of %d: %s\n", kWave, failures.front().c_str());
    INFO(row.name << " in waves of " << kWave << (failures.empty() ? "" : ": " + failures.front()));
    CHECK(failures.empty() == is_sound);
  }
}

}  // namespace

TEST_CASE("BrokenSimtKernels_AreRefusedInWavesOf32") { check_rows<32>(); }
TEST_CASE("BrokenSimtKernels_AreRefusedInWavesOf64") { check_rows<64>(); }

}  // namespace olx::kernels::host_simt
