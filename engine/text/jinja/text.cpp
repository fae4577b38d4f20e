// str() and repr() of values, as Python writes them.

#include <charconv>
#include <cmath>

#include "engine/text/jinja/runtime.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {

// Shortest digits that read back equal; an exponent below -4 or from 16 on (CPython's repr of float).
std::string real_text(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  std::string text(buffer, end);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (char c : text.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const int size = std::abs(exponent);
    return out + (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0" : "") + std::to_string(size);
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

namespace {

std::string repr_string(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  const auto hex = [&](const char* prefix, uint32_t code, int width) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, "%s%0*x", prefix, width, code);
    out += buffer;
  };
  for (size_t i = 0; i < text.size();) {
    const size_t n = char_bytes(text, i);
    const uint32_t code = char_code(text, i);
    if (code == static_cast<uint32_t>(quote) || code == '\\') (out += '\\') += static_cast<char>(code);
    else if (code == '\n') out += "\\n";
    else if (code == '\r') out += "\\r";
    else if (code == '\t') out += "\\t";
    else if (is_printable_code(code) && !(code >= 0xD800 && code < 0xE000)) out.append(text.substr(i, n));
    else if (code < 0x100) hex("\\x", code, 2);
    else if (code < 0x10000) hex("\\u", code, 4);
    else hex("\\U", code, 8);
    i += n;
  }
  return out + quote;
}

void append_repr(Runtime& rt, const Val& v, std::string& out);

void append_list(Runtime& rt, const List& list, std::string& out) {
  if (list.kind == ListKind::kRange) {
    out += list.name;
    return;
  }
  if (list.kind == ListKind::kGenerator) {
    out += "<generator object>";
    return;
  }
  if (list.kind == ListKind::kView) out += list.name + "(";
  out += list.kind == ListKind::kTuple ? '(' : '[';
  bool is_first = true;
  for (const Val& item : list.items) {
    if (!is_first) out += ", ";
    is_first = false;
    append_repr(rt, item, out);
  }
  if (list.kind == ListKind::kTuple && list.items.size() == 1) out += ',';
  out += list.kind == ListKind::kTuple ? ')' : ']';
  if (list.kind == ListKind::kView) out += ')';
}

void append_repr(Runtime& rt, const Val& v, std::string& out) {
  rt.step();
  if (v.string()) {
    rt.charge_bytes(v.string()->size());
    out += v.is_markup() ? "Markup(" + repr_string(*v.string()) + ")" : repr_string(*v.string());
    rt.check_size(static_cast<double>(out.size()));
  } else if (v.undefined()) {
    out += "Undefined";
  } else if (v.list()) {
    Runtime::Depth depth(rt);
    append_list(rt, *v.list(), out);
  } else if (v.dict()) {
    Runtime::Depth depth(rt);
    if (v.dict()->is_namespace) out += "<Namespace ";
    out += '{';
    bool is_first = true;
    for (const auto& [key, value] : v.dict()->items) {
      if (!is_first) out += ", ";
      is_first = false;
      append_repr(rt, key, out);
      out += ": ";
      append_repr(rt, value, out);
    }
    out += v.dict()->is_namespace ? "}>" : "}";
  } else {
    out += to_text(rt, v);
  }
}

}  // namespace

std::string to_repr(Runtime& rt, const Val& v) {
  std::string out;
  append_repr(rt, v, out);
  return out;
}

std::string to_text(Runtime& rt, const Val& v) {
  if (v.string()) {
    rt.charge_bytes(v.string()->size());
    return *v.string();
  }
  if (v.is_none()) return "None";
  if (v.undefined()) return "";
  if (v.boolean()) return *v.boolean() ? "True" : "False";
  if (v.integer()) return std::to_string(*v.integer());
  if (v.real()) return real_text(*v.real());
  if (v.callable()) return "<" + v.callable()->name + ">";
  return to_repr(rt, v);
}

}  // namespace olx::engine::jinja
