#pragma once
// Arguments of a built-in, matched to its parameter names as Python does, with typed getters that say expected and got.
// Used by every table of built-ins: filters, tests, methods, globals.

#include <string>
#include <string_view>
#include <vector>

#include "engine/text/jinja/runtime.h"

namespace olx::engine::jinja {

class BoundArgs {
 public:
  // parameters: names separated by ','; a trailing '*' lets everything through unmatched (see raw()).
  BoundArgs(Runtime& rt, std::string_view function, std::string_view parameters, Args& args);

  bool has(size_t i) const { return i < given_.size() && given_[i]; }
  const Val& at(size_t i) const;  // fails when missing
  Val get(size_t i, Val otherwise) const {
    if (has(i)) return values_[i];
    return otherwise;
  }
  std::string text(size_t i, std::string_view otherwise) const;
  std::string text(size_t i) const;
  int64_t integer(size_t i, int64_t otherwise) const;
  bool boolean(size_t i, bool otherwise) const { return has(i) ? is_true(values_[i]) : otherwise; }
  bool is_none(size_t i) const { return !has(i) || values_[i].is_none(); }
  Args& raw() const { return args_; }

 private:
  Runtime& rt_;
  std::string function_;
  Args& args_;
  std::vector<Val> values_;
  std::vector<bool> given_;
};

}  // namespace olx::engine::jinja
