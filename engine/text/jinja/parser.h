#pragma once
// Jinja source text to a syntax tree. Used once per template; the tree is then rendered many times.
// Throws EngineError(kUnsupported) with the line for wrong syntax, for tags and filters that are not supported, and for a
// template larger or deeper than the limits.

#include <string_view>

#include "engine/text/jinja/ast.h"

namespace olx::engine::jinja {

struct ParseLimits {
  size_t max_source_bytes = 256 << 10;
  int max_nodes = 50'000;
  int max_depth = 128;
};

Template parse(std::string_view source, const ParseLimits& limits = {});

}  // namespace olx::engine::jinja
