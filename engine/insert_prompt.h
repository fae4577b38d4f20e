#pragma once
// Fill in the middle: the prompt that asks a model for the text between two others. For the server's generate.

#include <string>
#include <string_view>

namespace olx::engine {

// Runs the Go template with .Prompt and .Suffix. Throws EngineError when it cannot be run.
std::string render_insert_prompt(std::string_view go_template, const std::string& prompt, const std::string& suffix);

}  // namespace olx::engine
