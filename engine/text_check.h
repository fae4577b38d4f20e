#pragma once
// Checks of texts that a model will be run with, for those who only store them: the server's create.

#include <string_view>

namespace olx::engine {

// Throws EngineError with the line and what is wrong when it is no Go template.
void check_go_template(std::string_view source);

}  // namespace olx::engine
