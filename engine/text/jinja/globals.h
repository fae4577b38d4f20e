#pragma once
// The functions every template can call: Jinja2's own and those Hugging Face's apply_chat_template adds.

#include <functional>
#include <string_view>

#include "engine/text/jinja/runtime.h"

namespace olx::engine::jinja {

void add_globals(Runtime& rt, const std::function<void(std::string_view, Val)>& add);

}  // namespace olx::engine::jinja
