#pragma once
// The closed list of operations a plan is made of. Every op has one Args struct in args.h; that comment is its contract.

#include <cstdint>
#include <string_view>

namespace olx::kernels {

enum class Op : uint8_t {
  kEmbed,            // token ids -> rows of the embedding table
  kQuantize,         // f32 activations -> the activation format a matmul row wants
  kMatmul,           // y = x W^T (+ bias) (+ residual)
  kRmsNorm,
  kRopeTable,        // positions -> cos/sin, once per step and rope configuration
  kRope,             // rotate q or k in place with such a table
  kKvStore,          // k, v of this step -> cache pages
  kAttention,        // causal attention over cache pages
  kGatedActivation,  // act(gate) * up
  kAdd,              // y = a + b
  kScale,            // y = x * s
  kSoftcap,          // y = c * tanh(x / c)
  kSoftmax,
  kGatedMatmul,      // act(gate) * up of a normalised x, both products made here
  kQkvMatmul,        // q, k, v of a normalised x: q rotated, k rotated and v into cache pages
  kTopK,             // the largest of each row, with where they stand
  kQkvStore,         // q, k, v of a step: heads normalised, q and k rotated, k and v into cache pages
  kRmsNormAdd,       // y = a + rms_norm(x)
};
inline constexpr int kNumOps = 18;

std::string_view op_name(Op op);  // "matmul"

}  // namespace olx::kernels
