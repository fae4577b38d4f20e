// The contract tests themselves are tested: every row of broken_kernels.inc is refused, every sound twin is accepted.

#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/rows.h"
#include "tests/kernels/broken_formats.h"
#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"

namespace olx::kernels::broken {
namespace {
constexpr const char* kBackendName = "reference";
}

#define OLX_KERNEL OLX_DECLARE_KERNEL
#include "tests/kernels/broken_kernels.inc"
#include "tests/kernels/sound_kernels.inc"
#undef OLX_KERNEL

namespace {
#define OLX_KERNEL OLX_KERNEL_ROW
constexpr std::initializer_list<KernelRow> kBroken = {
#include "tests/kernels/broken_kernels.inc"
};
constexpr std::initializer_list<KernelRow> kSound = {
#include "tests/kernels/sound_kernels.inc"
};
#undef OLX_KERNEL

std::vector<std::string> failures_of(const KernelRow& row) {
  // A sound kQuantize row is at hand for those that need one.
  return contract::check_row(row, {contract::test_seed(), false, {kSound.begin(), kSound.size()}, kFeatureNone, false});
}
}  // namespace

TEST_CASE("BrokenKernels_AreRefusedRowByRow", "[T-104]") {
  CHECK(kBroken.size() >= 15);
  for (const KernelRow& row : kBroken) {
    const std::vector<std::string> failures = failures_of(row);
    if (!failures.empty()) std::printf("refused: %s\n", failures.front().c_str());
    INFO(row.name);
    CHECK(!failures.empty());
  }
}

// A mean over all elements would not show it: the judge looks at each.
TEST_CASE("BrokenKernels_OneWrongElementAmongAMillionIsFound", "[T-105]") {
  int n_rows = 0;
  for (const KernelRow& row : kBroken) {
    if (!std::string_view(row.name).ends_with("_gets_one_of_a_million_wrong")) continue;
    ++n_rows;
    const std::vector<std::string> failures = failures_of(row);
    INFO(row.name);
    REQUIRE(failures.size() == 1);
    INFO(failures[0]);
    const size_t at = failures[0].find(": 1 of ");
    REQUIRE(at != std::string::npos);
    CHECK(std::stol(failures[0].substr(at + 7)) >= 1'000'000);
    CHECK(failures[0].find(" elements wrong, worst [") != std::string::npos);
  }
  CHECK(n_rows == 2);
}

TEST_CASE("BrokenKernels_HaveSoundTwinsThatAreAccepted") {
  for (const KernelRow& row : kSound) {
    const std::vector<std::string> failures = failures_of(row);
    for (const std::string& failure : failures) UNSCOPED_INFO(failure);
    CHECK(failures.empty());
  }
}

}  // namespace olx::kernels::broken
