#include "engine/text/jinja/loop.h"

namespace olx::engine::jinja {
namespace {

Val cycle(Runtime& rt, LoopState* state, Args& args) {
  if (args.positional.empty()) rt.fail("no items for cycling given");
  return args.positional[state->index % args.positional.size()];
}

Val changed(Runtime& rt, LoopState* state, Args& args) {
  bool same = state->has_last_changed && state->last_changed.size() == args.positional.size();
  for (size_t i = 0; same && i < args.positional.size(); ++i)
    same = equal(rt, state->last_changed[i], args.positional[i]);
  state->has_last_changed = true;
  if (!same) state->last_changed = args.positional;
  return !same;
}

bool get(Runtime& rt, LoopState* state, std::string_view name, Val& out) {
  const size_t i = state->index, n = state->items.size();
  if (name == "index") out = Val(i + 1);
  else if (name == "index0") out = Val(i);
  else if (name == "revindex") out = Val(n - i);
  else if (name == "revindex0") out = Val(n - i - 1);
  else if (name == "first") out = Val(i == 0);
  else if (name == "last") out = Val(i + 1 == n);
  else if (name == "length") out = Val(n);
  else if (name == "depth") out = Val(state->depth0 + 1);
  else if (name == "depth0") out = Val(state->depth0);
  else if (name == "previtem") out = i > 0 ? state->items[i - 1] : Val(Undefined{"there is no previous item"});
  else if (name == "nextitem") out = i + 1 < n ? state->items[i + 1] : Val(Undefined{"there is no next item"});
  else if (name == "cycle")
    out = Val(rt.new_callable("loop.cycle", [state](Runtime& r, Args& args) { return cycle(r, state, args); }));
  else if (name == "changed")
    out = Val(rt.new_callable("loop.changed", [state](Runtime& r, Args& args) { return changed(r, state, args); }));
  else return false;
  return true;
}

}  // namespace

Val make_loop_value(Runtime& rt, LoopState* state) {
  Callable* loop = rt.new_callable("LoopContext", [state](Runtime& r, Args& args) -> Val {
    if (!state->recurse) r.fail("The loop must have the 'recursive' marker to be called.");
    if (args.positional.size() != 1) r.fail("loop() takes one argument");
    return state->recurse(args.positional[0]);
  });
  loop->get = [state](Runtime& r, std::string_view name, Val& out) { return get(r, state, name, out); };
  return Val(loop);
}

}  // namespace olx::engine::jinja
