#include "gguf/quantize.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <vector>

#include "gguf/blocks.h"
#include "gguf/scales.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::gguf;

namespace {

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

const DType kQuantized[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,   DType::kQ2_K,  DType::kQ3_K,
                            DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

// Root of the mean squared error, relative to the root mean square of the row.
double relative_error(DType dtype, const std::vector<float>& x) {
  std::vector<uint8_t> bytes(static_cast<size_t>(row_size_bytes(dtype, static_cast<int64_t>(x.size()))));
  std::vector<float> y(x.size());
  quantize_row(dtype, x.data(), bytes.data(), static_cast<int64_t>(x.size()));
  dequantize_row(dtype, bytes.data(), y.data(), static_cast<int64_t>(x.size()));
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (x[i] - y[i]) * (x[i] - y[i]);
    power += x[i] * x[i];
  }
  return std::sqrt(error / power);
}

}  // namespace

TEST_CASE("Dequantize_EveryTypeEqualsAnIndependentDecoder") {
  std::ifstream golden(olx::tests::source_dir() / "tests/golden/dequantize.txt");
  REQUIRE(golden);
  std::string line;
  int n_types = 0;
  while (std::getline(golden, line)) {
    if (line.starts_with("#")) continue;
    std::istringstream fields(line);
    std::string name, bytes_hex, floats_hex;
    fields >> name >> bytes_hex >> floats_hex;
    const DTypeInfo* info = find_dtype(name);
    REQUIRE(info != nullptr);
    const std::vector<uint8_t> bytes = from_hex(bytes_hex), expected = from_hex(floats_hex);
    const int64_t n = static_cast<int64_t>(bytes.size()) / info->block_bytes * info->block_elems;
    REQUIRE(static_cast<int64_t>(expected.size()) == 4 * n);
    std::vector<float> got(static_cast<size_t>(n));
    dequantize_row(info->dtype, bytes.data(), got.data(), n);
    int n_different = 0;
    for (int64_t i = 0; i < n; ++i) {
      float want = 0;
      std::memcpy(&want, expected.data() + 4 * i, 4);
      if (got[static_cast<size_t>(i)] != want) ++n_different;
    }
    INFO(name);
    CHECK(n_different == 0);
    ++n_types;
  }
  CHECK(n_types == static_cast<int>(std::size(kQuantized)));
}

TEST_CASE("Half_EveryBitPatternGoesThroughF32AndBack") {
  for (uint32_t bits = 0; bits < 65'536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f16_to_f32(half);
    if (std::isnan(value)) {
      if ((f32_to_f16(value) & 0x7c00) != 0x7c00) FAIL("NaN lost at " << bits);
      continue;
    }
    if (f32_to_f16(value) != half) FAIL("f16 " << bits << " became " << f32_to_f16(value));
    if (!std::isnan(bf16_to_f32(half)) && f32_to_bf16(bf16_to_f32(half)) != half) FAIL("bf16 " << bits);
  }
}

TEST_CASE("Half_RoundsToNearestEven") {
  CHECK(f32_to_f16(1.0f + 0x1p-11f) == 0x3c00);              // tie: down to even
  CHECK(f32_to_f16(1.0f + 3 * 0x1p-11f) == 0x3c02);          // tie: up to even
  CHECK(f32_to_f16(65519.9f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(0x1p-25f) == 0);                          // tie at half the smallest subnormal
  CHECK(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)) == 1);
  CHECK(f32_to_f16(-0.0f) == 0x8000);
}

TEST_CASE("Scales_PackingIsInvertible") {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    uint8_t packed[12], again[12], scales[16], mins[8];
    for (uint8_t& byte : packed) byte = static_cast<uint8_t>(random());
    unpack_scales_q4_k(packed, scales, mins);
    pack_scales_q4_k(scales, mins, again);
    CHECK(std::memcmp(packed, again, 12) == 0);
    unpack_scales_q3_k(packed, scales);
    pack_scales_q3_k(scales, again);
    CHECK(std::memcmp(packed, again, 12) == 0);
  }
}

TEST_CASE("Quantize_ErrorIsThatOfTheNumberOfBits") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> x(256 * 64);
  for (float& value : x) value = normal(random);
  // Twice what a uniform grid over +-2.7 sigma gives at that many bits.
  const struct { DType dtype; double limit; } rows[] = {
      {DType::kQ8_0, 0.01}, {DType::kQ6_K, 0.03}, {DType::kQ5_K, 0.06}, {DType::kQ5_1, 0.06}, {DType::kQ5_0, 0.06},
      {DType::kQ4_K, 0.12}, {DType::kQ4_1, 0.11}, {DType::kQ4_0, 0.12}, {DType::kIQ4_NL, 0.12}, {DType::kIQ4_XS, 0.12},
      {DType::kMXFP4, 0.2}, {DType::kQ3_K, 0.25}, {DType::kQ2_K, 0.5}, {DType::kF16, 4e-4}, {DType::kBF16, 3e-3}};
  for (const auto& row : rows) {
    INFO(dtype_info(row.dtype).name);
    CHECK(relative_error(row.dtype, x) < row.limit);
  }
}

TEST_CASE("Quantize_WritesEveryByteItIsGivenRoomFor", "[T-06]") {
  // What was in memory before never gets into a file.
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(512);
  for (float& value : x) value = normal(random);
  std::vector<DType> types(std::begin(kQuantized), std::end(kQuantized));
  types.insert(types.end(), {DType::kF32, DType::kF16, DType::kBF16});
  for (const DType dtype : types) {
    INFO(dtype_info(dtype).name);
    const auto size = static_cast<size_t>(row_size_bytes(dtype, static_cast<int64_t>(x.size())));
    std::vector<uint8_t> over_a5(size + 8, 0xa5), over_5a(size + 8, 0x5a);
    quantize_row(dtype, x.data(), over_a5.data(), static_cast<int64_t>(x.size()));
    quantize_row(dtype, x.data(), over_5a.data(), static_cast<int64_t>(x.size()));
    CHECK(std::memcmp(over_a5.data(), over_5a.data(), size) == 0);
    for (size_t i = size; i < size + 8; ++i) CHECK((over_a5[i] == 0xa5 && over_5a[i] == 0x5a));
  }
}

TEST_CASE("Quantize_ZeroRowsStayZeroAndHugeOnesDoNotTrap") {
  for (DType dtype : kQuantized) {
    std::vector<float> zero(256, 0.0f), back(256, 1.0f);
    std::vector<uint8_t> bytes(static_cast<size_t>(row_size_bytes(dtype, 256)));
    quantize_row(dtype, zero.data(), bytes.data(), 256);
    dequantize_row(dtype, bytes.data(), back.data(), 256);
    INFO(dtype_info(dtype).name);
    for (float value : back) REQUIRE(value == 0.0f);
    for (float special : {3e38f, -3e38f, INFINITY, -INFINITY, NAN}) {
      std::vector<float> x(256, 0.5f);
      x[17] = special;
      quantize_row(dtype, x.data(), bytes.data(), 256);
      dequantize_row(dtype, bytes.data(), back.data(), 256);
    }
  }
}
