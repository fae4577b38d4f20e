#pragma once
// Tables of built-in methods: a row is a name, its parameter names and a function. Strings in string_methods.cpp, lists and
// dictionaries in methods.cpp. Not reflection: what is not in a table does not exist.

#include <functional>
#include <string_view>
#include <vector>

#include "engine/text/jinja/bound_args.h"

namespace olx::engine::jinja {

struct MethodRow {
  std::string_view name;
  std::string_view parameters;
  Val (*run)(Runtime&, const Val& self, BoundArgs&);
};

const MethodRow* find_string_method(std::string_view name);

// Stable, like list.sort(); compares key(item).
void sort_values(Runtime& rt, std::vector<Val>& items, bool reverse, const std::function<Val(const Val&)>& key);

// Python's str.replace; count < 0: all.
std::string replace_text(Runtime& rt, std::string_view text, std::string_view from, std::string_view to, int64_t count);
// Lines of str.splitlines().
std::vector<std::string_view> split_lines(std::string_view text, bool keeps_ends);

}  // namespace olx::engine::jinja
