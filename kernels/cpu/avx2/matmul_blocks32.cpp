// Types of 32-column blocks: one scale (and minimum or offset) a block.
#include "kernels/cpu/avx2/panel_block.h"

namespace olx::kernels::cpu {
namespace {

// x = d (n - offset)
template <DType kType, int kOffset>
struct OffsetNibbles {
  static constexpr DType kDType = kType;
  static constexpr int kMaxCode = 15;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) {
    w = half_scales(s);
    m = _mm256_mul_ps(w, _mm256_set1_ps(kOffset));
  }
};
using Q4_0 = OffsetNibbles<DType::kQ4_0, 8>;

// x = d n + m: the minimum is added, so it is subtracted with the other sign.
inline void scale_and_minimum(const uint8_t* s, __m256& w, __m256& m) {
  w = half_scales(s);
  m = _mm256_sub_ps(_mm256_setzero_ps(), half_scales(s + 2 * kRows));
}

struct Q4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  static constexpr int kMaxCode = 15;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) { return split_nibbles(q, g); }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) { scale_and_minimum(s, w, m); }
};

// Bit g of every byte of unit 4 is bit 4 of the code.
inline __m256i five_bit_codes(const uint8_t* q, int g) {
  return or_masked(split_nibbles(q, g), move_bits(load_unit(q, 4), g, 4), 16);
}

struct Q5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  static constexpr int kMaxCode = 31;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) {
    w = half_scales(s);
    m = _mm256_mul_ps(w, _mm256_set1_ps(16));
  }
};

struct Q5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  static constexpr int kMaxCode = 31;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) { return five_bit_codes(q, g); }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) { scale_and_minimum(s, w, m); }
};

struct Q8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  static constexpr int kMaxCode = 128;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) { return _mm256_xor_si256(load_unit(q, g), _mm256_set1_epi8(-128)); }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) {
    w = half_scales(s);
    m = _mm256_setzero_ps();
  }
};

// Codes are indices into a table of 16 values.
inline __m256i look_up(__m256i indices, __m128i table) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), indices);
}

struct IQ4_NL {
  static constexpr DType kDType = DType::kIQ4_NL;
  static constexpr int kMaxCode = 128;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
  }
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) {
    w = half_scales(s);
    m = _mm256_setzero_ps();
  }
};

struct MXFP4 {
  static constexpr DType kDType = DType::kMXFP4;
  static constexpr int kMaxCode = 24;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 1;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int, int g) {
    return look_up(split_nibbles(q, g), _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  }
  // 2^(e - 128): the exponent field is e - 1 for e >= 2; 0 and 1 are subnormal.
  static void scales(const uint8_t* s, int, int, __m256& w, __m256& m) {
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i is_normal = _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1));
    w = _mm256_castsi256_ps(_mm256_blendv_epi8(subnormal, normal, is_normal));
    m = _mm256_mul_ps(w, _mm256_set1_ps(12));
  }
};

}  // namespace

void matmul_q4_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0>(args, range); }
void matmul_q4_1_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1>(args, range); }
void matmul_q5_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0>(args, range); }
void matmul_q5_1_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1>(args, range); }
void matmul_q8_0_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0>(args, range); }
void matmul_iq4_nl_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL>(args, range); }
void matmul_mxfp4_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4>(args, range); }

void matmul_q4_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_0, 2>(args, range); }
void matmul_q4_1_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_1, 2>(args, range); }
void matmul_q5_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_0, 2>(args, range); }
void matmul_q5_1_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_1, 2>(args, range); }
void matmul_q8_0_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q8_0, 2>(args, range); }
void matmul_iq4_nl_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_NL, 2>(args, range); }
void matmul_mxfp4_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<MXFP4, 2>(args, range); }

}  // namespace olx::kernels::cpu
