#include "engine/text/jinja/tests.h"

#include <algorithm>

#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {
namespace {

using B = BoundArgs;

int64_t modulo(Runtime& rt, const Val& v, int64_t by) {
  const Val rest = binary(rt, "%", v, Val(by));
  if (rest.real()) return *rest.real() == 0 ? 0 : *rest.real() == 1 ? 1 : 2;
  return rest.integer() ? *rest.integer() : rest.boolean() ? *rest.boolean() : 2;
}

bool ordered(Runtime& rt, const Val& a, const Val& b, std::string_view op) {
  const int c = compare(rt, a, b, op);
  if (c == 2) return false;
  return op == "<" ? c < 0 : op == "<=" ? c <= 0 : op == ">" ? c > 0 : c >= 0;
}

bool is_sequence(const Val& v) {
  if (v.undefined()) return false;
  if (v.list()) return v.list()->is_indexable();
  return v.string() || (v.dict() && !v.dict()->is_namespace);
}

bool is_iterable(const Val& v) {
  return v.list() || v.string() || v.undefined() || (v.dict() && !v.dict()->is_namespace);
}

bool is_cased_as(Runtime& rt, const Val& v, bool upper) {
  const std::string text = to_text(rt, v);
  bool cased = false;
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i)) {
    const uint32_t code = char_code(text, i);
    if (upper ? is_lower_code(code) : is_upper_code(code)) return false;
    cased = cased || is_lower_code(code) || is_upper_code(code);
  }
  return cased;
}

bool same_object(const Val& a, const Val& b) {
  if (a.list() || b.list()) return a.list() == b.list();
  if (a.dict() || b.dict()) return a.dict() == b.dict();
  if (a.callable() || b.callable()) return a.callable() == b.callable();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.boolean() || b.boolean()) return a.boolean() && b.boolean() && *a.boolean() == *b.boolean();
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.integer() && b.integer()) return *a.integer() == *b.integer();
  if (a.real() && b.real()) return *a.real() == *b.real();
  return false;
}

constexpr TestRow kTests[] = {
    {"odd", "", [](Runtime& rt, const Val& v, B&) { return modulo(rt, v, 2) == 1; }},
    {"even", "", [](Runtime& rt, const Val& v, B&) { return modulo(rt, v, 2) == 0; }},
    {"divisibleby", "num", [](Runtime& rt, const Val& v, B& a) {
       return equal(rt, binary(rt, "%", v, a.at(0)), Val(0)); }},
    {"defined", "", [](Runtime&, const Val& v, B&) { return !v.undefined(); }},
    {"undefined", "", [](Runtime&, const Val& v, B&) { return v.undefined() != nullptr; }},
    {"filter", "", [](Runtime&, const Val& v, B&) { return v.string() && find_filter(*v.string()); }},
    {"test", "", [](Runtime&, const Val& v, B&) { return v.string() && find_test(*v.string()); }},
    {"none", "", [](Runtime&, const Val& v, B&) { return v.is_none(); }},
    {"boolean", "", [](Runtime&, const Val& v, B&) { return v.boolean() != nullptr; }},
    {"true", "", [](Runtime&, const Val& v, B&) { return v.boolean() && *v.boolean(); }},
    {"false", "", [](Runtime&, const Val& v, B&) { return v.boolean() && !*v.boolean(); }},
    {"integer", "", [](Runtime&, const Val& v, B&) { return v.integer() != nullptr; }},
    {"float", "", [](Runtime&, const Val& v, B&) { return v.real() != nullptr; }},
    {"number", "", [](Runtime&, const Val& v, B&) { return v.is_number(); }},
    {"string", "", [](Runtime&, const Val& v, B&) { return v.string() != nullptr; }},
    {"mapping", "", [](Runtime&, const Val& v, B&) { return v.dict() && !v.dict()->is_namespace; }},
    {"sequence", "", [](Runtime&, const Val& v, B&) { return is_sequence(v); }},
    {"iterable", "", [](Runtime&, const Val& v, B&) { return is_iterable(v); }},
    {"callable", "", [](Runtime&, const Val& v, B&) { return v.undefined() || (v.callable() && v.callable()->call); }},
    {"lower", "", [](Runtime& rt, const Val& v, B&) { return is_cased_as(rt, v, false); }},
    {"upper", "", [](Runtime& rt, const Val& v, B&) { return is_cased_as(rt, v, true); }},
    {"escaped", "", [](Runtime&, const Val& v, B&) { return v.is_markup(); }},
    {"sameas", "other", [](Runtime&, const Val& v, B& a) { return same_object(v, a.at(0)); }},
    {"in", "seq", [](Runtime& rt, const Val& v, B& a) { return contains(rt, a.at(0), v); }},
    {"==", "b", [](Runtime& rt, const Val& v, B& a) { return equal(rt, v, a.at(0)); }},
    {"eq", "b", [](Runtime& rt, const Val& v, B& a) { return equal(rt, v, a.at(0)); }},
    {"equalto", "b", [](Runtime& rt, const Val& v, B& a) { return equal(rt, v, a.at(0)); }},
    {"!=", "b", [](Runtime& rt, const Val& v, B& a) { return !equal(rt, v, a.at(0)); }},
    {"ne", "b", [](Runtime& rt, const Val& v, B& a) { return !equal(rt, v, a.at(0)); }},
    {">", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), ">"); }},
    {"gt", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), ">"); }},
    {"greaterthan", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), ">"); }},
    {">=", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), ">="); }},
    {"ge", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), ">="); }},
    {"<", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), "<"); }},
    {"lt", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), "<"); }},
    {"lessthan", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), "<"); }},
    {"<=", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), "<="); }},
    {"le", "b", [](Runtime& rt, const Val& v, B& a) { return ordered(rt, v, a.at(0), "<="); }},
};

}  // namespace

const TestRow* find_test(std::string_view name) {
  for (const TestRow& row : kTests)
    if (row.name == name) return &row;
  return nullptr;
}

bool apply_test(Runtime& rt, std::string_view name, const Val& value, Args& args) {
  const TestRow* row = find_test(name);
  if (!row) rt.fail("No test named '" + std::string(name) + "'");
  BoundArgs bound(rt, name, row->parameters, args);
  return row->run(rt, value, bound);
}

}  // namespace olx::engine::jinja
