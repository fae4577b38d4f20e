#pragma once
// What rows of broken and sound kernels ask for: an activation format, weight layouts and a condition, the simplest there are.

#include "kernels/api/args.h"

namespace olx::kernels::broken {

// Of the products of f32 weights alone.
inline bool accepts_f32_v(const QkvMatmulArgs& args) { return args.v.dtype == DType::kF32; }

// Per token and 32 columns: an f32 scale, then 32 int8 codes.
extern const ActivationFormat kActivationPlain8;
// As plain8, but no kQuantize row makes it.
extern const ActivationFormat kActivationUnclaimed;
// Rows in reverse order.
extern const WeightLayout kLayoutReversed;
// Rows in reverse order, the first byte of each forgotten: not invertible.
extern const WeightLayout kLayoutLossy;

}  // namespace olx::kernels::broken
