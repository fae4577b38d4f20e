#include "kernels/host_simt/tile_product.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "gguf/quantize.h"
#include "kernels/host_simt/block.h"

namespace olx::kernels::host_simt {
namespace {

int32_t byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }

float half_of(uint32_t word, int i) {
  return gguf::f16_to_f32(static_cast<uint16_t>(word >> (16 * i)));
}

// c + a[0] b[0] + ... + a[7] b[7] as a tensor core does it.
float add_eight(float c, const float* a, const float* b) {
  double terms[9] = {c};  // a product of two f16 is exact in double
  double largest = std::abs(terms[0]);
  for (int i = 0; i < 8; ++i) {
    terms[i + 1] = double{a[i]} * b[i];
    largest = std::max(largest, std::abs(terms[i + 1]));
  }
  double plain = 0;
  for (const double term : terms) plain += term;
  if (!std::isfinite(plain) || largest == 0) return static_cast<float>(plain);
  const int exponent = std::ilogb(largest);
  const double unit = std::ldexp(1.0, exponent - 24), inverse = std::ldexp(1.0, 24 - exponent);
  int64_t sum = 0;
  for (const double term : terms) sum += static_cast<int64_t>(term * inverse);
  const auto magnitude = static_cast<uint64_t>(std::abs(sum));
  const int n_cut = std::max(static_cast<int>(std::bit_width(magnitude)) - 24, 0);
  const auto kept = static_cast<double>(magnitude >> n_cut << n_cut) * unit;
  return static_cast<float>(sum < 0 ? -kept : kept);
}

}  // namespace

void multiply_as_mma(uint32_t* words, int, int) {
  int32_t a[16][32], b[32][16], c[16][16] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* mine = words + lane * kMeetingWords;
    const int group = lane / 4, in_group = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const int row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
      const int col = i < 8 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16;
      a[row][col] = byte_of(mine[i / 4], i % 4);
    }
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 8; ++i) {
        const int row = i < 4 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16;
        b[row][8 * which + group] = byte_of(mine[4 + 2 * which + i / 4], i % 4);
      }
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 32; ++k)
      for (int j = 0; j < 16; ++j) c[i][j] += a[i][k] * b[k][j];
  for (int lane = 0; lane < 32; ++lane)
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? lane / 4 : lane / 4 + 8, col = lane % 4 * 2 + (i & 1);
        words[lane * kMeetingWords + 4 * which + i] =
            static_cast<uint32_t>(c[row][8 * which + col]);
      }
}

void multiply_as_mfma(uint32_t* words, int, int) {
  int32_t d[16][16] = {};
  for (int which = 0; which < 2; ++which) {
    int32_t a[16][16], b[16][16];
    for (int lane = 0; lane < 64; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int k = 4 * (lane / 16) + i;
        a[lane % 16][k] = byte_of(words[lane * kMeetingWords + which], i);
        b[k][lane % 16] = byte_of(words[lane * kMeetingWords + 2 + which], i);
      }
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < 16; ++k)
        for (int j = 0; j < 16; ++j) d[i][j] += a[i][k] * b[k][j];
  }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i)
      words[lane * kMeetingWords + i] = static_cast<uint32_t>(d[4 * (lane / 16) + i][lane % 16]);
}

void multiply_f16_as_mma(uint32_t* words, int, int) {
  float a[16][16], b[16][16], c[16][16];  // b: [column][k]
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* mine = words + lane * kMeetingWords;
    const int group = lane / 4, in_group = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      const int col = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      a[row][col] = half_of(mine[i / 2], i % 2);
    }
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 4; ++i) {
        const int row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        b[8 * which + group][row] = half_of(mine[4 + 2 * which + i / 2], i % 2);
        c[i < 2 ? group : group + 8][8 * which + in_group * 2 + (i & 1)] =
            std::bit_cast<float>(mine[8 + 4 * which + i]);
      }
  }
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      for (int k = 0; k < 16; k += 8) c[i][j] = add_eight(c[i][j], a[i] + k, b[j] + k);
  for (int lane = 0; lane < 32; ++lane)
    for (int which = 0; which < 2; ++which)
      for (int i = 0; i < 4; ++i)
        words[lane * kMeetingWords + 4 * which + i] = std::bit_cast<uint32_t>(
            c[i < 2 ? lane / 4 : lane / 4 + 8][8 * which + lane % 4 * 2 + (i & 1)]);
}

void multiply_f16_as_mfma(uint32_t* words, int, int) {
  float a[16][16], b[16][16];  // b: [column][k]
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      const uint32_t* mine = words + lane * kMeetingWords;
      a[lane % 16][4 * (lane / 16) + i] = half_of(mine[i / 2], i % 2);
      b[lane % 16][4 * (lane / 16) + i] = half_of(mine[2 + i / 2], i % 2);
    }
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i) {
      uint32_t* mine = words + lane * kMeetingWords;
      float sum = std::bit_cast<float>(mine[4 + i]);
      for (int k = 0; k < 16; ++k) sum += a[4 * (lane / 16) + i][k] * b[lane % 16][k];
      mine[i] = std::bit_cast<uint32_t>(sum);
    }
}

}  // namespace olx::kernels::host_simt
