#pragma once
// The table of tests ("x is ..."): a row is a name, its parameter names and a predicate. Rows live in tests.cpp.

#include <string_view>

#include "engine/text/jinja/bound_args.h"

namespace olx::engine::jinja {

struct TestRow {
  std::string_view name;
  std::string_view parameters;
  bool (*run)(Runtime&, const Val& value, BoundArgs&);
};

const TestRow* find_test(std::string_view name);
bool apply_test(Runtime& rt, std::string_view name, const Val& value, Args& args);

}  // namespace olx::engine::jinja
