// Types of 256-column superblocks: eight sub-blocks of 32 columns, scales per 32 or per 16.
#include "kernels/cpu/avx2/panel_block.h"

namespace olx::kernels::cpu {
namespace {

// Sub-block 2j is the low, 2j + 1 the high nibbles of units 8j .. 8j + 7.
inline __m256i paired_nibbles(const uint8_t* q, int sub, int g) {
  const __m256i unit = load_unit(q, 8 * (sub / 2) + g);
  return sub % 2 == 0 ? low_nibbles(unit) : high_nibbles(unit);
}

// d sc, dmin mn of Q4_K and Q5_K: planes d, dmin, sc[8], mn[8].
inline void k_scales(const uint8_t* s, int sub, __m256& w, __m256& m) {
  w = _mm256_mul_ps(half_scales(s), u8_scales(s + 4 * kRows + kRows * sub));
  m = _mm256_mul_ps(half_scales(s + 2 * kRows), u8_scales(s + 4 * kRows + 8 * kRows + kRows * sub));
}

struct Q4_K {
  static constexpr DType kDType = DType::kQ4_K;
  static constexpr int kMaxCode = 15;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int sub, int g) { return paired_nibbles(q, sub, g); }
  static void scales(const uint8_t* s, int sub, int, __m256& w, __m256& m) { k_scales(s, sub, w, m); }
};

struct Q5_K {
  static constexpr DType kDType = DType::kQ5_K;
  static constexpr int kMaxCode = 31;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int sub, int g) {
    return or_masked(paired_nibbles(q, sub, g), move_bits(load_unit(q, 32 + g), sub, 4), 16);
  }
  static void scales(const uint8_t* s, int sub, int, __m256& w, __m256& m) { k_scales(s, sub, w, m); }
};

struct Q6_K {
  static constexpr DType kDType = DType::kQ6_K;
  static constexpr int kMaxCode = 63;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m256i codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const __m256i low = load_unit(q, 16 * h + 8 * (j & 1) + g);
    return or_masked(j < 2 ? low_nibbles(low) : high_nibbles(low), move_bits(load_unit(q, 32 + 8 * h + g), 2 * j, 4), 48);
  }
  static void scales(const uint8_t* s, int sub, int half, __m256& w, __m256& m) {
    w = _mm256_mul_ps(half_scales(s), i8_scales(s + 2 * kRows + kRows * (2 * sub + half)));
    m = _mm256_mul_ps(w, _mm256_set1_ps(32));
  }
};

struct Q3_K {
  static constexpr DType kDType = DType::kQ3_K;
  static constexpr int kMaxCode = 7;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m256i codes(const uint8_t* q, int sub, int g) {
    const int h = sub / 4, j = sub % 4;
    const __m256i low = _mm256_and_si256(move_bits(load_unit(q, 8 * h + g), 2 * j, 0), _mm256_set1_epi8(3));
    return or_masked(low, move_bits(load_unit(q, 16 + g), sub, 2), 4);
  }
  static void scales(const uint8_t* s, int sub, int half, __m256& w, __m256& m) {
    const __m256 sc = _mm256_sub_ps(u8_scales(s + 2 * kRows + kRows * (2 * sub + half)), _mm256_set1_ps(32));
    w = _mm256_mul_ps(half_scales(s), sc);
    m = _mm256_mul_ps(w, _mm256_set1_ps(4));
  }
};

struct Q2_K {
  static constexpr DType kDType = DType::kQ2_K;
  static constexpr int kMaxCode = 3;
  static constexpr bool kHasMinimum = true;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = true;
  static __m256i codes(const uint8_t* q, int sub, int g) {
    return _mm256_and_si256(move_bits(load_unit(q, 8 * (sub / 4) + g), 2 * (sub % 4), 0), _mm256_set1_epi8(3));
  }
  static void scales(const uint8_t* s, int sub, int half, __m256& w, __m256& m) {
    const __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s + 4 * kRows + kRows * (2 * sub + half))));
    w = _mm256_mul_ps(half_scales(s), _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15))));
    m = _mm256_mul_ps(half_scales(s + 2 * kRows), _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4)));
  }
};

struct IQ4_XS {
  static constexpr DType kDType = DType::kIQ4_XS;
  static constexpr int kMaxCode = 128;
  static constexpr bool kHasMinimum = false;
  static constexpr int kSubBlocks = 8;
  static constexpr bool kIsPer16 = false;
  static __m256i codes(const uint8_t* q, int sub, int g) {
    const __m128i table = _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), split_nibbles(q + 16 * kRows * sub, g));
  }
  static void scales(const uint8_t* s, int sub, int, __m256& w, __m256& m) {
    w = _mm256_mul_ps(half_scales(s), _mm256_sub_ps(u8_scales(s + 2 * kRows + kRows * sub), _mm256_set1_ps(32)));
    m = _mm256_setzero_ps();
  }
};

}  // namespace

void matmul_q2_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K>(args, range); }
void matmul_q3_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K>(args, range); }
void matmul_q4_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K>(args, range); }
void matmul_q5_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K>(args, range); }
void matmul_q6_k_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K>(args, range); }
void matmul_iq4_xs_avx2(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS>(args, range); }

void matmul_q2_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q2_K, 2>(args, range); }
void matmul_q3_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q3_K, 2>(args, range); }
void matmul_q4_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q4_K, 2>(args, range); }
void matmul_q5_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q5_K, 2>(args, range); }
void matmul_q6_k_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<Q6_K, 2>(args, range); }
void matmul_iq4_xs_avx2_fine(const MatmulArgs& args, RowRange range) { matmul_panels<IQ4_XS, 2>(args, range); }

}  // namespace olx::kernels::cpu
