#include "engine/text/jinja/evaluator.h"

#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/globals.h"
#include "engine/text/jinja/loop.h"
#include "engine/text/jinja/tests.h"

namespace olx::engine::jinja {

const Val* Scope::find_here(std::string_view name) const {
  for (const auto& [known, value] : names)
    if (known == name) return &value;
  return nullptr;
}

const Val* Scope::find(std::string_view name) const {
  for (const Scope* s = this; s; s = s->parent)
    if (const Val* found = s->find_here(name)) return found;
  return nullptr;
}

void Scope::set(std::string_view name, Val value) {
  for (auto& [known, old] : names) {
    if (known != name) continue;
    old = std::move(value);
    return;
  }
  names.emplace_back(std::string(name), std::move(value));
}

Scope* Evaluator::new_scope(Scope* parent) {
  rt_.step();
  return &scopes_.emplace_back(Scope{parent, {}});
}

void Evaluator::write(std::string_view text) {
  rt_.charge_bytes(text.size());
  rt_.check_size(static_cast<double>(out_->size() + text.size()));
  out_->append(text);
}

void Evaluator::run(const Template& tree, const Value& variables) {
  Scope* globals = new_scope(nullptr);
  add_globals(rt_, [&](std::string_view name, Val v) { globals->set(name, std::move(v)); });
  Scope* context = new_scope(globals);
  if (const ValueMap* map = variables.as_map())
    for (const auto& [name, value] : *map) context->set(name, from_value(rt_, value));
  run_body(tree.body, new_scope(context));
}

Evaluator::Flow Evaluator::run_body(const Body& body, Scope* scope) {
  for (const auto& s : body) {
    const Flow flow = run_stmt(*s, scope);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

std::string Evaluator::capture(const Body& body, Scope* scope) {
  std::string text;
  std::string* outer = std::exchange(out_, &text);
  try {
    run_body(body, scope);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  return text;
}

Evaluator::Flow Evaluator::run_stmt(const Stmt& s, Scope* scope) {
  Runtime::Depth depth(rt_);
  rt_.step();
  rt_.line = s.line;
  switch (s.kind) {
    case StmtKind::kText: write(s.text); break;
    case StmtKind::kOutput: write(to_text(rt_, eval(*s.expr, scope))); break;
    case StmtKind::kIf: return run_if(s, scope);
    case StmtKind::kFor: run_for(s, scope); break;
    case StmtKind::kSet: assign(*s.target, eval(*s.expr, scope), scope); break;
    case StmtKind::kSetBlock: {
      Val text(capture(s.body, new_scope(scope)));
      if (s.expr) text = eval_filter(*s.expr, scope, &text);
      assign(*s.target, text, scope);
      break;
    }
    case StmtKind::kWith: run_with(s, scope); break;
    case StmtKind::kMacro: scope->set(s.text, make_macro(s, scope, s.text)); break;
    case StmtKind::kCallBlock: run_call_block(s, scope); break;
    case StmtKind::kFilterBlock: {
      const Val text(capture(s.body, new_scope(scope)));
      write(to_text(rt_, eval_filter(*s.expr, scope, &text)));
      break;
    }
    case StmtKind::kScope: return run_body(s.body, new_scope(scope));
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNormal;
}

Evaluator::Flow Evaluator::run_if(const Stmt& s, Scope* scope) {
  for (const Branch& branch : s.branches)
    if (!branch.test || is_true(eval(*branch.test, scope))) return run_body(branch.body, scope);
  return Flow::kNormal;
}

void Evaluator::run_for(const Stmt& s, Scope* scope) {
  run_loop(s, scope, eval(*s.expr, scope), 0);
}

void Evaluator::run_loop(const Stmt& s, Scope* scope, const Val& iterable, int depth) {
  Runtime::Depth guard(rt_);
  std::vector<Val> items = iterate(rt_, iterable);
  if (s.test) {
    std::vector<Val> kept;
    for (Val& item : items) {
      Scope* trial = new_scope(scope);
      assign(*s.target, item, trial);
      if (is_true(eval(*s.test, trial))) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    run_body(s.else_body, new_scope(scope));
    return;
  }
  LoopState* state = &loops_.emplace_back();
  state->items = std::move(items);
  state->depth0 = depth;
  if (s.is_recursive)
    state->recurse = [this, &s, scope, depth](const Val& children) {
      std::string text;
      std::string* outer = std::exchange(out_, &text);
      try {
        run_loop(s, scope, children, depth + 1);
      } catch (...) {
        out_ = outer;
        throw;
      }
      out_ = outer;
      return text;
    };
  const Val loop = make_loop_value(rt_, state);
  for (state->index = 0; state->index < state->items.size(); ++state->index) {
    Scope* inner = new_scope(scope);
    inner->set("loop", loop);
    assign(*s.target, state->items[state->index], inner);
    if (run_body(s.body, inner) == Flow::kBreak) break;
  }
}

void Evaluator::run_with(const Stmt& s, Scope* scope) {
  Scope* inner = new_scope(scope);
  std::vector<Val> values;
  for (const auto& [target, value] : s.assignments) values.push_back(eval(*value, scope));
  for (size_t i = 0; i < values.size(); ++i) assign(*s.assignments[i].first, values[i], inner);
  run_body(s.body, inner);
}

void Evaluator::run_call_block(const Stmt& s, Scope* scope) {
  const Val callee = eval(*s.expr->children[0], scope);
  Args args = eval_args(s.expr->call.get(), scope);
  args.keyword.emplace_back("caller", make_macro(s, scope, "caller"));
  write(to_text(rt_, call_value(rt_, callee, args)));
}

Val Evaluator::make_macro(const Stmt& s, Scope* scope, std::string name) {
  Callable* macro = rt_.new_callable("Macro '" + name + "'", {});
  macro->call = [this, &s, scope, name](Runtime&, Args& args) { return call_macro(s, scope, name, args); };
  macro->get = [&s, name](Runtime& rt, std::string_view attribute, Val& out) {
    if (attribute == "name") {
      out = Val(name);
    } else if (attribute == "arguments") {
      std::vector<Val> names;
      for (const Parameter& p : s.parameters) names.emplace_back(p.name);
      out = Val(rt.new_list(std::move(names), ListKind::kTuple));
    } else if (attribute == "caller" || attribute == "catch_varargs" || attribute == "catch_kwargs") {
      out = Val(attribute == "caller" ? s.uses_caller : attribute == "catch_varargs" ? s.uses_varargs : s.uses_kwargs);
    } else {
      return false;
    }
    return true;
  };
  return Val(macro);
}

Val Evaluator::call_macro(const Stmt& s, Scope* scope, const std::string& name, Args& args) {
  Runtime::Depth depth(rt_);
  const int line = rt_.line;
  Scope* inner = new_scope(scope);
  std::vector<const Val*> given(s.parameters.size(), nullptr);
  for (size_t i = 0; i < given.size() && i < args.positional.size(); ++i) given[i] = &args.positional[i];
  const Val* caller = nullptr;
  Dict* extra = s.uses_kwargs ? rt_.new_dict() : nullptr;
  for (const auto& [key, value] : args.keyword) {
    size_t i = 0;
    while (i < given.size() && s.parameters[i].name != key) ++i;
    if (i < given.size()) {
      if (given[i]) rt_.fail("macro '" + name + "' got multiple values for argument '" + key + "'");
      given[i] = &value;
    } else if (key == "caller" && s.uses_caller) {
      caller = &value;
    } else if (extra) {
      extra->set(rt_, Val(key), value);
    } else {
      rt_.fail("macro '" + name + "' takes no keyword argument '" + key + "'");
    }
  }
  if (args.positional.size() > given.size() && !s.uses_varargs)
    rt_.fail("macro '" + name + "' takes not more than " + std::to_string(given.size()) + " argument(s)");
  for (size_t i = 0; i < given.size(); ++i) {
    const Parameter& p = s.parameters[i];
    if (given[i]) inner->set(p.name, *given[i]);
    else if (p.default_value) inner->set(p.name, eval(*p.default_value, inner));
    else inner->set(p.name, Undefined{"parameter '" + p.name + "' was not provided"});
  }
  if (s.uses_caller && given.size() == s.parameters.size() && !inner->find_here("caller"))
    inner->set("caller", caller ? *caller : Val(Undefined{"No caller defined"}));
  if (s.uses_varargs) {
    std::vector<Val> rest;
    for (size_t i = given.size(); i < args.positional.size(); ++i) rest.push_back(args.positional[i]);
    inner->set("varargs", Val(rt_.new_list(std::move(rest), ListKind::kTuple)));
  }
  if (extra) inner->set("kwargs", Val(extra));
  Val result(capture(s.body, inner));
  rt_.line = line;
  return result;
}

void Evaluator::assign(const Expr& target, const Val& value, Scope* scope) {
  if (target.kind == ExprKind::kName) {
    scope->set(target.text, value);
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) {
    const Val* ns = scope->find(target.text);
    if (!ns || !ns->dict() || !ns->dict()->is_namespace)
      rt_.fail("cannot assign attribute on non-namespace object '" + target.text + "'");
    ns->dict()->set(rt_, Val(target.names[0]), value);
    return;
  }
  if (value.undefined()) fail_undefined(rt_, value);
  const std::vector<Val> parts = iterate(rt_, value);
  if (parts.size() != target.children.size())
    rt_.fail(parts.size() < target.children.size()
                 ? "not enough values to unpack (expected " + std::to_string(target.children.size()) +
                       ", got " + std::to_string(parts.size()) + ")"
                 : "too many values to unpack (expected " + std::to_string(target.children.size()) + ")");
  Runtime::Depth depth(rt_);
  for (size_t i = 0; i < parts.size(); ++i) assign(*target.children[i], parts[i], scope);
}

}  // namespace olx::engine::jinja
