#pragma once
// Runs a Go template over a tree of values. One Executor is one rendering, bounded by steps, depth and output bytes.
// Used by chat_template_go.cpp and, for its Ref and memory, by the function table.

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/chat_template.h"
#include "engine/text/gotemplate/ast.h"

namespace olx::engine::gotemplate {

// A value a template looks at: a window into data that outlives the rendering. nullptr: nil, or a missing map key.
struct Ref {
  static constexpr size_t kAll = ~size_t{0};
  const Value* value = nullptr;
  size_t first = 0, count = kAll;  // of a list, after slice
  bool prints_json = false;        // Ollama's types whose String() is JSON: .Tools, .Arguments, .Properties ...

  const Value& get() const;        // the null value for nil
  bool is_nil() const { return value == nullptr || value->is_null(); }
  const ValueList* list() const { return value ? value->as_list() : nullptr; }
  const ValueMap* map() const { return value ? value->as_map() : nullptr; }
  size_t list_begin() const { return first; }
  size_t list_size() const;
};

class Executor {
 public:
  Executor(const Template& tree, const TemplateLimits& limits) : tree_(tree), limits_(limits) {}

  // Appends the rendering of data to out. stops_after_response: text after the node that prints .Response is left out.
  void run(const Value& data, bool stops_after_response, std::string& out);

  // For functions.
  [[noreturn]] void fail(const std::string& what) const;
  void step(int64_t n = 1);
  void charge_bytes(size_t n) { step(static_cast<int64_t>(n / 64) + 1); }
  void check_size(size_t n_bytes) const;
  Ref keep(Value value);  // a value that lives as long as this rendering

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  class Depth;

  Flow run_list(const NodeList& list, const Ref& dot);
  Flow run_node(const Node& n, const Ref& dot);
  Flow run_range(const Node& n, const Ref& dot);
  Flow run_once(const Node& n, const Ref& key, const Ref& item);
  void run_template(const Node& n, const Ref& dot);
  Ref eval_pipeline(const Pipeline& p, const Ref& dot, bool declares = true);
  Ref eval_command(const Command& c, const Ref& dot, const Ref* piped);
  Ref eval_operand(const Operand& o, const Ref& dot);
  Ref eval_and_or(const Command& c, const Ref& dot, const Ref* piped);
  Ref get_field(Ref from, const std::string& name) const;
  void write(std::string_view text);

  const Template& tree_;
  TemplateLimits limits_;
  std::string* out_ = nullptr;
  int line_ = 1;
  int64_t steps_ = 0;
  int depth_ = 0;
  int stop_after_ = -1;
  std::vector<std::pair<std::string, Ref>> variables_;
  std::deque<Value> kept_;
};

bool is_true(const Ref& r);

}  // namespace olx::engine::gotemplate
