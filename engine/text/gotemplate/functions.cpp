#include "engine/text/gotemplate/functions.h"

#include <algorithm>
#include <ctime>

#include "gguf/ascii.h"

namespace olx::engine::gotemplate {
namespace {

constexpr size_t kAny = 1000;
using Args = std::vector<Ref>;

std::string kind_name(const Ref& r) {
  if (r.is_nil()) return "nil";
  const Value& v = *r.value;
  return v.as_bool() ? "bool" : v.as_int() ? "int" : v.as_double() ? "float64" : v.as_string() ? "string" : v.as_list() ? "slice" : "map";
}

bool as_number(const Ref& r, double& d) {
  if (r.is_nil()) return false;
  if (r.value->as_int()) d = static_cast<double>(*r.value->as_int());
  else if (r.value->as_double()) d = *r.value->as_double();
  else return false;
  return true;
}

bool equal(Executor& ex, const Ref& a, const Ref& b) {
  if (a.is_nil() || b.is_nil()) return a.is_nil() && b.is_nil();
  if (a.value->as_int() && b.value->as_int()) return *a.value->as_int() == *b.value->as_int();
  double x = 0, y = 0;
  if (as_number(a, x) && as_number(b, y)) return x == y;
  if (a.list() || b.list() || a.map() || b.map()) ex.fail("non-comparable types " + kind_name(a) + ", " + kind_name(b));
  if (a.value->as_string() && b.value->as_string()) {
    ex.charge_bytes(a.value->as_string()->size());
    return *a.value->as_string() == *b.value->as_string();
  }
  if (a.value->as_bool() && b.value->as_bool()) return *a.value->as_bool() == *b.value->as_bool();
  ex.fail("incompatible types for comparison: " + kind_name(a) + " and " + kind_name(b));
}

int compare(Executor& ex, const Ref& a, const Ref& b) {
  double x = 0, y = 0;
  if (!a.is_nil() && !b.is_nil() && a.value->as_string() && b.value->as_string()) {
    const int c = a.value->as_string()->compare(*b.value->as_string());
    return c < 0 ? -1 : c > 0;
  }
  if (!as_number(a, x) || !as_number(b, y))
    ex.fail("incompatible types for comparison: " + kind_name(a) + " and " + kind_name(b));
  return x < y ? -1 : x > y;
}

Ref eq(Executor& ex, Args& a) {
  for (size_t i = 1; i < a.size(); ++i)
    if (equal(ex, a[0], a[i])) return ex.keep(Value(true));
  return ex.keep(Value(false));
}

Ref length(Executor& ex, Args& a) {
  const Ref& r = a[0];
  if (r.list()) return ex.keep(Value(static_cast<int64_t>(r.list_size())));
  if (r.map()) return ex.keep(Value(static_cast<int64_t>(r.map()->size())));
  if (!r.is_nil() && r.value->as_string()) return ex.keep(Value(static_cast<int64_t>(r.value->as_string()->size())));
  ex.fail("len of " + (r.is_nil() ? "nil pointer" : "type " + kind_name(r)));
}

size_t position(Executor& ex, const Ref& r, size_t limit) {
  const int64_t* i = r.is_nil() ? nullptr : r.value->as_int();
  const double* d = r.is_nil() ? nullptr : r.value->as_double();
  if (!i && !(d && *d == static_cast<double>(static_cast<int64_t>(std::clamp(*d, -1e15, 1e15)))))
    ex.fail("cannot index slice/array with type " + kind_name(r));
  const int64_t at = i ? *i : static_cast<int64_t>(*d);
  if (at < 0 || static_cast<uint64_t>(at) > limit) ex.fail("index out of range: " + std::to_string(at));
  return static_cast<size_t>(at);
}

Ref index(Executor& ex, Args& a) {
  Ref r = a[0];
  for (size_t k = 1; k < a.size(); ++k) {
    if (r.is_nil()) ex.fail("index of untyped nil");
    if (r.list()) {
      const size_t i = position(ex, a[k], r.list_size());
      if (i >= r.list_size()) ex.fail("index out of range: " + std::to_string(i));
      Ref item{&(*r.list())[r.list_begin() + i]};
      item.prints_json = r.prints_json;
      r = item;
    } else if (r.map()) {
      if (a[k].is_nil() || !a[k].value->as_string()) ex.fail("cannot index map with type " + kind_name(a[k]));
      r = Ref{r.value->find(*a[k].value->as_string())};
    } else if (const std::string* text = r.value->as_string()) {
      const size_t i = position(ex, a[k], text->size());
      if (i >= text->size()) ex.fail("index out of range: " + std::to_string(i));
      r = ex.keep(Value(static_cast<int64_t>(static_cast<unsigned char>((*text)[i]))));
    } else {
      ex.fail("can't index item of type " + kind_name(r));
    }
  }
  return r;
}

Ref slice(Executor& ex, Args& a) {
  const Ref& r = a[0];
  const std::string* text = r.is_nil() ? nullptr : r.value->as_string();
  if (!text && !r.list()) ex.fail("can't slice item of type " + kind_name(r));
  const size_t n = text ? text->size() : r.list_size();
  const size_t from = a.size() > 1 ? position(ex, a[1], n) : 0;
  const size_t to = a.size() > 2 ? position(ex, a[2], n) : n;
  if (from > to) ex.fail("invalid slice index: " + std::to_string(from) + " > " + std::to_string(to));
  if (text) {
    ex.charge_bytes(to - from);
    return ex.keep(Value(text->substr(from, to - from)));
  }
  Ref part = r;
  part.first = r.list_begin() + from;
  part.count = to - from;
  return part;
}

// fmt.Sprint: a space between operands when neither is a string.
std::string sprint(Executor& ex, const Args& a, bool always_space) {
  std::string out;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto is_string = [](const Ref& r) { return !r.is_nil() && r.value->as_string(); };
    if (i > 0 && (always_space || (!is_string(a[i]) && !is_string(a[i - 1])))) out += ' ';
    out += a[i].is_nil() ? "<nil>" : print_value(ex, a[i]);
    ex.check_size(out.size());
  }
  return out;
}

std::string html_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\0': out += "\xEF\xBF\xBD"; break;
      default: out += c;
    }
  }
  return out;
}

std::string js_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    char buffer[8];
    if (c == '\\' || c == '\'' || c == '"') (out += '\\') += c;
    else if (c == '<' || c == '>' || c == '&' || c == '=' || (c >= 0 && c < 0x20)) {
      std::snprintf(buffer, sizeof buffer, "\\u%04X", static_cast<unsigned>(c));
      out += buffer;
    } else out += c;
  }
  return out;
}

std::string query_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    const bool is_plain = ascii::is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~';
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "%%%02X", static_cast<unsigned char>(c));
    if (is_plain) out += c;
    else if (c == ' ') out += '+';
    else out += buffer;
  }
  return out;
}

template <std::string (*kEscape)(const std::string&)>
Ref escaped(Executor& ex, Args& a) {
  const std::string text = sprint(ex, a, false);
  ex.charge_bytes(text.size());
  return ex.keep(Value(kEscape(text)));
}

Ref date(Executor& ex, int64_t offset_seconds) {
  const std::time_t now = std::time(nullptr) + offset_seconds;
  std::tm fields{};
  localtime_r(&now, &fields);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%d", &fields);
  return ex.keep(Value(buffer));
}

std::string type_script_name(const std::string& type) {
  if (type == "integer" || type == "number") return "number";
  if (type == "string" || type == "boolean" || type == "null") return type;
  if (type == "array") return "any[]";
  if (type == "object") return "Record<string, any>";
  return "any";
}

std::string type_script(Executor& ex, const Value& property, int depth) {
  ex.step();
  if (depth > 64) ex.fail("a tool property nested deeper than the limit of 64");
  std::string out;
  const auto add = [&](const std::string& name) { out += (out.empty() ? "" : " | ") + name; };
  if (const Value* any = property.find("anyOf"); any && any->as_list()) {
    for (const Value& option : *any->as_list()) add(type_script(ex, option, depth + 1));
    if (!out.empty()) return out;
  }
  const Value* type = property.find("type");
  if (type && type->as_string()) return type_script_name(*type->as_string());
  if (type && type->as_list())
    for (const Value& name : *type->as_list()) add(name.as_string() ? type_script_name(*name.as_string()) : "any");
  return out.empty() ? "any" : out;
}

constexpr FunctionRow kFunctions[] = {
    {"and", 1, kAny, nullptr},
    {"or", 1, kAny, nullptr},
    {"not", 1, 1, [](Executor& ex, Args& a) { return ex.keep(Value(!is_true(a[0]))); }},
    {"eq", 2, kAny, eq},
    {"ne", 2, 2, [](Executor& ex, Args& a) { return ex.keep(Value(!equal(ex, a[0], a[1]))); }},
    {"lt", 2, 2, [](Executor& ex, Args& a) { return ex.keep(Value(compare(ex, a[0], a[1]) < 0)); }},
    {"le", 2, 2, [](Executor& ex, Args& a) { return ex.keep(Value(compare(ex, a[0], a[1]) <= 0)); }},
    {"gt", 2, 2, [](Executor& ex, Args& a) { return ex.keep(Value(compare(ex, a[0], a[1]) > 0)); }},
    {"ge", 2, 2, [](Executor& ex, Args& a) { return ex.keep(Value(compare(ex, a[0], a[1]) >= 0)); }},
    {"len", 1, 1, length},
    {"index", 1, kAny, index},
    {"slice", 1, 3, slice},
    {"print", 0, kAny, [](Executor& ex, Args& a) { return ex.keep(Value(sprint(ex, a, false))); }},
    {"println", 0, kAny, [](Executor& ex, Args& a) { return ex.keep(Value(sprint(ex, a, true) + "\n")); }},
    {"printf", 1, kAny, [](Executor& ex, Args& a) {
       if (a[0].is_nil() || !a[0].value->as_string()) ex.fail("printf: the format is not a string");
       return ex.keep(Value(print_formatted(ex, *a[0].value->as_string(), a, 1))); }},
    {"html", 0, kAny, escaped<html_escaped>},
    {"js", 0, kAny, escaped<js_escaped>},
    {"urlquery", 0, kAny, escaped<query_escaped>},
    {"call", 1, kAny, [](Executor& ex, Args&) -> Ref { ex.fail("call of a value that is not a function"); }},
    {"json", 1, 1, [](Executor& ex, Args& a) { return ex.keep(Value(to_json(ex, a[0]))); }},
    {"currentDate", 0, kAny, [](Executor& ex, Args&) { return date(ex, 0); }},
    {"yesterdayDate", 0, kAny, [](Executor& ex, Args&) { return date(ex, -86400); }},
    {"toTypeScriptType", 1, 1, [](Executor& ex, Args& a) { return ex.keep(Value(type_script(ex, a[0].get(), 0))); }},
};

}  // namespace

const FunctionRow* find_function(std::string_view name) {
  for (const FunctionRow& row : kFunctions)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace olx::engine::gotemplate
