// The reference against figures worked out by hand, and what its device keeps beyond f32. That it is right about whole
// networks is shown by tests/engine/logits_golden_test.cpp; that its bounds fit, by contract_test and broken_test.

#include <cmath>
#include <cstring>

#include "kernels/api/registry.h"
#include "kernels/reference/oracle.h"
#include "kernels/reference/wide.h"
#include "tests/support/catch.h"

namespace olx::kernels::reference {
namespace {

void run(Op op, const void* args, DType dtype = DType::kF32) {
  const KernelRow* row =
      KernelRegistry::instance().select({.op = op, .dtype = dtype}, DeviceInfo{"reference", "", 0, 1, 0});
  REQUIRE(row != nullptr);
  REQUIRE(validate(op, args) == "");
  row->run(args, {0, n_work_units(op, args)});
}

}  // namespace

TEST_CASE("Reference_Matmul_IsTheSumOfProductsPlusBiasPlusResidual") {
  float x[] = {1, 2, 3, 4, 5, 6}, y[4] = {100, 200, 300, 400};
  const float w[] = {1, 0, -1, 0.5f, 0.5f, 0.5f}, bias[] = {10, 20};
  const MatmulArgs args{{y, 2, 2, 2}, {x, &kActivationF32, 2, 3, 3}, {w, DType::kF32, nullptr, 2, 3}, bias, y};
  const Expected expected = evaluate(args);
  run(Op::kMatmul, &args);
  CHECK(y[0] == 108);  // 1 - 3 + 10 + 100
  CHECK(y[1] == 223);
  CHECK(y[2] == 308);
  CHECK(y[3] == 427.5f);
  CHECK(expected.value == std::vector<double>{108, 223, 308, 427.5});
  CHECK(expected.bound[0] == Approx(11 * 0x1p-24 * (1 + 2 + 3 + 10 + 100)));
}

TEST_CASE("Reference_RmsNorm_DividesEachGroupByItsRoot") {
  float x[] = {3, 4, 0, 2}, y[4];
  const float weight[] = {1, 10};
  const RmsNormArgs args{{y, 1, 4, 4}, {x, 1, 4, 4}, weight, 2, 0};
  run(Op::kRmsNorm, &args);
  CHECK(y[0] == Approx(3 / std::sqrt(12.5)));
  CHECK(y[1] == Approx(40 / std::sqrt(12.5)));
  CHECK(y[2] == 0);
  CHECK(y[3] == Approx(20 / std::sqrt(2.0)));
}

TEST_CASE("Reference_Rope_TurnsPairsOfBothLayouts") {
  const TokenSlot token{0, 3};
  float angles[4], x[] = {1, 2, 3, 4, 9}, z[] = {1, 2, 3, 4, 9};
  RopeTableArgs table{{angles, 1, 4, 4}, &token, {}};
  table.config.n_rot = 4;
  run(Op::kRopeTable, &table);
  CHECK(angles[0] == Approx(std::cos(3.0)));
  CHECK(angles[1] == Approx(std::sin(3.0)));
  CHECK(angles[3] == Approx(std::sin(0.03)));  // 3 * 10000^(-2/4)
  const RopeArgs pairs{{x, 1, 5, 5}, {angles, 1, 4, 4}, 1, 5, false};
  run(Op::kRope, &pairs);
  CHECK(x[0] == Approx(std::cos(3.0) - 2 * std::sin(3.0)));
  CHECK(x[3] == Approx(3 * std::sin(0.03) + 4 * std::cos(0.03)));
  CHECK(x[4] == 9);
  const RopeArgs neox{{z, 1, 5, 5}, {angles, 1, 4, 4}, 1, 5, true};
  run(Op::kRope, &neox);
  CHECK(z[0] == Approx(std::cos(3.0) - 3 * std::sin(3.0)));
  CHECK(z[3] == Approx(2 * std::sin(0.03) + 4 * std::cos(0.03)));
}

TEST_CASE("Reference_Attention_WeighsVisiblePositionsBySoftmax") {
  // One head of two dimensions, pages of two tokens in reverse order, three positions, the query at the last.
  alignas(64) float k[] = {2, 0, 99, 99, 0, 0, 1, 0}, v[] = {30, 3, 99, 99, 10, 1, 20, 2};
  const int32_t pages[] = {1, 0};
  const TokenSlot token{0, 2};
  float q[] = {1, 0}, y[2];
  AttentionArgs args;
  args.y = {y, 1, 2, 2};
  args.q = {q, 1, 2, 2};
  args.kv = {k, v, DType::kF32, 1, 2, 2, pages, 2};
  args.tokens = &token;
  args.n_heads = 1;
  run(Op::kAttention, &args);
  const double e1 = std::exp(1.0), e2 = std::exp(2.0);
  CHECK(y[0] == Approx((10 + 20 * e1 + 30 * e2) / (1 + e1 + e2)));
  args.sliding_window = 2;
  run(Op::kAttention, &args);
  CHECK(y[1] == Approx((2 * e1 + 3 * e2) / (e1 + e2)));
  const float sink = 1;
  args.sinks = &sink;
  run(Op::kAttention, &args);
  CHECK(y[1] == Approx((2 * e1 + 3 * e2) / (e1 + e2 + e1)));
  args.softcap = 1;
  run(Op::kAttention, &args);
  const double c1 = std::exp(std::tanh(1.0)), c2 = std::exp(std::tanh(2.0));
  CHECK(y[1] == Approx((2 * c1 + 3 * c2) / (c1 + c2 + e1)));
}

TEST_CASE("Reference_Softmax_OfNothingIsZero") {
  float x[] = {-INFINITY, -INFINITY}, y[2];
  const SoftmaxArgs args{{y, 1, 2, 2}, {x, 1, 2, 2}};
  run(Op::kSoftmax, &args);
  CHECK(y[0] == 0);
  CHECK(y[1] == 0);
}

TEST_CASE("Reference_DeviceKeepsWhatF32Loses") {
  const auto device = find_backend("reference")->open({});
  const auto buffer = device->allocate(64 * sizeof(float));
  auto* memory = static_cast<float*>(buffer->host());
  const auto row = [&](int64_t i) { return MatrixView{memory + 8 * i, 1, 2, 2}; };
  memory[0] = 1, memory[1] = 1;
  memory[8] = 0x1p-30f, memory[9] = 0x1p-30f;
  memory[16] = -1, memory[17] = 0;
  const AddArgs sum{row(3), row(0), row(1)}, difference{row(4), row(3), row(2)};
  run(Op::kAdd, &sum);
  CHECK(memory[24] == 1);
  // Someone else writes the second element: the double behind it is out of date.
  memory[25] = 0x1p-40f;
  run(Op::kAdd, &difference);
  CHECK(memory[32] == 0x1p-30f);
  CHECK(memory[33] == 0x1p-40f);
  CHECK(find_wide(memory + 63) == find_wide(memory) + 63);
  float outside = 0;
  CHECK(find_wide(&outside) == nullptr);
}

}  // namespace olx::kernels::reference
