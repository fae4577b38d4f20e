// How Go prints values: fmt's %v and friends, and encoding/json.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "engine/text/gotemplate/functions.h"

namespace olx::engine::gotemplate {
namespace {

constexpr int kMaxNesting = 100;

// strconv's 'g' with the shortest digits; fmt switches to an exponent below -4 and from 21 on, encoding/json likewise
// (1e-6 there).
std::string real_text(double d, int low_exponent) {
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d < 0 ? "-Inf" : "+Inf";
  char buffer[400];
  const double size = std::fabs(d);
  const bool is_plain = size == 0 || (size < 1e21 && size >= std::pow(10.0, low_exponent));
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, is_plain ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  return {buffer, end};
}

void append_plain(Executor& ex, const Value& v, int depth, std::string& out) {
  ex.step();
  if (depth > kMaxNesting) ex.fail("a value nested deeper than the limit of " + std::to_string(kMaxNesting));
  if (v.is_null()) out += "<nil>";
  else if (v.as_bool()) out += *v.as_bool() ? "true" : "false";
  else if (v.as_int()) out += std::to_string(*v.as_int());
  else if (v.as_double()) out += real_text(*v.as_double(), -4);
  else if (v.as_string()) out += *v.as_string();
  else if (const ValueList* list = v.as_list()) {
    out += '[';
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ' ';
      append_plain(ex, (*list)[i], depth + 1, out);
    }
    out += ']';
  } else {
    out += "map[";
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : *v.as_map()) entries.push_back(&entry);
    std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += ' ';
      out += entries[i]->first + ":";
      append_plain(ex, entries[i]->second, depth + 1, out);
    }
    out += ']';
  }
  ex.check_size(out.size());
}

void append_json_string(const std::string& text, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    char buffer[8];
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if ((c >= 0 && c < 0x20) || c == '<' || c == '>' || c == '&') {
          std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
          out += buffer;
        } else if (text.compare(i, 3, "\xE2\x80\xA8") == 0 || text.compare(i, 3, "\xE2\x80\xA9") == 0) {
          out += text[i + 2] == '\xA8' ? "\\u2028" : "\\u2029";
          i += 2;
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append_json(Executor& ex, const Value& v, int depth, std::string& out) {
  ex.step();
  if (depth > kMaxNesting) ex.fail("a value nested deeper than the limit of " + std::to_string(kMaxNesting));
  if (v.is_null()) out += "null";
  else if (v.as_string()) append_json_string(*v.as_string(), out);
  else if (v.as_double()) out += real_text(*v.as_double(), -6);
  else if (const ValueList* list = v.as_list()) {
    out += '[';
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ',';
      append_json(ex, (*list)[i], depth + 1, out);
    }
    out += ']';
  } else if (const ValueMap* map = v.as_map()) {
    out += '{';
    bool is_first = true;
    for (const auto& [name, item] : *map) {
      if (!is_first) out += ',';
      is_first = false;
      append_json_string(name, out);
      out += ':';
      append_json(ex, item, depth + 1, out);
    }
    out += '}';
  } else {
    append_plain(ex, v, depth, out);
  }
  ex.check_size(out.size());
}

// A list that slice cut is printed as the list it stands for.
Value materialise(Executor& ex, const Ref& r) {
  const auto begin = r.list()->begin() + static_cast<ptrdiff_t>(r.list_begin());
  ex.step(static_cast<int64_t>(r.list_size()));
  return ValueList(begin, begin + static_cast<ptrdiff_t>(r.list_size()));
}

bool is_part(const Ref& r) { return r.list() && r.list_size() != r.list()->size(); }

}  // namespace

std::string to_json(Executor& ex, const Ref& r) {
  std::string out;
  if (is_part(r)) append_json(ex, materialise(ex, r), 0, out);
  else append_json(ex, r.get(), 0, out);
  ex.charge_bytes(out.size());
  return out;
}

std::string print_value(Executor& ex, const Ref& r) {
  if (r.prints_json && (r.list() || r.map())) return to_json(ex, r);
  std::string out;
  if (is_part(r)) append_plain(ex, materialise(ex, r), 0, out);
  else append_plain(ex, r.get(), 0, out);
  ex.charge_bytes(out.size());
  return out;
}

namespace {

struct Verb {
  std::string flags;
  size_t width = 0;
  std::optional<int> precision;
  char letter = 'v';
  bool has(char flag) const { return flags.find(flag) != std::string::npos; }
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    char buffer[8];
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (c == '\r') out += "\\r";
    else if ((c >= 0 && c < 0x20) || c == 0x7F) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned>(c));
      out += buffer;
    } else out += c;
  }
  return out + "\"";
}

size_t count_chars(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string format_number(const Verb& verb, double d) {
  char format[8];
  std::snprintf(format, sizeof format, "%%.*%c", verb.letter);
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, std::min(verb.precision.value_or(6), 60), d);
  return buffer;
}

std::string convert(Executor& ex, const Verb& verb, const Ref& r) {
  const Value& v = r.get();
  const std::string plain = r.is_nil() ? "<nil>" : print_value(ex, r);
  const int64_t* i = v.as_int();
  const double number = i ? static_cast<double>(*i) : v.as_double() ? *v.as_double() : 0;
  switch (verb.letter) {
    case 'v': return plain;
    case 's':
      if (v.as_string()) {
        size_t end = 0, n = 0;
        const std::string& text = *v.as_string();
        if (!verb.precision) return text;
        for (; end < text.size(); ++end)
          if ((text[end] & 0xC0) != 0x80 && n++ == static_cast<size_t>(*verb.precision)) break;
        return text.substr(0, end);
      }
      if (v.as_list() || v.as_map()) return plain;
      break;
    case 'q': if (v.as_string()) return quoted(*v.as_string()); break;
    case 't': if (v.as_bool()) return plain; break;
    case 'd': if (i) return plain; break;
    case 'x':
    case 'X': {
      char buffer[32];
      if (!i) break;
      std::snprintf(buffer, sizeof buffer, verb.letter == 'x' ? "%lx" : "%lX", static_cast<unsigned long>(std::abs(*i)));
      return (*i < 0 ? "-" : "") + std::string(buffer);
    }
    case 'f':
    case 'F':
    case 'e':
    case 'g': if (v.as_double()) return verb.letter == 'g' && !verb.precision ? plain : format_number(verb, number); break;
    default: break;
  }
  const char* type = r.is_nil() ? "" : v.as_bool() ? "bool=" : i ? "int=" : v.as_double() ? "float64=" : v.as_string() ? "string=" : "";
  return std::string("%!") + verb.letter + "(" + type + plain + ")";
}

}  // namespace

std::string print_formatted(Executor& ex, const std::string& format, const std::vector<Ref>& args, size_t next) {
  std::string out;
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      out += format[i++];
      continue;
    }
    Verb verb;
    ++i;
    const auto number = [&] {
      size_t n = 0;
      while (i < format.size() && format[i] >= '0' && format[i] <= '9') {
        n = n * 10 + static_cast<size_t>(format[i++] - '0');
        if (n > (1 << 20)) ex.fail("printf: a width beyond the limit of 1048576");
      }
      return n;
    };
    while (i < format.size() && std::string_view("+-# 0").find(format[i]) != std::string_view::npos) verb.flags += format[i++];
    verb.width = number();
    if (i < format.size() && format[i] == '.') {
      ++i;
      verb.precision = static_cast<int>(number());
    }
    if (i >= format.size()) {
      out += "%!(NOVERB)";
      break;
    }
    verb.letter = format[i++];
    if (verb.letter == '%') {
      out += '%';
      continue;
    }
    std::string text = next < args.size() ? convert(ex, verb, args[next]) : std::string("%!") + verb.letter + "(MISSING)";
    ++next;
    if (verb.has('+') && verb.letter == 'd' && text[0] != '-') text.insert(0, "+");
    if (const size_t n = count_chars(text); n < verb.width) {
      const std::string padding(verb.width - n, verb.has('0') && !verb.has('-') ? '0' : ' ');
      const size_t at = verb.has('-') ? text.size() : padding[0] == '0' && (text[0] == '-' || text[0] == '+') ? 1 : 0;
      text.insert(at, padding);
    }
    out += text;
    ex.check_size(out.size());
  }
  if (next < args.size()) out += "%!(EXTRA " + std::to_string(args.size() - next) + " values)";
  ex.charge_bytes(out.size());
  return out;
}

}  // namespace olx::engine::gotemplate
