// The table of kernels: which row a plan takes, overrides by name, plugins.

#include "kernels/api/registry.h"

#include <cstdlib>
#include <set>
#include <stdexcept>

#include "kernels/api/plugin.h"
#include "kernels/plugin_loader.h"
#include "tests/support/catch.h"

namespace olx::kernels {
namespace {

const KernelRegistry& registry() { return KernelRegistry::instance(); }

DeviceInfo device(const char* backend, Features features) { return {.backend = backend, .features = features}; }

// Restores the default choice when a test ends.
struct NoOverrides {
  ~NoOverrides() { set_kernel_overrides(""); }
};

std::string refusal_of(const std::string& spec) {
  try {
    set_kernel_overrides(spec);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Registry_EveryRowIsWholeAndNamedOnce") {
  std::set<std::string> seen;
  for (const KernelRow& row : registry().rows()) {
    INFO(row.name);
    CHECK(row.activation != nullptr);
    REQUIRE(find_backend(row.backend) != nullptr);
    // What an accelerator runs it starts by the row's name.
    CHECK((row.run == nullptr) == (find_backend(row.backend)->kind == BackendKind::kAccelerator));
    CHECK(std::string(row.variant) != "");
    CHECK(seen.insert(std::string(row.backend) + "/" + std::string(op_name(row.op)) + "/" +
                      std::string(gguf::dtype_info(row.dtype).name) + "/" + row.activation->name + "/" +
                      (row.layout != nullptr ? row.layout->name : "native") + "/" + row.name)
              .second);
  }
}

TEST_CASE("Registry_TheReferenceHasEveryOpButQuantize") {
  for (int i = 0; i < kNumOps; ++i) {
    const Op op = static_cast<Op>(i);
    if (op == Op::kQuantize) continue;  // its activations are f32
    INFO(op_name(op));
    CHECK(registry().select({.op = op, .dtype = DType::kF32}, device("reference", 0)) != nullptr);
  }
}

TEST_CASE("Registry_TakesTheHighestRankTheDeviceCanRun") {
  for (const KernelRow& row : registry().rows()) {
    const KernelRegistry::Query query{row.op, row.dtype, row.activation, row.layout, nullptr};
    const KernelRow* best = registry().select(query, device(row.backend, row.features));
    if (row.rank < 0) continue;
    REQUIRE(best != nullptr);
    CHECK(best->rank >= row.rank);
    CHECK((best->features & ~row.features) == 0);
    CHECK(std::string(best->backend) == row.backend);
  }
  CHECK(registry().select({.op = Op::kAdd}, device("no such backend", ~Features{0})) == nullptr);
}

TEST_CASE("Registry_OverridesNameAVariantOrARow") {
  const NoOverrides restore;
  const DeviceInfo everything = device("reference", ~Features{0});
  set_kernel_overrides("matmul.q4_0=matmul_reference, attention=reference");
  const KernelRow* row = registry().select({.op = Op::kMatmul, .dtype = DType::kQ4_0}, everything);
  REQUIRE(row != nullptr);
  CHECK(std::string(row->name) == "matmul_reference");
  // A row that is named and cannot run is not silently replaced.
  for (const KernelRow& candidate : registry().rows()) {
    if (candidate.features == 0 || candidate.op != Op::kRmsNorm) continue;
    set_kernel_overrides(std::string("rms_norm=") + candidate.name);
    CHECK(registry().select({.op = Op::kRmsNorm}, device(candidate.backend, 0)) == nullptr);
    const KernelRow* chosen = registry().select({.op = Op::kRmsNorm}, device(candidate.backend, ~Features{0}));
    REQUIRE(chosen != nullptr);
    CHECK(std::string(chosen->name) == candidate.name);
  }
}

TEST_CASE("Registry_AnUnknownOverrideListsTheValidNames") {
  const NoOverrides restore;
  CHECK_THAT(refusal_of("matmull=avx2"), Catch::Contains("'matmull=avx2': unknown op; valid: ") &&
                                             Catch::Contains("matmul") && Catch::Contains("attention"));
  CHECK_THAT(refusal_of("matmul.q9_z=avx2"), Catch::Contains("valid: ") && Catch::Contains("q4_k"));
  CHECK_THAT(refusal_of("matmul.q4_k=quick"), Catch::Contains("unknown kernel; valid: ") &&
                                                  Catch::Contains("reference") &&
                                                  Catch::Contains("matmul_reference"));
  CHECK_THAT(refusal_of("matmul"), Catch::Contains("expected op=variant"));
  CHECK(refusal_of(" , matmul = reference,") == "");
}

TEST_CASE("Plugin_AddsItsRows") {
  const std::vector<KernelRow> rows = load_plugin(OLLAMAX_TEST_PLUGIN, registry().rows());
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].op == Op::kAdd);
  CHECK(std::string(rows[0].variant) == "plugin");
  CHECK(rows[0].activation == &kActivationF32);
  float a[2] = {1, 2}, b[2] = {10, 20}, y[2] = {};
  const AddArgs args{{y, 1, 2, 2}, {a, 1, 2, 2}, {b, 1, 2, 2}};
  rows[0].run(&args, {0, 1});
  CHECK(y[0] == 11);
  CHECK(y[1] == 22);
}

TEST_CASE("Plugin_IsRefusedWithTheReason") {
  const auto refusal = [](const char* mode) -> std::string {
    ::setenv("OLLAMAX_TEST_PLUGIN_MODE", mode, 1);
    std::string text;
    try {
      load_plugin(OLLAMAX_TEST_PLUGIN, registry().rows());
    } catch (const DeviceError& error) {
      text = error.what();
    }
    ::unsetenv("OLLAMAX_TEST_PLUGIN_MODE");
    return text;
  };
  CHECK_THAT(refusal("abi"), Catch::Contains("expected plugin interface 1, got 4711"));
  CHECK_THAT(refusal("row"), Catch::Contains("expected rows of") && Catch::Contains("got 8"));
  CHECK_THAT(refusal("declines"), Catch::Contains("declined to load"));
  CHECK_THAT(refusal("backend"), Catch::Contains("backend 'abacus' is not part of this program"));
  CHECK_THAT(refusal("function"), Catch::Contains("expected a function"));
  CHECK_THROWS_WITH(load_plugin("/nonexistent/mine.so", {}), Catch::Contains("/nonexistent/mine.so"));
  CHECK_THROWS_WITH(load_plugin(OLLAMAX_TEST_NOT_A_PLUGIN, {}), Catch::Contains("export ollamax_kernel_plugin"));
}

TEST_CASE("Plugin_ListIsSplitAtColons") {
  CHECK(split_plugin_list("") == std::vector<std::string>{});
  CHECK(split_plugin_list(":a.so::b.so:") == std::vector<std::string>{"a.so", "b.so"});
}

}  // namespace olx::kernels
