#include "engine/text/gotemplate/executor.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/text/gotemplate/functions.h"

namespace olx::engine::gotemplate {

const Value& Ref::get() const {
  static const Value kNull;
  return value ? *value : kNull;
}

size_t Ref::list_size() const {
  const size_t whole = list() ? list()->size() - std::min(first, list()->size()) : 0;
  return std::min(whole, count);
}

bool is_true(const Ref& r) {
  if (r.is_nil()) return false;
  const Value& v = *r.value;
  if (v.as_bool()) return *v.as_bool();
  if (v.as_int()) return *v.as_int() != 0;
  if (v.as_double()) return *v.as_double() != 0;
  if (v.as_string()) return !v.as_string()->empty();
  if (v.as_list()) return r.list_size() > 0;
  return !v.as_map()->empty();
}

class Executor::Depth {
 public:
  explicit Depth(Executor& ex) : ex_(ex) {
    // As in the Jinja interpreter: several frames a level of source.
    if (++ex_.depth_ > ex_.limits_.max_depth * 8) {
      --ex_.depth_;
      ex_.fail("recursion deeper than the limit of " + std::to_string(ex_.limits_.max_depth * 8));
    }
  }
  ~Depth() { --ex_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Executor& ex_;
};

void Executor::fail(const std::string& what) const {
  throw EngineError(ErrorCode::kInvalidRequest, "template line " + std::to_string(line_) + ": " + what);
}

void Executor::step(int64_t n) {
  steps_ += n;
  if (steps_ > limits_.max_steps) fail("more steps than the limit of " + std::to_string(limits_.max_steps));
}

void Executor::check_size(size_t n_bytes) const {
  if (static_cast<int64_t>(n_bytes) > limits_.max_output_bytes)
    fail("output longer than the limit of " + std::to_string(limits_.max_output_bytes) + " bytes");
}

Ref Executor::keep(Value value) {
  step();
  return Ref{&kept_.emplace_back(std::move(value))};
}

void Executor::write(std::string_view text) {
  charge_bytes(text.size());
  check_size(out_->size() + text.size());
  out_->append(text);
}

void Executor::run(const Value& data, bool stops_after_response, std::string& out) {
  out_ = &out;
  stop_after_ = stops_after_response ? tree_.response_order : -1;
  const Ref dot{&data};
  variables_ = {{"$", dot}};
  run_list(tree_.root, dot);
}

Executor::Flow Executor::run_list(const NodeList& list, const Ref& dot) {
  for (const auto& n : list) {
    if (stop_after_ >= 0 && n->order > stop_after_) continue;
    const Flow flow = run_node(*n, dot);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Executor::Flow Executor::run_node(const Node& n, const Ref& dot) {
  Depth depth(*this);
  step();
  line_ = n.line;
  const size_t n_variables = variables_.size();
  Flow flow = Flow::kNormal;
  switch (n.kind) {
    case NodeKind::kText: write(n.text); return flow;
    case NodeKind::kBreak: return Flow::kBreak;
    case NodeKind::kContinue: return Flow::kContinue;
    case NodeKind::kTemplate: run_template(n, dot); return flow;
    case NodeKind::kAction: {
      const Ref value = eval_pipeline(*n.pipeline, dot);
      if (n.pipeline->variables.empty()) write(value.is_nil() ? "<no value>" : print_value(*this, value));
      return flow;  // what it declared lives on in this list
    }
    case NodeKind::kIf:
    case NodeKind::kWith: {
      const Ref value = eval_pipeline(*n.pipeline, dot);
      const Ref inner = n.kind == NodeKind::kWith && is_true(value) ? value : dot;
      flow = run_list(is_true(value) ? n.body : n.else_body, inner);
      break;
    }
    case NodeKind::kRange: flow = run_range(n, dot); break;
  }
  variables_.resize(n_variables);
  return flow;
}

Executor::Flow Executor::run_once(const Node& n, const Ref& key, const Ref& item) {
  step();
  const Pipeline& p = *n.pipeline;
  const size_t n_variables = variables_.size();
  // One variable is the element, two are key and element.
  for (size_t i = 0; i < p.variables.size(); ++i) {
    const Ref& value = i + 1 == p.variables.size() ? item : key;
    if (!p.is_assignment) {
      variables_.emplace_back(p.variables[i], value);
      continue;
    }
    for (size_t k = variables_.size(); k-- > 0;)
      if (variables_[k].first == p.variables[i]) {
        variables_[k].second = value;
        break;
      }
  }
  const Flow flow = run_list(n.body, item);
  variables_.resize(n_variables);
  return flow;
}

Executor::Flow Executor::run_range(const Node& n, const Ref& dot) {
  const Ref over = eval_pipeline(*n.pipeline, dot, false);
  line_ = n.line;
  bool any = false;
  const auto visit = [&](const Ref& key, const Ref& item) {
    any = true;
    return run_once(n, key, item) != Flow::kBreak;
  };
  if (over.is_nil()) {
  } else if (over.list()) {
    for (size_t i = 0; i < over.list_size(); ++i) {
      Ref item{&(*over.list())[over.list_begin() + i]};
      item.prints_json = over.prints_json;
      const Ref key = n.pipeline->variables.size() == 2 ? keep(Value(static_cast<int64_t>(i))) : Ref{};
      if (!visit(key, item)) break;
    }
  } else if (over.map()) {
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : *over.map()) entries.push_back(&entry);
    step(static_cast<int64_t>(entries.size()));
    std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    for (const auto* entry : entries) {
      const Ref key = n.pipeline->variables.size() == 2 ? keep(Value(entry->first)) : Ref{};
      if (!visit(key, Ref{&entry->second})) break;
    }
  } else if (const int64_t* count = over.value->as_int()) {
    for (int64_t i = 0; i < *count; ++i)
      if (const Ref number = keep(Value(i)); !visit(number, number)) break;
  } else {
    fail("range can't iterate over " + print_value(*this, over));
  }
  return any ? Flow::kNormal : run_list(n.else_body, dot);
}

void Executor::run_template(const Node& n, const Ref& dot) {
  const auto found = tree_.defined.find(n.text);
  if (found == tree_.defined.end()) fail("template \"" + n.text + "\" not defined");
  const Ref inner = n.pipeline ? eval_pipeline(*n.pipeline, dot) : Ref{};
  std::vector<std::pair<std::string, Ref>> outer = {{"$", inner}};
  outer.swap(variables_);
  const int stop = std::exchange(stop_after_, -1);
  run_list(found->second, inner);
  stop_after_ = stop;
  variables_.swap(outer);
}

Ref Executor::eval_pipeline(const Pipeline& p, const Ref& dot, bool declares) {
  Depth depth(*this);
  step();
  Ref value;
  for (size_t i = 0; i < p.commands.size(); ++i) {
    line_ = p.line;
    const Ref piped = value;
    value = eval_command(p.commands[i], dot, i > 0 ? &piped : nullptr);
  }
  if (!declares) return value;
  for (const std::string& name : p.variables) {
    if (!p.is_assignment) {
      variables_.emplace_back(name, value);
      continue;
    }
    for (size_t k = variables_.size(); k-- > 0;)
      if (variables_[k].first == name) {
        variables_[k].second = value;
        break;
      }
  }
  return value;
}

Ref Executor::eval_command(const Command& c, const Ref& dot, const Ref* piped) {
  const Operand& head = c.operands[0];
  if (head.kind != OperandKind::kFunction) {
    if (piped) fail("can't give argument to non-function");
    return eval_operand(head, dot);
  }
  const FunctionRow* row = find_function(head.text);
  if (!row->call) return eval_and_or(c, dot, piped);
  std::vector<Ref> args;
  for (size_t i = 1; i < c.operands.size(); ++i) args.push_back(eval_operand(c.operands[i], dot));
  if (piped) args.push_back(*piped);
  if (args.size() < row->min_args || args.size() > row->max_args)
    fail("wrong number of args for " + head.text + ": got " + std::to_string(args.size()));
  step(static_cast<int64_t>(args.size()));
  return row->call(*this, args);
}

Ref Executor::eval_and_or(const Command& c, const Ref& dot, const Ref* piped) {
  const bool is_or = c.operands[0].text == "or";
  if (c.operands.size() == 1 && !piped) fail("wrong number of args for " + c.operands[0].text);
  Ref value;
  for (size_t i = 1; i < c.operands.size(); ++i) {
    value = eval_operand(c.operands[i], dot);
    if (is_true(value) == is_or) return value;
  }
  return piped ? *piped : value;
}

Ref Executor::eval_operand(const Operand& o, const Ref& dot) {
  Depth depth(*this);
  step();
  Ref value;
  switch (o.kind) {
    case OperandKind::kLiteral: return o.literal.is_null() ? Ref{} : Ref{&o.literal};
    case OperandKind::kDot: value = dot; break;
    case OperandKind::kVariable:
      for (size_t k = variables_.size(); k-- > 0;)
        if (variables_[k].first == o.text) {
          value = variables_[k].second;
          break;
        }
      break;
    case OperandKind::kPipeline: value = eval_pipeline(*o.pipeline, dot); break;
    case OperandKind::kFunction: {
      const FunctionRow* row = find_function(o.text);
      if (!row->call || row->min_args > 0) fail("wrong number of args for " + o.text + ": got 0");
      std::vector<Ref> none;
      return row->call(*this, none);
    }
  }
  for (size_t i = 0; i < o.fields.size(); ++i) {
    line_ = o.line;
    if (i > 0 && value.is_nil()) fail("nil pointer evaluating interface {}." + o.fields[i]);
    value = get_field(value, o.fields[i]);
  }
  return value;
}

// ".ToolCalls" also finds "tool_calls" or "toolCalls", ".Defs" finds "$defs": data that comes as JSON has those names where
// Ollama's structures have the former.
static const Value* find_spelling(const Value& map, const std::string& name) {
  if (const Value* found = map.find(name)) return found;
  std::string snake, camel = name;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool is_upper = name[i] >= 'A' && name[i] <= 'Z';
    const bool after_lower = i > 0 && !(name[i - 1] >= 'A' && name[i - 1] <= 'Z');
    if (is_upper && after_lower) snake += '_';
    snake += is_upper ? static_cast<char>(name[i] | 0x20) : name[i];
  }
  if (!camel.empty() && camel[0] >= 'A' && camel[0] <= 'Z') camel[0] = static_cast<char>(camel[0] | 0x20);
  for (const std::string& spelling : {snake, camel, "$" + snake})
    if (const Value* found = map.find(spelling)) return found;
  return nullptr;
}

Ref Executor::get_field(Ref from, const std::string& name) const {
  if (from.is_nil()) return {};
  if (!from.map()) fail("can't evaluate field " + name + " in a value that is not a map");
  Ref value{find_spelling(*from.value, name)};
  for (const char* json : {"Tools", "Function", "Parameters", "Properties", "Arguments"})
    if (name == json) value.prints_json = true;
  return value;
}

}  // namespace olx::engine::gotemplate
