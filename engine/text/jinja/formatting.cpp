// Python's two string formatters, "%" and str.format, with the format mini-language they share (integers, floats, strings).

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/text/jinja/runtime.h"
#include "engine/text/jinja/unicode_text.h"
#include "gguf/ascii.h"

namespace olx::engine::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';
  char sign = '-';
  bool is_alternate = false;
  char grouping = '\0';
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = '\0';
};

int64_t read_number(Runtime& rt, std::string_view text, size_t& i) {
  int64_t n = 0;
  while (i < text.size() && ascii::is_digit(text[i])) {
    n = n * 10 + (text[i++] - '0');
    if (n > kMaxWidth) rt.fail("a width or precision beyond the limit of " + std::to_string(kMaxWidth));
  }
  return n;
}

Spec parse_spec(Runtime& rt, std::string_view text) {
  Spec spec;
  size_t i = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const size_t first = text.empty() ? 0 : char_bytes(text, 0);
  if (first < text.size() && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    i = first + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[i++];
  }
  const auto at = [&](char c) { return i < text.size() && text[i] == c; };
  if (at('+') || at('-') || at(' ')) spec.sign = text[i++];
  if (at('#')) spec.is_alternate = ++i;
  if (at('0')) {
    ++i;
    if (!spec.align) {
      spec.fill = "0";
      spec.align = '=';
    }
  }
  spec.width = read_number(rt, text, i);
  if (at(',') || at('_')) spec.grouping = text[i++];
  if (at('.')) {
    const size_t start = ++i;
    spec.precision = read_number(rt, text, i);
    if (i == start) rt.fail("Format specifier missing precision");
  }
  if (i < text.size()) spec.type = text[i++];
  if (i != text.size()) rt.fail("Invalid format specifier '" + std::string(text) + "'");
  return spec;
}

std::string pad(Runtime& rt, const std::string& prefix, const std::string& body, const Spec& spec, char otherwise) {
  const auto n = static_cast<int64_t>(count_chars(prefix) + count_chars(body));
  const int64_t padding = std::max<int64_t>(spec.width - n, 0);
  rt.charge_bytes(static_cast<size_t>(padding));
  const char align = spec.align ? spec.align : otherwise;
  const int64_t left = align == '<' ? 0 : align == '^' ? padding / 2 : padding;
  const auto fill = [&](int64_t count) {
    std::string out;
    for (int64_t k = 0; k < count; ++k) out += spec.fill;
    return out;
  };
  if (align == '=') return prefix + fill(padding) + body;
  return fill(left) + prefix + body + fill(padding - left);
}

std::string group_digits(const std::string& digits, char separator, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string print_real(double d, char type, int precision, bool is_alternate) {
  char format[8];
  std::snprintf(format, sizeof format, is_alternate ? "%%#.*%c" : "%%.*%c", type);
  const int n = std::snprintf(nullptr, 0, format, precision, d);
  std::string out(static_cast<size_t>(n) + 1, '\0');
  std::snprintf(out.data(), out.size(), format, precision, d);
  out.resize(static_cast<size_t>(n));
  return out;
}

std::string format_integer(Runtime& rt, int64_t value, const Spec& spec) {
  if (spec.precision) rt.fail("Precision not allowed in integer format specifier");
  std::string sign = value < 0 ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const char type = spec.type ? spec.type : 'd';
  if (type == 'c') {
    std::string out;
    if (value < 0 || value > 0x10FFFF) rt.fail("%c arg not in range(0x110000)");
    append_utf8(out, static_cast<uint32_t>(value));
    return pad(rt, "", out, spec, '<');
  }
  const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  if (base == 10 && type != 'd' && type != 'n') rt.fail(std::string("Unknown format code '") + type + "' for object of type 'int'");
  std::string digits;
  do {
    digits += "0123456789abcdef"[size % base];
    size /= base;
  } while (size > 0);
  std::reverse(digits.begin(), digits.end());
  if (spec.grouping) digits = group_digits(digits, spec.grouping, base == 10 ? 3 : 4);
  if (spec.is_alternate && base != 10) sign += std::string("0") + static_cast<char>(type | 0x20);
  if (type == 'X') digits = to_upper(digits);
  return pad(rt, sign, digits, spec, '>');
}

std::string format_real(Runtime& rt, double value, const Spec& spec) {
  const std::string sign = std::signbit(value) && !std::isnan(value) ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  const double size = std::fabs(value);
  std::string body;
  if (std::isinf(size) || std::isnan(size)) {
    body = std::isinf(size) ? "inf" : "nan";
  } else if (!spec.type && !spec.precision) {
    body = real_text(size);
  } else {
    const char type = spec.type == '%' ? 'f' : spec.type == 'n' || !spec.type ? 'g' : spec.type;
    if (std::string_view("eEfFgG").find(type) == std::string_view::npos)
      rt.fail(std::string("Unknown format code '") + type + "' for object of type 'float'");
    rt.charge_bytes(static_cast<size_t>(spec.precision.value_or(6)) + 320);
    body = print_real(spec.type == '%' ? size * 100 : size, type, static_cast<int>(spec.precision.value_or(6)), spec.is_alternate);
    if (!spec.type && body.find_first_of(".e") == std::string::npos) body += ".0";
  }
  if (spec.grouping) {
    size_t whole = 0;
    while (whole < body.size() && ascii::is_digit(body[whole])) ++whole;
    body = group_digits(body.substr(0, whole), spec.grouping, 3) + body.substr(whole);
  }
  if (spec.type == '%') body += '%';
  return pad(rt, sign, body, spec, '>');
}

std::string format_text(Runtime& rt, std::string text, const Spec& spec) {
  if (spec.precision) text = text.substr(0, char_offset(text, static_cast<size_t>(*spec.precision)));
  return pad(rt, "", text, spec, '<');
}

}  // namespace

std::string format_value(Runtime& rt, const Val& v, std::string_view text) {
  if (text.empty()) return to_text(rt, v);
  Spec spec = parse_spec(rt, text);
  const bool wants_real = spec.type && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (v.real()) return format_real(rt, *v.real(), spec);
  if (v.integer() || (v.boolean() && spec.type)) {
    const int64_t i = v.integer() ? *v.integer() : *v.boolean();
    return wants_real ? format_real(rt, static_cast<double>(i), spec) : format_integer(rt, i, spec);
  }
  if (v.boolean() || v.string() || v.undefined()) {
    if (spec.type && spec.type != 's')
      rt.fail(std::string("Unknown format code '") + spec.type + "' for object of type '" + type_name(v) + "'");
    if (spec.align == '=' && spec.fill != "0") rt.fail("'=' alignment not allowed in string format specifier");
    if (spec.align == '=') spec.align = '<';
    return format_text(rt, to_text(rt, v), spec);
  }
  rt.fail("unsupported format string passed to " + type_name(v) + ".__format__");
}

namespace {

// One conversion of the % operator: %[(key)][flags][width][.precision]type
struct Percent {
  std::string flags;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 's';
};

std::string percent_one(Runtime& rt, const Percent& p, const Val& v) {
  Spec spec;
  spec.width = p.width;
  const auto has = [&](char c) { return p.flags.find(c) != std::string::npos; };
  if (has(' ')) spec.sign = ' ';
  if (has('+')) spec.sign = '+';
  spec.is_alternate = has('#');
  spec.align = has('-') ? '<' : '>';
  const auto with_zeros = [&] {
    if (!has('0') || has('-')) return;
    spec.fill = "0";
    spec.align = '=';
  };
  switch (p.type) {
    case 's':
    case 'r':
    case 'a':
      spec.precision = p.precision;
      return format_text(rt, p.type == 's' ? to_text(rt, v) : to_repr(rt, v), spec);
    case 'c':
      if (v.string() && count_chars(*v.string()) == 1) return format_text(rt, *v.string(), spec);
      break;
    default: break;
  }
  if (v.undefined()) fail_undefined(rt, v);
  if (!v.is_number()) rt.fail(std::string("%") + p.type + " format: a real number is required, not " + type_name(v));
  with_zeros();
  if (std::string_view("eEfFgG").find(p.type) != std::string_view::npos) {
    spec.type = p.type;
    spec.precision = p.precision.value_or(6);
    return format_real(rt, v.real() ? *v.real() : v.integer() ? static_cast<double>(*v.integer()) : *v.boolean(), spec);
  }
  if (std::string_view("diuxXoc").find(p.type) == std::string_view::npos)
    rt.fail(std::string("unsupported format character '") + p.type + "'");
  if (v.real() && (p.type == 'x' || p.type == 'X' || p.type == 'o'))
    rt.fail(std::string("%") + p.type + " format: an integer is required, not float");
  if (v.real() && !(std::fabs(*v.real()) < 9.2e18)) rt.unsupported("an integer beyond 64 bits is not supported");
  spec.type = p.type == 'i' || p.type == 'u' ? 'd' : p.type;
  return format_integer(rt, v.real() ? static_cast<int64_t>(*v.real()) : v.integer() ? *v.integer() : *v.boolean(), spec);
}

}  // namespace

Val percent_format(Runtime& rt, const std::string& format, const Val& args) {
  const bool is_tuple = args.list() && args.list()->kind == ListKind::kTuple;
  size_t used = 0;
  bool used_mapping = false;
  const auto next = [&]() -> Val {
    if (!is_tuple) {
      if (used++ > 0) rt.fail("not enough arguments for format string");
      return args;
    }
    if (used >= args.list()->items.size()) rt.fail("not enough arguments for format string");
    return args.list()->items[used++];
  };
  std::string out;
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      out += format[i++];
      continue;
    }
    if (++i >= format.size()) rt.fail("incomplete format");
    Percent p;
    std::optional<Val> named;
    if (format[i] == '(') {
      const size_t end = format.find(')', i);
      if (end == std::string::npos) rt.fail("incomplete format key");
      if (!args.dict()) rt.fail("format requires a mapping");
      const Val* found = args.dict()->find(format.substr(i + 1, end - i - 1));
      if (!found) rt.fail("KeyError: '" + format.substr(i + 1, end - i - 1) + "'");
      named = *found;
      used_mapping = true;
      i = end + 1;
    }
    while (i < format.size() && std::string_view("-+ #0").find(format[i]) != std::string_view::npos) p.flags += format[i++];
    const auto size = [&]() -> int64_t {
      if (i >= format.size() || format[i] != '*') return read_number(rt, format, i);
      ++i;
      const Val v = next();
      if (!v.integer() || std::abs(*v.integer()) > kMaxWidth) rt.fail("* wants int");
      return *v.integer();
    };
    p.width = size();
    if (i < format.size() && format[i] == '.') {
      ++i;
      p.precision = size();
    }
    while (i < format.size() && std::string_view("hlL").find(format[i]) != std::string_view::npos) ++i;
    if (i >= format.size()) rt.fail("incomplete format");
    p.type = format[i++];
    if (p.type == '%') out += '%';
    else out += percent_one(rt, p, named ? *named : next());
    rt.check_size(static_cast<double>(out.size()));
  }
  const bool leftover = is_tuple ? used < args.list()->items.size()
                                 : used == 0 && !used_mapping && !args.dict() && !(args.list());
  if (leftover) rt.fail("not all arguments converted during string formatting");
  rt.charge_bytes(out.size());
  return out;
}

namespace {

class BraceFormatter {
 public:
  BraceFormatter(Runtime& rt, Args& args) : rt_(rt), args_(args) {}

  std::string format(std::string_view text, int depth) {
    if (depth > 2) rt_.fail("Max string recursion exceeded");
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const char c = text[i];
      if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
        out += c;
        i += 2;
      } else if (c == '}') {
        rt_.fail("Single '}' encountered in format string");
      } else if (c == '{') {
        const size_t end = closing(text, i);
        out += field(text.substr(i + 1, end - i - 1), depth);
        i = end + 1;
      } else {
        out += c;
        ++i;
      }
      rt_.check_size(static_cast<double>(out.size()));
    }
    rt_.charge_bytes(out.size());
    return out;
  }

 private:
  size_t closing(std::string_view text, size_t open) {
    int level = 0;
    for (size_t i = open; i < text.size(); ++i) {
      if (text[i] == '{') ++level;
      if (text[i] == '}' && --level == 0) return i;
    }
    rt_.fail("expected '}' before end of string");
  }

  std::string field(std::string_view text, int depth) {
    size_t end = 0;
    for (int square = 0; end < text.size() && (square > 0 || (text[end] != ':' && text[end] != '!')); ++end)
      square += text[end] == '[' ? 1 : text[end] == ']' ? -1 : 0;
    Val v = lookup(text.substr(0, end));
    if (end < text.size() && text[end] == '!') {
      if (end + 1 >= text.size()) rt_.fail("end of string while looking for conversion specifier");
      const char how = text[end + 1];
      if (how != 'r' && how != 's' && how != 'a') rt_.fail(std::string("Unknown conversion specifier ") + how);
      v = how == 's' ? Val(to_text(rt_, v)) : Val(to_repr(rt_, v));
      end += 2;
      if (end < text.size() && text[end] != ':') rt_.fail("expected ':' after conversion specifier");
    }
    const std::string_view spec = end < text.size() ? text.substr(end + 1) : std::string_view();
    return format_value(rt_, v, format(spec, depth + 1));
  }

  // name ("." attribute | "[" key "]")*
  Val lookup(std::string_view path) {
    size_t i = std::min(path.find_first_of(".["), path.size());
    Val v = base(path.substr(0, i));
    while (i < path.size()) {
      if (path[i] == '.') {
        const size_t end = std::min(path.find_first_of(".[", i + 1), path.size());
        const std::string name(path.substr(i + 1, end - i - 1));
        v = get_attribute(rt_, v, name);
        if (v.undefined()) fail_undefined(rt_, v);
        i = end;
      } else {
        const size_t end = path.find(']', i);
        if (end == std::string_view::npos) rt_.fail("Missing ']' in format string");
        v = get_item(rt_, v, key(path.substr(i + 1, end - i - 1)));
        if (v.undefined()) fail_undefined(rt_, v);
        i = end + 1;
      }
    }
    return v;
  }

  static Val key(std::string_view text) {
    int64_t n = 0;
    for (char c : text) {
      if (!ascii::is_digit(c) || n > (1 << 30)) return Val(text);
      n = n * 10 + (c - '0');
    }
    return text.empty() ? Val(text) : Val(n);
  }

  Val base(std::string_view name) {
    const Val k = name.empty() ? Val(next_++) : key(name);
    if (!k.integer()) {
      for (const auto& [known, value] : args_.keyword)
        if (known == name) return value;
      rt_.fail("KeyError: '" + std::string(name) + "'");
    }
    if (static_cast<size_t>(*k.integer()) >= args_.positional.size())
      rt_.fail("Replacement index " + std::to_string(*k.integer()) + " out of range for positional args tuple");
    return args_.positional[static_cast<size_t>(*k.integer())];
  }

  Runtime& rt_;
  Args& args_;
  int64_t next_ = 0;
};

}  // namespace

std::string brace_format(Runtime& rt, const std::string& format, Args& args) {
  return BraceFormatter(rt, args).format(format, 0);
}

}  // namespace olx::engine::jinja
