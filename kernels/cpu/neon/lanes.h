#pragma once
// Lanes of NEON with its dot products: what cpu/panel_formats.h, panel_dot.h and panel_block.h are
// written in.

#include "kernels/cpu/neon/neon_lanes.h"

namespace olx::kernels::cpu {
namespace {

template <typename Format, int kTokens>
class DotTile;  // of panel_block.h

struct Lanes : NeonLanes {
  template <typename Format, int kTokens>
  using Tile = DotTile<Format, kTokens>;
};

}  // namespace
}  // namespace olx::kernels::cpu

#include "kernels/cpu/dot_products.h"
