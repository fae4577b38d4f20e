#pragma once
// What the row operations can take: sizes of their arrays on the stack. Shared by the templates and by accepts.h.

#include <cstdint>

namespace olx::kernels::cpu {

constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMaxQueries = 128;         // query heads of a kv head, and queries scored together
constexpr int64_t kMaxTileElems = 48 * kMaxHeadDim;  // of their elements

}  // namespace olx::kernels::cpu
