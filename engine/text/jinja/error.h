#pragma once
// How the Jinja interpreter reports: one EngineError with the line of the template. Used by every file of this folder.
// Two kinds: the template asks for what is not supported (kUnsupported), or it fails while running (kInvalidRequest).

#include <string>

#include "engine/error.h"

namespace olx::engine::jinja {

[[noreturn]] inline void syntax_error(int line, const std::string& what) {
  throw EngineError(ErrorCode::kUnsupported,
                    "chat template line " + std::to_string(line) + ": " + what);
}

[[noreturn]] inline void run_error(int line, const std::string& what) {
  throw EngineError(ErrorCode::kInvalidRequest,
                    "chat template line " + std::to_string(line) + ": " + what);
}

}  // namespace olx::engine::jinja
