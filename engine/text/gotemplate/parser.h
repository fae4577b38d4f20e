#pragma once
// Go text/template source to a syntax tree. Throws EngineError(kUnsupported) with the line for wrong syntax, unknown
// functions and templates beyond the limits (256 KiB of source, 50 000 nodes, nesting of 128).

#include <string_view>

#include "engine/text/gotemplate/ast.h"

namespace olx::engine::gotemplate {

Template parse(std::string_view source);

}  // namespace olx::engine::gotemplate
