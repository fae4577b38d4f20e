#pragma once
// The "loop" variable of a for block: its position, neighbours, cycle(), changed() and, in a recursive loop, itself called.

#include <functional>
#include <string>
#include <vector>

#include "engine/text/jinja/runtime.h"

namespace olx::engine::jinja {

struct LoopState {
  std::vector<Val> items;
  size_t index = 0;
  int depth0 = 0;
  std::vector<Val> last_changed;
  bool has_last_changed = false;
  std::function<std::string(const Val& children)> recurse;  // empty: not a recursive loop
};

// state outlives the value.
Val make_loop_value(Runtime& rt, LoopState* state);

}  // namespace olx::engine::jinja
