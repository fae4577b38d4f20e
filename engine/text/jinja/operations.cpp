// Truth, equality, order, membership, iteration and arithmetic, as Python defines them for the types templates have.

#include <charconv>
#include <cmath>
#include <limits>

#include "engine/text/jinja/runtime.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {

void fail_undefined(const Runtime& rt, const Val& v) { rt.fail(v.undefined()->what); }

std::string type_name(const Val& v) {
  if (v.is_none()) return "NoneType";
  if (v.undefined()) return "Undefined";
  if (v.boolean()) return "bool";
  if (v.integer()) return "int";
  if (v.real()) return "float";
  if (v.string()) return v.is_markup() ? "Markup" : "str";
  if (v.dict()) return v.dict()->is_namespace ? "Namespace" : "dict";
  if (v.callable()) return "function";
  switch (v.list()->kind) {
    case ListKind::kList: return "list";
    case ListKind::kTuple: return "tuple";
    case ListKind::kRange: return "range";
    case ListKind::kView: return v.list()->name;
    case ListKind::kGenerator: return "generator";
  }
  return "object";
}

bool is_true(const Val& v) {
  if (v.is_none() || v.undefined()) return false;
  if (v.boolean()) return *v.boolean();
  if (v.integer()) return *v.integer() != 0;
  if (v.real()) return *v.real() != 0;
  if (v.string()) return !v.string()->empty();
  if (v.list()) return v.list()->kind == ListKind::kGenerator || !v.list()->items.empty();
  if (v.dict()) return v.dict()->is_namespace || !v.dict()->items.empty();
  return true;
}

namespace {

// Numbers, with bool as int. Integers stay exact.
struct Number {
  bool is_real = false;
  int64_t i = 0;
  double d = 0;
  double as_real() const { return is_real ? d : static_cast<double>(i); }
};

bool get_number(const Val& v, Number& n) {
  if (v.real()) n = {true, 0, *v.real()};
  else if (v.integer()) n = {false, *v.integer(), 0};
  else if (v.boolean()) n = {false, *v.boolean(), 0};
  else return false;
  return true;
}

int compare_numbers(const Number& a, const Number& b) {
  if (!a.is_real && !b.is_real) return a.i < b.i ? -1 : a.i > b.i;
  const double x = a.as_real(), y = b.as_real();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

}  // namespace

bool equal(Runtime& rt, const Val& a, const Val& b) {
  rt.step();
  Number x, y;
  if (get_number(a, x) && get_number(b, y)) return compare_numbers(x, y) == 0;
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.undefined() || b.undefined()) return a.undefined() && b.undefined();
  if (a.list() && b.list()) {
    if (a.list() == b.list()) return true;
    if (a.list()->kind != b.list()->kind || a.list()->kind == ListKind::kGenerator) return false;
    const auto& p = a.list()->items;
    const auto& q = b.list()->items;
    if (p.size() != q.size()) return false;
    Runtime::Depth depth(rt);
    for (size_t i = 0; i < p.size(); ++i)
      if (!equal(rt, p[i], q[i])) return false;
    return true;
  }
  if (a.dict() && b.dict()) {
    if (a.dict() == b.dict()) return true;
    if (a.dict()->is_namespace || b.dict()->is_namespace) return false;
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    Runtime::Depth depth(rt);
    for (const auto& [key, value] : a.dict()->items) {
      const Val* other = b.dict()->find(rt, key);
      if (!other || !equal(rt, value, *other)) return false;
    }
    return true;
  }
  return a.callable() && a.callable() == b.callable();
}

int compare(Runtime& rt, const Val& a, const Val& b, std::string_view op) {
  rt.step();
  Number x, y;
  if (get_number(a, x) && get_number(b, y)) return compare_numbers(x, y);
  if (a.string() && b.string()) {
    const int c = a.string()->compare(*b.string());
    return c < 0 ? -1 : c > 0;
  }
  if (a.list() && b.list() && a.list()->kind == b.list()->kind && a.list()->kind <= ListKind::kTuple) {
    Runtime::Depth depth(rt);
    const auto& p = a.list()->items;
    const auto& q = b.list()->items;
    for (size_t i = 0; i < p.size() && i < q.size(); ++i)
      if (!equal(rt, p[i], q[i])) return compare(rt, p[i], q[i], op);
    return p.size() < q.size() ? -1 : p.size() > q.size();
  }
  if (a.undefined()) fail_undefined(rt, a);
  if (b.undefined()) fail_undefined(rt, b);
  rt.fail("'" + std::string(op) + "' not supported between instances of '" + type_name(a) + "' and '" +
          type_name(b) + "'");
}

std::string hash_key(Runtime& rt, const Val& v) {
  if (v.string()) return "s" + *v.string();
  if (v.is_none()) return "n";
  Number n;
  if (get_number(v, n)) {
    if (n.is_real && n.d == std::floor(n.d) && std::fabs(n.d) < 9e18) n = {false, static_cast<int64_t>(n.d), 0};
    return n.is_real ? "f" + real_text(n.d) : "i" + std::to_string(n.i);
  }
  if (v.list() && v.list()->kind == ListKind::kTuple) {
    Runtime::Depth depth(rt);
    std::string key = "t";
    for (const Val& item : v.list()->items) {
      const std::string part = hash_key(rt, item);
      key += std::to_string(part.size()) + ":" + part;
      rt.charge_bytes(key.size());
    }
    return key;
  }
  if (v.undefined()) return "u";
  if (v.callable()) return "c" + std::to_string(reinterpret_cast<uintptr_t>(v.callable()));
  rt.fail("unhashable type: '" + type_name(v) + "'");
}

bool contains(Runtime& rt, const Val& container, const Val& item) {
  if (container.undefined()) return false;
  if (container.string()) {
    if (item.undefined()) fail_undefined(rt, item);
    if (!item.string()) rt.fail("'in <string>' requires string as left operand, not " + type_name(item));
    rt.charge_bytes(container.string()->size());
    return container.string()->find(*item.string()) != std::string::npos;
  }
  if (container.dict() && !container.dict()->is_namespace) return container.dict()->find(rt, item) != nullptr;
  if (container.list()) {
    for (const Val& v : iterate(rt, container))
      if (equal(rt, v, item)) return true;
    return false;
  }
  rt.fail("argument of type '" + type_name(container) + "' is not iterable");
}

std::vector<Val> iterate(Runtime& rt, const Val& v) {
  if (v.undefined()) return {};
  if (List* list = v.list()) {
    rt.charge_items(list->items.size());
    if (list->kind == ListKind::kGenerator) return std::exchange(list->items, {});
    return list->items;
  }
  std::vector<Val> items;
  if (v.string()) {
    rt.charge_items(v.string()->size());
    for (std::string_view c : split_chars(*v.string())) items.emplace_back(c);
    return items;
  }
  if (v.dict() && !v.dict()->is_namespace) {
    rt.charge_items(v.dict()->items.size());
    for (const auto& [key, value] : v.dict()->items) items.push_back(key);
    return items;
  }
  rt.fail("'" + type_name(v) + "' object is not iterable");
}

size_t length(Runtime& rt, const Val& v) {
  if (v.undefined()) return 0;
  if (v.string()) {
    rt.charge_bytes(v.string()->size());
    return count_chars(*v.string());
  }
  if (v.list() && v.list()->kind != ListKind::kGenerator) return v.list()->items.size();
  if (v.dict() && !v.dict()->is_namespace) return v.dict()->items.size();
  rt.fail("object of type '" + type_name(v) + "' has no len()");
}

namespace {

[[noreturn]] void fail_operands(Runtime& rt, std::string_view op, const Val& a, const Val& b) {
  if (a.undefined()) fail_undefined(rt, a);
  if (b.undefined()) fail_undefined(rt, b);
  rt.fail("unsupported operand type(s) for " + std::string(op) + ": '" + type_name(a) + "' and '" +
          type_name(b) + "'");
}

[[noreturn]] void fail_range(Runtime& rt) { rt.unsupported("an integer beyond 64 bits is not supported"); }

Val power(Runtime& rt, const Number& a, const Number& b) {
  if (a.is_real || b.is_real || b.i < 0) {
    if (a.as_real() == 0 && b.as_real() < 0) rt.fail("0.0 cannot be raised to a negative power");
    if (a.as_real() < 0 && b.as_real() != std::floor(b.as_real()))
      rt.unsupported("complex numbers are not supported");
    return std::pow(a.as_real(), b.as_real());
  }
  int64_t result = 1, base = a.i;
  for (int64_t left = b.i; left > 0; left >>= 1) {
    if ((left & 1) && __builtin_mul_overflow(result, base, &result)) fail_range(rt);
    if (left > 1 && __builtin_mul_overflow(base, base, &base)) fail_range(rt);
  }
  return result;
}

Val divide(Runtime& rt, char op, const Number& a, const Number& b) {
  if (b.as_real() == 0) rt.fail(a.is_real || b.is_real ? "float division by zero" : "division by zero");
  if (op == '/') return a.as_real() / b.as_real();
  if (a.is_real || b.is_real) {
    const double x = a.as_real(), y = b.as_real();
    double rest = std::fmod(x, y);
    double quotient = (x - rest) / y;
    if (rest != 0) {
      if ((y < 0) != (rest < 0)) {
        rest += y;
        quotient -= 1;
      }
    } else {
      rest = std::copysign(0.0, y);
    }
    if (op == '%') return rest;
    if (quotient == 0) return std::copysign(0.0, x / y);
    const double floored = std::floor(quotient);
    return quotient - floored > 0.5 ? floored + 1 : floored;
  }
  if (b.i == -1) {
    if (op == '%') return 0;
    if (a.i == std::numeric_limits<int64_t>::min()) fail_range(rt);
    return -a.i;
  }
  const int64_t rest = a.i % b.i;
  const bool below = rest != 0 && (rest < 0) != (b.i < 0);
  if (op == '%') return below ? rest + b.i : rest;
  return a.i / b.i - (below ? 1 : 0);
}

Val arithmetic(Runtime& rt, std::string_view op, const Number& a, const Number& b) {
  if (op == "**") return power(rt, a, b);
  if (op == "/" || op == "//" || op == "%") return divide(rt, op == "//" ? 'f' : op[0], a, b);
  if (a.is_real || b.is_real) {
    const double x = a.as_real(), y = b.as_real();
    return op == "+" ? x + y : op == "-" ? x - y : x * y;
  }
  int64_t result = 0;
  const bool overflow = op == "+"   ? __builtin_add_overflow(a.i, b.i, &result)
                        : op == "-" ? __builtin_sub_overflow(a.i, b.i, &result)
                                    : __builtin_mul_overflow(a.i, b.i, &result);
  if (overflow) fail_range(rt);
  return result;
}

Val repeat(Runtime& rt, const Val& sequence, int64_t times) {
  if (times < 0) times = 0;
  if (sequence.string()) {
    const std::string& unit = *sequence.string();
    rt.check_size(static_cast<double>(unit.size()) * static_cast<double>(times));
    rt.charge_bytes(unit.size() * static_cast<size_t>(unit.empty() ? 0 : times));
    std::string out;
    if (!unit.empty())
      for (int64_t i = 0; i < times; ++i) out += unit;
    return Str{std::make_shared<const std::string>(std::move(out)), sequence.is_markup()};
  }
  const List& list = *sequence.list();
  const double total = static_cast<double>(list.items.size()) * static_cast<double>(times);
  rt.step(total > 1e15 ? int64_t{1} << 50 : static_cast<int64_t>(total));
  std::vector<Val> items;
  if (!list.items.empty())
    for (int64_t i = 0; i < times; ++i) items.insert(items.end(), list.items.begin(), list.items.end());
  return rt.new_list(std::move(items), list.kind);
}

bool is_repeatable(const Val& v) { return v.string() || (v.list() && v.list()->kind <= ListKind::kTuple); }

Val add_strings(Runtime& rt, const Val& a, const Val& b) {
  const bool is_markup = a.is_markup() || b.is_markup();
  const auto part = [&](const Val& v) {
    return is_markup && !v.is_markup() ? escape_html(*v.string()) : *v.string();
  };
  std::string out = part(a) + part(b);
  rt.charge_bytes(out.size());
  rt.check_size(static_cast<double>(out.size()));
  return Str{std::make_shared<const std::string>(std::move(out)), is_markup};
}

}  // namespace

Val binary(Runtime& rt, std::string_view op, const Val& a, const Val& b) {
  if (op == "%" && a.string()) return percent_format(rt, *a.string(), b);
  Number x, y;
  const bool a_is_number = get_number(a, x), b_is_number = get_number(b, y);
  if (a_is_number && b_is_number) return arithmetic(rt, op, x, y);
  if (op == "+") {
    if (a.string() && b.string()) return add_strings(rt, a, b);
    if (a.list() && b.list() && a.list()->kind == b.list()->kind && a.list()->kind <= ListKind::kTuple) {
      std::vector<Val> items = a.list()->items;
      items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
      return rt.new_list(std::move(items), a.list()->kind);
    }
  }
  if (op == "*") {
    if (is_repeatable(a) && b_is_number && !y.is_real) return repeat(rt, a, y.i);
    if (is_repeatable(b) && a_is_number && !x.is_real) return repeat(rt, b, x.i);
  }
  fail_operands(rt, op, a, b);
}

}  // namespace olx::engine::jinja
