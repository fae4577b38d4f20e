// f32 -> "q8" and "q8_fine" (activation_q8.h): two vectors are a block.
#include "kernels/api/args.h"
#include "kernels/cpu/avx512/q8_block.h"

namespace olx::kernels::cpu {
namespace {

// kTerms 2: what the codes of a block leave over is encoded again, into a second matrix behind the first.
template <int kTerms>
void quantize_rows(const QuantizeArgs& args, RowRange range) {
  const int64_t n_cols = args.x.n_cols, n_tokens = args.x.n_rows;
  for (int64_t token = range.from; token < range.to; ++token) {
    const float* x = args.x.row(token);
    const int64_t group = token / kQ8GroupTokens, n = q8_group_size(group, n_tokens), column = token % kQ8GroupTokens;
    auto* block = static_cast<int8_t*>(const_cast<void*>(args.y.data)) + q8_group_offset(group, n_cols);
    const int64_t to_second = q8_matrix_bytes(n_tokens, n_cols);
    for (int64_t b = 0; b < n_cols; b += kQ8BlockCols, block += n * kQ8BytesPerTokenBlock) {
      const Columns32 rest = store_q8_block({_mm512_loadu_ps(x + b), _mm512_loadu_ps(x + b + 16)}, block, n, column);
      if (kTerms == 2) store_q8_block(rest, block + to_second, n, column);
    }
  }
}

}  // namespace

void quantize_q8_avx512(const QuantizeArgs& args, RowRange range) { quantize_rows<1>(args, range); }
void quantize_q8_fine_avx512(const QuantizeArgs& args, RowRange range) { quantize_rows<2>(args, range); }

}  // namespace olx::kernels::cpu
