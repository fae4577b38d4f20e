#pragma once
// The functions a Go template can call: text/template's own and those Ollama adds. A row is a name and a function.

#include <string>
#include <string_view>
#include <vector>

#include "engine/text/gotemplate/executor.h"

namespace olx::engine::gotemplate {

struct FunctionRow {
  std::string_view name;
  size_t min_args, max_args;
  Ref (*call)(Executor&, std::vector<Ref>& args);  // null for and, or: the executor evaluates their arguments one by one
};

const FunctionRow* find_function(std::string_view name);

// As fmt.Print would show it: %v, or JSON for the types that print as JSON.
std::string print_value(Executor& ex, const Ref& r);
// encoding/json's compact form with HTML escaping. Maps keep their order: whoever makes the data sorts them.
std::string to_json(Executor& ex, const Ref& r);
std::string print_formatted(Executor& ex, const std::string& format, const std::vector<Ref>& args, size_t first);

}  // namespace olx::engine::gotemplate
