#pragma once
// compile_constraint: what a request asks of its answer, as a Network. Called by Engine::submit on the caller's thread.

#include <memory>

#include "engine/grammar/network.h"
#include "engine/request.h"

namespace olx::engine {

// The constraint must not be none. EngineError(kInvalidRequest) for what is no grammar, for a schema with something that
// cannot be held to (it is named), and beyond the limits.
std::shared_ptr<const Network> compile_constraint(const OutputConstraint& constraint, const GrammarLimits& limits = {});

}  // namespace olx::engine
