// The expression half of the evaluator.

#include "engine/text/jinja/evaluator.h"
#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/tests.h"

namespace olx::engine::jinja {

Val Evaluator::eval(const Expr& e, Scope* scope) {
  Runtime::Depth depth(rt_);
  rt_.step();
  rt_.line = e.line;
  switch (e.kind) {
    case ExprKind::kConst:
      if (const bool* b = std::get_if<bool>(&e.literal)) return *b;
      if (const int64_t* i = std::get_if<int64_t>(&e.literal)) return *i;
      if (const double* d = std::get_if<double>(&e.literal)) return *d;
      if (const std::string* s = std::get_if<std::string>(&e.literal)) return *s;
      return Val();
    case ExprKind::kName: return eval_name(e, scope);
    case ExprKind::kTuple: return eval_list(e, scope, ListKind::kTuple);
    case ExprKind::kList: return eval_list(e, scope, ListKind::kList);
    case ExprKind::kDict: return eval_dict(e, scope);
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      Val v;
      for (const ExprPtr& child : e.children) {
        v = eval(*child, scope);
        if (is_true(v) == (e.kind == ExprKind::kOr)) break;
      }
      return v;
    }
    case ExprKind::kNot: return !is_true(eval(*e.children[0], scope));
    case ExprKind::kNegative:
    case ExprKind::kPositive: return eval_sign(e, scope);
    case ExprKind::kBinary: {
      const Val left = eval(*e.children[0], scope);
      const Val right = eval(*e.children[1], scope);
      rt_.line = e.line;
      return binary(rt_, e.text, left, right);
    }
    case ExprKind::kConcat: return eval_concat(e, scope);
    case ExprKind::kCompare: return eval_compare(e, scope);
    case ExprKind::kCondition:
      if (is_true(eval(*e.children[0], scope))) return eval(*e.children[1], scope);
      if (e.children[2]) return eval(*e.children[2], scope);
      return Undefined{"the inline if-expression evaluated to false and no else section was defined."};
    case ExprKind::kGetAttr: {
      const Val object = eval(*e.children[0], scope);
      rt_.line = e.line;
      return get_attribute(rt_, object, e.text);
    }
    case ExprKind::kGetItem: return eval_subscript(e, scope);
    case ExprKind::kSlice: rt_.fail("a slice is only allowed in a subscript");
    case ExprKind::kCall: return eval_call(e, scope);
    case ExprKind::kFilter: return eval_filter(e, scope, nullptr);
    case ExprKind::kTest: {
      const Val v = eval(*e.children[0], scope);
      Args args = eval_args(e.call.get(), scope);
      rt_.line = e.line;
      return apply_test(rt_, e.text, v, args);
    }
    case ExprKind::kNamespaceRef: rt_.fail("a namespace attribute can only be assigned to");
  }
  return Val();
}

Val Evaluator::eval_name(const Expr& e, Scope* scope) {
  if (const Val* found = scope->find(e.text)) return *found;
  return Undefined{"'" + e.text + "' is undefined"};
}

Val Evaluator::eval_list(const Expr& e, Scope* scope, ListKind kind) {
  std::vector<Val> items;
  items.reserve(e.children.size());
  for (const ExprPtr& child : e.children) items.push_back(eval(*child, scope));
  return rt_.new_list(std::move(items), kind);
}

Val Evaluator::eval_dict(const Expr& e, Scope* scope) {
  Dict* dict = rt_.new_dict();
  for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
    const Val key = eval(*e.children[i], scope);
    dict->set(rt_, key, eval(*e.children[i + 1], scope));
  }
  return dict;
}

Val Evaluator::eval_concat(const Expr& e, Scope* scope) {
  std::string text;
  for (const ExprPtr& child : e.children) {
    text += to_text(rt_, eval(*child, scope));
    rt_.check_size(static_cast<double>(text.size()));
  }
  rt_.charge_bytes(text.size());
  return text;
}

Val Evaluator::eval_sign(const Expr& e, Scope* scope) {
  const Val v = eval(*e.children[0], scope);
  const bool negative = e.kind == ExprKind::kNegative;
  if (v.undefined()) fail_undefined(rt_, v);
  if (!v.is_number())
    rt_.fail(std::string("bad operand type for unary ") + (negative ? "-" : "+") + ": '" + type_name(v) + "'");
  if (v.real()) return negative ? -*v.real() : *v.real();
  return binary(rt_, negative ? "-" : "+", Val(0), v);
}

Val Evaluator::eval_compare(const Expr& e, Scope* scope) {
  Val left = eval(*e.children[0], scope);
  for (size_t i = 0; i < e.names.size(); ++i) {
    const Val right = eval(*e.children[i + 1], scope);
    const std::string& op = e.names[i];
    rt_.line = e.line;
    bool holds = false;
    if (op == "==") {
      holds = equal(rt_, left, right);
    } else if (op == "!=") {
      holds = !equal(rt_, left, right);
    } else if (op == "in") {
      holds = contains(rt_, right, left);
    } else if (op == "not in") {
      holds = !contains(rt_, right, left);
    } else if (const int c = compare(rt_, left, right, op); c != 2) {
      holds = op == "<" ? c < 0 : op == "<=" ? c <= 0 : op == ">" ? c > 0 : c >= 0;
    }
    if (!holds) return false;
    left = right;
  }
  return true;
}

Val Evaluator::eval_subscript(const Expr& e, Scope* scope) {
  const Val object = eval(*e.children[0], scope);
  const Expr& index = *e.children[1];
  if (index.kind == ExprKind::kSlice) {
    const auto part = [&](size_t i) { return index.children[i] ? eval(*index.children[i], scope) : Val(); };
    const Val start = part(0), stop = part(1), step = part(2);
    rt_.line = e.line;
    return get_slice(rt_, object, start, stop, step);
  }
  const Val key = eval(index, scope);
  rt_.line = e.line;
  return get_item(rt_, object, key);
}

Val Evaluator::eval_call(const Expr& e, Scope* scope) {
  const Val callee = eval(*e.children[0], scope);
  Args args = eval_args(e.call.get(), scope);
  rt_.line = e.line;
  return call_value(rt_, callee, args);
}

Val Evaluator::eval_filter(const Expr& e, Scope* scope, const Val* piped) {
  Runtime::Depth depth(rt_);
  const Expr* inner = e.children[0].get();
  // In a filter block the innermost filter of the chain has no operand: the block's text is.
  const Val value = !inner                                   ? *piped
                    : inner->kind == ExprKind::kFilter       ? eval_filter(*inner, scope, piped)
                                                             : eval(*inner, scope);
  Args args = eval_args(e.call.get(), scope);
  rt_.step();
  rt_.line = e.line;
  return apply_filter(rt_, e.text, value, args);
}

Args Evaluator::eval_args(const CallArgs* call, Scope* scope) {
  Args args;
  if (!call) return args;
  for (const ExprPtr& e : call->positional) args.positional.push_back(eval(*e, scope));
  for (const auto& [name, e] : call->keyword) {
    for (const auto& [known, value] : args.keyword)
      if (known == name) rt_.fail("keyword argument repeated: " + name);
    args.keyword.emplace_back(name, eval(*e, scope));
  }
  if (call->star) {
    const Val v = eval(*call->star, scope);
    for (Val& item : iterate(rt_, v)) args.positional.push_back(std::move(item));
  }
  if (call->star_star) {
    const Val v = eval(*call->star_star, scope);
    if (!v.dict()) rt_.fail("argument after ** must be a mapping, not " + type_name(v));
    for (const auto& [key, value] : v.dict()->items) {
      if (!key.string()) rt_.fail("keywords must be strings");
      args.keyword.emplace_back(*key.string(), value);
    }
  }
  return args;
}

}  // namespace olx::engine::jinja
