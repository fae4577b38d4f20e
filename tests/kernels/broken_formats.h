#pragma once
// What broken and sound kernels have in common: how one is made of a template and its fault, and what their rows ask for, an
// activation format, weight layouts and a condition, the simplest there are.

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

// A row function: its name, the template of a file's enum Fault, and the fault.
#define FAULTY(Args, name, function, fault) \
  void name(const Args& args, RowRange range) { function<Fault::fault>(args, range); }
