#pragma once
// The table of filters: a row is a name, its parameter names and a function. Rows live in filters_*.cpp.

#include <string_view>

#include "engine/text/jinja/bound_args.h"

namespace olx::engine::jinja {

struct FilterRow {
  std::string_view name;
  std::string_view parameters;
  Val (*run)(Runtime&, const Val& value, BoundArgs&);
};

// nullptr: no such filter.
const FilterRow* find_filter(std::string_view name);
Val apply_filter(Runtime& rt, std::string_view name, const Val& value, Args& args);

// The two groups, joined by find_filter.
const FilterRow* find_text_filter(std::string_view name);
const FilterRow* find_list_filter(std::string_view name);

}  // namespace olx::engine::jinja
