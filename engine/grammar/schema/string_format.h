#pragma once
// The `format` of a schema's string as a regular expression of string_pattern.h. Used by the schema compiler. Each one matches
// only texts that the format's own specification allows, and not always all of them (years of four digits, addresses
// without comments).

#include <string>
#include <string_view>

namespace olx::engine {

// A name of OpenAPI or pydantic that says how a text is shown or used, and allows every text.
bool is_free_format(std::string_view name);
// nullptr: not one that can be held to.
const std::string* find_string_format(std::string_view name);
// Every name, for a message.
std::string string_format_names();

}  // namespace olx::engine
