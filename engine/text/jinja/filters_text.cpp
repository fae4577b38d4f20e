// Filters over one text or number.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/methods.h"
#include "engine/text/jinja/tests.h"
#include "engine/text/jinja/unicode_text.h"
#include "gguf/ascii.h"

namespace olx::engine::jinja {
namespace {

using B = BoundArgs;

// soft_str: most text filters take any value and print it.
std::string soft(Runtime& rt, const Val& v) { return to_text(rt, v); }

Val method(Runtime& rt, const Val& v, const char* name, std::vector<Val> positional) {
  Args args;
  args.positional = std::move(positional);
  return call_value(rt, get_attribute(rt, Val(soft(rt, v)), name), args);
}

// Words begin after white space or one of - ( { [ < ; only the first letter is raised (jinja2.filters.do_title).
Val title(Runtime& rt, const Val& v, B&) {
  const std::string text = soft(rt, v);
  std::string out;
  bool starts = true;
  for (std::string_view c : split_chars(text)) {
    out += starts ? to_upper(c) : to_lower(c);
    starts = is_space_code(char_code(c, 0)) || c == "-" || c == "(" || c == "{" || c == "[" || c == "<";
  }
  return Val(std::move(out));
}

Val indent(Runtime& rt, const Val& v, B& a) {
  std::string unit;
  if (a.has(0) && a.at(0).string()) {
    unit = *a.at(0).string();
  } else {
    const int64_t width = a.integer(0, 4);
    rt.check_size(static_cast<double>(width));
    unit.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool first = a.boolean(1, false), blank = a.boolean(2, false);
  const std::string text = soft(rt, v) + "\n";
  std::string out;
  bool is_first = true;
  for (std::string_view line : split_lines(text, false)) {
    if (!is_first) out += '\n';
    if (is_first ? first : (blank || !line.empty())) out += unit;
    out += line;
    is_first = false;
    rt.check_size(static_cast<double>(out.size()));
  }
  rt.charge_bytes(out.size());
  return Val(std::move(out));
}

Val to_integer(Runtime& rt, const Val& v, B& a) {
  const Val otherwise = a.get(0, Val(0));
  const int64_t base = a.integer(1, 10);
  if (v.undefined()) fail_undefined(rt, v);
  if (v.integer()) return v;
  if (v.boolean()) return Val(static_cast<int64_t>(*v.boolean()));
  if (v.real()) {
    if (!std::isfinite(*v.real())) return otherwise;
    if (std::fabs(*v.real()) >= 9.2e18) rt.unsupported("an integer beyond 64 bits is not supported");
    return Val(static_cast<int64_t>(*v.real()));
  }
  if (!v.string()) return otherwise;
  if (base != 0 && (base < 2 || base > 36)) return otherwise;
  std::string text;
  bool negative = false;
  std::string_view digits = lstrip_spaces(rstrip_spaces(*v.string()));
  if (digits.starts_with('-') || digits.starts_with('+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  int radix = static_cast<int>(base);
  if (digits.size() > 1 && digits[0] == '0') {
    const char kind = static_cast<char>(digits[1] | 0x20);
    const int of_prefix = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (of_prefix && (base == 0 || base == of_prefix)) {
      digits.remove_prefix(2);
      radix = of_prefix;
    }
  }
  if (radix == 0) radix = 10;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] == '_' && i > 0 && i + 1 < digits.size() && digits[i + 1] != '_') continue;
    text += digits[i];
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  if (error == std::errc::result_out_of_range) rt.unsupported("an integer beyond 64 bits is not supported");
  if (error == std::errc() && end == text.data() + text.size() && text[0] != '-') return Val(negative ? -value : value);
  // As Jinja2: "42.5" by way of float.
  if (base == 10) {
    double d = 0;
    const std::string_view whole = lstrip_spaces(rstrip_spaces(*v.string()));
    const auto result = std::from_chars(whole.data() + (whole.starts_with('+') ? 1 : 0), whole.data() + whole.size(), d);
    if (result.ec == std::errc() && result.ptr == whole.data() + whole.size() && std::fabs(d) < 9.2e18)
      return Val(static_cast<int64_t>(d));
  }
  return otherwise;
}

Val to_real(Runtime& rt, const Val& v, B& a) {
  const Val otherwise = a.get(0, Val(0.0));
  if (v.undefined()) fail_undefined(rt, v);
  if (v.real()) return v;
  if (v.integer()) return Val(static_cast<double>(*v.integer()));
  if (v.boolean()) return Val(*v.boolean() ? 1.0 : 0.0);
  if (!v.string()) return otherwise;
  std::string_view text = lstrip_spaces(rstrip_spaces(*v.string()));
  if (text.starts_with('+')) text.remove_prefix(1);
  double d = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), d);
  return error == std::errc() && end == text.data() + text.size() ? Val(d) : otherwise;
}

// Half to even on the decimal the double prints as, which is what Python's round() does: printf rounds the exact value.
Val round_number(Runtime& rt, const Val& v, B& a) {
  const int64_t precision = a.integer(0, 0);
  const std::string how = a.text(1, "common");
  if (how != "common" && how != "ceil" && how != "floor") rt.fail("method must be common, ceil or floor");
  if (v.undefined()) fail_undefined(rt, v);
  if (!v.is_number()) rt.fail("type " + type_name(v) + " doesn't define __round__ method");
  const double d = v.real() ? *v.real() : v.integer() ? static_cast<double>(*v.integer()) : *v.boolean();
  if (how != "common") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    return Val((how == "ceil" ? std::ceil(d * scale) : std::floor(d * scale)) / scale);
  }
  if (v.integer() && precision >= 0) return v;
  if (!std::isfinite(d) || precision > 300) return Val(d);
  double rounded = 0;
  if (precision >= 0) {
    char buffer[700];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), d);
    rounded = std::strtod(buffer, nullptr);
  } else {
    const double scale = std::pow(10.0, static_cast<double>(-std::max<int64_t>(precision, -300)));
    rounded = std::nearbyint(d / scale) * scale;
  }
  return v.integer() ? Val(static_cast<int64_t>(rounded)) : Val(rounded);
}

Val absolute(Runtime& rt, const Val& v, B&) {
  if (v.undefined()) fail_undefined(rt, v);
  if (v.real()) return Val(std::fabs(*v.real()));
  if (!v.is_number()) rt.fail("bad operand type for abs(): '" + type_name(v) + "'");
  const Val zero(0);
  const bool negative = compare(rt, v, zero, "<") < 0;
  return negative ? binary(rt, "-", zero, v) : binary(rt, "+", zero, v);
}

Val truncate(Runtime& rt, const Val& v, B& a) {
  const std::string text = soft(rt, v);
  const int64_t wanted = a.integer(0, 255), leeway = a.is_none(3) ? 5 : a.integer(3, 5);
  const bool kills_words = a.boolean(1, false);
  const std::string end = a.text(2, "...");
  const auto n_end = static_cast<int64_t>(count_chars(end));
  if (wanted < n_end) rt.fail("expected length >= " + std::to_string(n_end) + ", got " + std::to_string(wanted));
  if (leeway < 0) rt.fail("expected leeway >= 0");
  if (static_cast<int64_t>(count_chars(text)) <= wanted + leeway) return Val(text);
  std::string kept = text.substr(0, char_offset(text, static_cast<size_t>(wanted - n_end)));
  if (!kills_words) kept = kept.substr(0, kept.rfind(' '));
  return Val(kept + end);
}

std::string percent_encode(std::string_view text, bool keeps_slash) {
  std::string out;
  for (char c : text) {
    const bool is_plain = ascii::is_alphanumeric(c) || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && keeps_slash);
    if (is_plain) {
      out += c;
    } else {
      char buffer[4];
      std::snprintf(buffer, sizeof buffer, "%%%02X", static_cast<unsigned char>(c));
      out += buffer;
    }
  }
  return out;
}

Val urlencode(Runtime& rt, const Val& v, B&) {
  if (!v.dict() && !v.list()) return Val(percent_encode(soft(rt, v), true));
  const auto quote = [&](const Val& part) {
    std::string text = percent_encode(soft(rt, part), false);
    return replace_text(rt, text, "%20", "+", -1);
  };
  std::string out;
  const auto add = [&](const Val& key, const Val& value) {
    if (!out.empty()) out += '&';
    out += quote(key) + "=" + quote(value);
  };
  if (v.dict()) {
    for (const auto& [key, value] : v.dict()->items) add(key, value);
  } else {
    for (const Val& pair : iterate(rt, v)) {
      const std::vector<Val> parts = iterate(rt, pair);
      if (parts.size() != 2) rt.fail("urlencode: expected pairs");
      add(parts[0], parts[1]);
    }
  }
  return Val(std::move(out));
}

Val wordcount(Runtime& rt, const Val& v, B&) {
  const std::string text = soft(rt, v);
  int64_t n = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i)) {
    const uint32_t c = char_code(text, i);
    const bool is_word = c == '_' || is_alpha_code(c) || is_digit_code(c);
    n += is_word && !inside;
    inside = is_word;
  }
  return Val(n);
}

// textwrap.wrap over each line: words separated by spaces, long words broken at the width when asked.
Val wordwrap(Runtime& rt, const Val& v, B& a) {
  const auto width = static_cast<size_t>(std::max<int64_t>(a.integer(0, 79), 1));
  const bool breaks_long = a.boolean(1, true);
  const std::string newline = a.is_none(2) ? "\n" : a.text(2);
  const std::string text = soft(rt, v);
  std::string out;
  bool is_first = true;
  const auto emit = [&](const std::string& line) {
    if (!is_first) out += newline;
    is_first = false;
    out += line;
    rt.check_size(static_cast<double>(out.size()));
  };
  for (std::string_view source : split_lines(text, false)) {
    // Chunks alternate between words and runs of spaces.
    std::vector<std::string> chunks;
    for (std::string_view c : split_chars(source)) {
      const bool is_blank = c == " " || c == "\t";
      if (chunks.empty() || (chunks.back()[0] == ' ') != is_blank) chunks.emplace_back();
      chunks.back() += is_blank ? std::string_view(" ") : c;
    }
    std::string line;
    size_t used = 0;
    bool wrote = false;
    for (size_t i = 0; i < chunks.size();) {
      const size_t n = count_chars(chunks[i]);
      if (line.empty() && chunks[i][0] == ' ' && wrote) {
        ++i;
      } else if (used + n <= width) {
        line += chunks[i++];
        used += n;
      } else if (n > width && (breaks_long || line.empty())) {
        const size_t room = breaks_long ? width - used : n;
        const size_t cut = char_offset(chunks[i], std::max<size_t>(room, line.empty() ? 1 : room));
        line += chunks[i].substr(0, cut);
        chunks[i].erase(0, cut);
        if (chunks[i].empty()) ++i;
        emit(line);
        wrote = true;
        line.clear();
        used = 0;
      } else {
        emit(std::string(rstrip_spaces(line)));
        wrote = true;
        line.clear();
        used = 0;
      }
    }
    if (!line.empty() || !wrote) emit(std::string(rstrip_spaces(line)));
  }
  rt.charge_bytes(out.size());
  return Val(std::move(out));
}

Val format(Runtime& rt, const Val& v, B& a) {
  Args& args = a.raw();
  if (!args.positional.empty() && !args.keyword.empty()) rt.fail("can't handle positional and keyword arguments at the same time");
  if (args.keyword.empty()) return percent_format(rt, soft(rt, v), Val(rt.new_list(args.positional, ListKind::kTuple)));
  Dict* dict = rt.new_dict();
  for (const auto& [name, value] : args.keyword) dict->set(rt, Val(name), value);
  return percent_format(rt, soft(rt, v), Val(dict));
}

Val escape(Runtime& rt, const Val& v, B&) {
  if (v.is_markup()) return v;
  return Str{std::make_shared<const std::string>(escape_html(soft(rt, v))), true};
}

Val striptags(Runtime& rt, const Val& v, B&) {
  std::string text;
  bool inside = false;
  for (char c : soft(rt, v)) {
    if (c == '<') inside = true;
    if (!inside) text += c;
    if (c == '>') inside = false;
  }
  std::string out;
  Args none;
  for (const Val& word : iterate(rt, call_value(rt, get_attribute(rt, Val(text), "split"), none)))
    out += (out.empty() ? "" : " ") + *word.string();
  return Val(std::move(out));
}

Val filesizeformat(Runtime& rt, const Val& v, B& a) {
  const bool is_binary = a.boolean(0, false);
  Args none;
  B unbound(rt, "float", "default", none);
  const double bytes = *to_real(rt, v, unbound).real();
  const double base = is_binary ? 1024 : 1000;
  if (bytes == 1) return Val("1 Byte");
  if (bytes < base) return Val(std::to_string(static_cast<int64_t>(bytes)) + " Bytes");
  static constexpr const char* kDecimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  static constexpr const char* kBinary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  double unit = base;
  size_t i = 0;
  while (i < 7 && bytes >= unit * base) {
    unit *= base;
    ++i;
  }
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.1f %s", bytes / unit, (is_binary ? kBinary : kDecimal)[i]);
  return Val(buffer);
}

Val refuse_random(Runtime& rt, const Val&, B&) { rt.unsupported("the filter 'random' is not supported: a prompt must be reproducible"); }
Val refuse_xmlattr(Runtime& rt, const Val&, B&) { rt.unsupported("the filter 'xmlattr' is not supported"); }
Val refuse_urlize(Runtime& rt, const Val&, B&) { rt.unsupported("the filter 'urlize' is not supported"); }

Val markup(Runtime& rt, const Val& v, B&) {
  return Str{std::make_shared<const std::string>(soft(rt, v)), true};
}

constexpr FilterRow kTextFilters[] = {
    {"abs", "", absolute},
    {"capitalize", "", [](Runtime& rt, const Val& v, B&) { return Val(to_capitalized(soft(rt, v))); }},
    {"center", "width", [](Runtime& rt, const Val& v, B& a) { return method(rt, v, "center", {Val(a.integer(0, 80))}); }},
    {"default", "default_value,boolean", [](Runtime&, const Val& v, B& a) {
       return v.undefined() || (a.boolean(1, false) && !is_true(v)) ? a.get(0, Val("")) : v; }},
    {"d", "default_value,boolean", [](Runtime&, const Val& v, B& a) {
       return v.undefined() || (a.boolean(1, false) && !is_true(v)) ? a.get(0, Val("")) : v; }},
    {"escape", "", escape},
    {"e", "", escape},
    {"forceescape", "", [](Runtime& rt, const Val& v, B&) -> Val {
       return Str{std::make_shared<const std::string>(escape_html(soft(rt, v))), true}; }},
    {"filesizeformat", "binary", filesizeformat},
    {"float", "default", to_real},
    {"format", "*", format},
    {"indent", "width,first,blank", indent},
    {"int", "default,base", to_integer},
    {"lower", "", [](Runtime& rt, const Val& v, B&) { return Val(to_lower(soft(rt, v))); }},
    {"pprint", "", [](Runtime& rt, const Val& v, B&) { return Val(to_repr(rt, v)); }},
    {"random", "", refuse_random},
    {"replace", "old,new,count", [](Runtime& rt, const Val& v, B& a) {
       return Val(replace_text(rt, soft(rt, v), soft(rt, a.at(0)), soft(rt, a.at(1)), a.is_none(2) ? -1 : a.integer(2, -1))); }},
    {"round", "precision,method", round_number},
    {"safe", "", markup},
    {"string", "", [](Runtime& rt, const Val& v, B&) { return v.string() ? v : Val(soft(rt, v)); }},
    {"striptags", "", striptags},
    {"title", "", title},
    {"tojson", "*", [](Runtime& rt, const Val& v, B& a) { return Val(write_json(rt, v, a.raw())); }},
    {"trim", "chars", [](Runtime& rt, const Val& v, B& a) { return method(rt, v, "strip", {a.get(0, Val())}); }},
    {"truncate", "length,killwords,end,leeway", truncate},
    {"upper", "", [](Runtime& rt, const Val& v, B&) { return Val(to_upper(soft(rt, v))); }},
    {"urlencode", "", urlencode},
    {"urlize", "*", refuse_urlize},
    {"wordcount", "", wordcount},
    {"wordwrap", "width,break_long_words,wrapstring,break_on_hyphens", wordwrap},
    {"xmlattr", "*", refuse_xmlattr},
};

}  // namespace

const FilterRow* find_text_filter(std::string_view name) {
  for (const FilterRow& row : kTextFilters)
    if (row.name == name) return &row;
  return nullptr;
}

const FilterRow* find_filter(std::string_view name) {
  if (const FilterRow* row = find_text_filter(name)) return row;
  return find_list_filter(name);
}

Val apply_filter(Runtime& rt, std::string_view name, const Val& value, Args& args) {
  const FilterRow* row = find_filter(name);
  if (!row) rt.fail("No filter named '" + std::string(name) + "'");
  BoundArgs bound(rt, name, row->parameters, args);
  return row->run(rt, value, bound);
}

}  // namespace olx::engine::jinja
