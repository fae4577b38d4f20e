// Methods of strings, as in Python's str.

#include <algorithm>

#include "engine/text/jinja/methods.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {

using B = BoundArgs;

std::string replace_text(Runtime& rt, std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  std::string out;
  rt.charge_bytes(text.size());
  const auto grow = [&](std::string_view more) {
    rt.check_size(static_cast<double>(out.size() + more.size()));
    rt.charge_bytes(more.size());
    out += more;
  };
  if (from.empty()) {
    size_t i = 0;
    while (count != 0 && i <= text.size()) {
      grow(to);
      --count;
      if (i == text.size()) return out;
      const size_t n = char_bytes(text, i);
      out += text.substr(i, n);
      i += n;
    }
    return out.append(text.substr(std::min(i, text.size())));
  }
  size_t start = 0;
  while (count != 0) {
    const size_t hit = text.find(from, start);
    if (hit == std::string_view::npos) break;
    grow(text.substr(start, hit - start));
    grow(to);
    start = hit + from.size();
    --count;
  }
  grow(text.substr(start));
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keeps_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    size_t n = char_bytes(text, i);
    const uint32_t c = char_code(text, i);
    const bool is_end = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (is_end) {
      if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') n = 2;
      lines.push_back(text.substr(start, (keeps_ends ? i + n : i) - start));
      start = i + n;
    }
    i += n;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

namespace {

enum class Side { kLeft = 1, kRight = 2, kBoth = 3 };

Val strip(Runtime& rt, const Val& self, B& a, Side side) {
  std::string_view text = *self.string();
  const bool left = static_cast<int>(side) & 1, right = static_cast<int>(side) & 2;
  rt.charge_bytes(text.size());
  if (a.is_none(0)) {
    if (left) text = lstrip_spaces(text);
    if (right) text = rstrip_spaces(text);
    return Val(text);
  }
  const std::string set = a.text(0);
  const std::vector<std::string_view> chars = split_chars(set);
  const auto is_in_set = [&](std::string_view c) { return std::find(chars.begin(), chars.end(), c) != chars.end(); };
  std::vector<std::string_view> parts = split_chars(text);
  size_t begin = 0, end = parts.size();
  if (left)
    while (begin < end && is_in_set(parts[begin])) ++begin;
  if (right)
    while (end > begin && is_in_set(parts[end - 1])) --end;
  std::string out;
  for (size_t i = begin; i < end; ++i) out += parts[i];
  return Val(std::move(out));
}

std::vector<Val> split_spaces(std::string_view text, int64_t limit) {
  std::vector<Val> parts;
  text = lstrip_spaces(text);
  while (!text.empty()) {
    if (limit == 0) {
      parts.emplace_back(rstrip_spaces(text));
      break;
    }
    size_t end = 0;
    while (end < text.size() && !is_space_code(char_code(text, end))) end += char_bytes(text, end);
    parts.emplace_back(text.substr(0, end));
    text = lstrip_spaces(text.substr(end));
    --limit;
  }
  return parts;
}

std::vector<Val> rsplit_spaces(std::string_view text, int64_t limit) {
  std::vector<Val> parts;
  text = rstrip_spaces(text);
  while (!text.empty()) {
    if (limit == 0) {
      parts.emplace_back(lstrip_spaces(text));
      break;
    }
    size_t start = 0;
    for (size_t i = 0; i < text.size(); i += char_bytes(text, i))
      if (is_space_code(char_code(text, i))) start = i + char_bytes(text, i);
    parts.emplace_back(text.substr(start));
    text = rstrip_spaces(text.substr(0, start));
    --limit;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Val split(Runtime& rt, const Val& self, B& a, bool from_right) {
  std::string_view text = *self.string();
  rt.charge_bytes(text.size());
  int64_t limit = a.integer(1, -1);
  if (a.is_none(0)) {
    if (from_right && limit >= 0) {
      rt.step(static_cast<int64_t>(text.size() / 16) * std::min<int64_t>(limit, 1 << 20));
      return rt.new_list(rsplit_spaces(text, limit));
    }
    return rt.new_list(split_spaces(text, limit));
  }
  const std::string separator = a.text(0);
  if (separator.empty()) rt.fail("empty separator");
  std::vector<Val> parts;
  if (from_right) {
    while (limit-- != 0) {
      const size_t hit = text.rfind(separator);
      if (hit == std::string_view::npos) break;
      parts.emplace_back(text.substr(hit + separator.size()));
      text = text.substr(0, hit);
    }
    parts.emplace_back(text);
    std::reverse(parts.begin(), parts.end());
  } else {
    while (limit-- != 0) {
      const size_t hit = text.find(separator);
      if (hit == std::string_view::npos) break;
      parts.emplace_back(text.substr(0, hit));
      text = text.substr(hit + separator.size());
    }
    parts.emplace_back(text);
  }
  return rt.new_list(std::move(parts));
}

Val partition(Runtime& rt, const Val& self, B& a, bool from_right) {
  const std::string& text = *self.string();
  const std::string separator = a.text(0);
  if (separator.empty()) rt.fail("empty separator");
  const size_t hit = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<Val> parts;
  if (hit == std::string::npos) {
    parts = {Val(from_right ? "" : text), Val(""), Val(from_right ? text : "")};
  } else {
    parts = {Val(text.substr(0, hit)), Val(separator), Val(text.substr(hit + separator.size()))};
  }
  return rt.new_list(std::move(parts), ListKind::kTuple);
}

// The text from start to end (characters, as Python's optional arguments i and i + 1), and the byte where it begins.
std::string_view window(const std::string& text, B& a, size_t i, size_t& begin, bool& is_valid) {
  is_valid = true;
  begin = 0;
  if (a.is_none(i) && a.is_none(i + 1)) return text;
  const auto n = static_cast<int64_t>(count_chars(text));
  const auto clamp = [&](int64_t v) { return std::max<int64_t>(v < 0 ? v + n : v, 0); };
  const int64_t start = a.is_none(i) ? 0 : clamp(a.integer(i, 0));
  const int64_t end = a.is_none(i + 1) ? n : std::min(clamp(a.integer(i + 1, n)), n);
  is_valid = start <= end;
  if (!is_valid) return {};
  begin = char_offset(text, static_cast<size_t>(start));
  return std::string_view(text).substr(begin, char_offset(text, static_cast<size_t>(end)) - begin);
}

Val has_affix(Runtime& rt, const Val& self, B& a, bool at_start) {
  size_t begin = 0;
  bool is_valid = true;
  const std::string_view text = window(*self.string(), a, 1, begin, is_valid);
  const auto test = [&](const Val& affix) {
    if (affix.undefined()) fail_undefined(rt, affix);
    if (!affix.string())
      rt.fail(std::string(at_start ? "startswith" : "endswith") +
              " first arg must be str or a tuple of str, not " + type_name(affix));
    return is_valid && (at_start ? text.starts_with(*affix.string()) : text.ends_with(*affix.string()));
  };
  if (!a.at(0).list() || a.at(0).list()->kind != ListKind::kTuple) return test(a.at(0));
  for (const Val& affix : a.at(0).list()->items)
    if (test(affix)) return true;
  return false;
}

Val find_text(Runtime& rt, const Val& self, B& a, bool from_right, bool must_exist) {
  size_t begin = 0;
  bool is_valid = true;
  const std::string_view text = window(*self.string(), a, 1, begin, is_valid);
  const std::string wanted = a.text(0);
  rt.charge_bytes(text.size());
  const size_t hit = !is_valid    ? std::string_view::npos
                     : from_right ? text.rfind(wanted)
                                  : text.find(wanted);
  if (hit != std::string_view::npos)
    return count_chars(std::string_view(*self.string()).substr(0, begin + hit));
  if (must_exist) rt.fail("substring not found");
  return -1;
}

Val count_text(Runtime& rt, const Val& self, B& a) {
  size_t begin = 0;
  bool is_valid = true;
  const std::string_view text = window(*self.string(), a, 1, begin, is_valid);
  const std::string wanted = a.text(0);
  rt.charge_bytes(text.size());
  if (!is_valid) return 0;
  if (wanted.empty()) return count_chars(text) + 1;
  int64_t n = 0;
  for (size_t hit = text.find(wanted); hit != std::string_view::npos; hit = text.find(wanted, hit + wanted.size())) ++n;
  return n;
}

Val join(Runtime& rt, const Val& self, B& a) {
  std::string out;
  bool is_first = true;
  if (a.at(0).undefined()) return Val("");
  int64_t i = 0;
  for (const Val& item : iterate(rt, a.at(0))) {
    if (!item.string())
      rt.fail("sequence item " + std::to_string(i) + ": expected str instance, " + type_name(item) + " found");
    if (!is_first) out += *self.string();
    is_first = false;
    out += *item.string();
    rt.check_size(static_cast<double>(out.size()));
    ++i;
  }
  rt.charge_bytes(out.size());
  return Val(std::move(out));
}

Val justify(Runtime& rt, const Val& self, B& a, char how) {
  const std::string& text = *self.string();
  const std::string fill = a.text(1, " ");
  if (count_chars(fill) != 1) rt.fail("The fill character must be exactly one character long");
  const auto n = static_cast<int64_t>(count_chars(text));
  const int64_t width = a.integer(0, 0);
  if (width <= n) return Val(text);
  rt.check_size(static_cast<double>(width) * static_cast<double>(fill.size()));
  rt.charge_bytes(static_cast<size_t>(width));
  const int64_t padding = width - n;
  // CPython's str.center puts the odd one left when the width is odd.
  const int64_t left = how == 'l' ? 0 : how == 'r' ? padding : padding / 2 + (padding & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < padding; ++i) out += fill;
  return Val(std::move(out));
}

Val zfill(Runtime& rt, const Val& self, B& a) {
  const std::string& text = *self.string();
  const auto n = static_cast<int64_t>(count_chars(text));
  const int64_t width = a.integer(0, 0);
  if (width <= n) return Val(text);
  rt.check_size(static_cast<double>(width));
  const size_t sign = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
  return Val(text.substr(0, sign) + std::string(static_cast<size_t>(width - n), '0') + text.substr(sign));
}

Val all_of(const Val& self, bool (*test)(uint32_t)) {
  const std::string& text = *self.string();
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i))
    if (!test(char_code(text, i))) return false;
  return !text.empty();
}

Val is_cased(const Val& self, bool (*wrong)(uint32_t)) {
  const std::string& text = *self.string();
  bool any = false;
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i)) {
    const uint32_t c = char_code(text, i);
    if (wrong(c)) return false;
    any = any || is_upper_code(c) || is_lower_code(c);
  }
  return any;
}

bool is_identifier(const std::string& text) {
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i)) {
    const uint32_t c = char_code(text, i);
    if (c != '_' && !is_alpha_code(c) && !(i > 0 && is_digit_code(c))) return false;
  }
  return !text.empty();
}

Val swap_case(const Val& self) {
  std::string out;
  for (std::string_view c : split_chars(*self.string()))
    out += is_upper_code(char_code(c, 0)) ? to_lower(c) : to_upper(c);
  return Val(std::move(out));
}

Val expand_tabs(Runtime& rt, const Val& self, B& a) {
  const int64_t size = a.integer(0, 8);
  std::string out;
  int64_t column = 0;
  for (std::string_view c : split_chars(*self.string())) {
    if (c == "\t") {
      const int64_t n = size > 0 ? size - column % size : 0;
      rt.check_size(static_cast<double>(out.size()) + static_cast<double>(n));
      out.append(static_cast<size_t>(n), ' ');
      column += n;
    } else {
      out += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  }
  rt.charge_bytes(out.size());
  return Val(std::move(out));
}

Val lines(Runtime& rt, const Val& self, B& a) {
  std::vector<Val> out;
  for (std::string_view line : split_lines(*self.string(), a.boolean(0, false))) out.emplace_back(line);
  return rt.new_list(std::move(out));
}

Val remove_affix(const Val& self, B& a, bool at_start) {
  std::string_view text = *self.string();
  const std::string affix = a.text(0);
  if (at_start && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!at_start && text.ends_with(affix)) text.remove_suffix(affix.size());
  return Val(text);
}

constexpr MethodRow kStringMethods[] = {
    {"strip", "chars", [](Runtime& rt, const Val& s, B& a) { return strip(rt, s, a, Side::kBoth); }},
    {"lstrip", "chars", [](Runtime& rt, const Val& s, B& a) { return strip(rt, s, a, Side::kLeft); }},
    {"rstrip", "chars", [](Runtime& rt, const Val& s, B& a) { return strip(rt, s, a, Side::kRight); }},
    {"split", "sep,maxsplit", [](Runtime& rt, const Val& s, B& a) { return split(rt, s, a, false); }},
    {"rsplit", "sep,maxsplit", [](Runtime& rt, const Val& s, B& a) { return split(rt, s, a, true); }},
    {"splitlines", "keepends", lines},
    {"partition", "sep", [](Runtime& rt, const Val& s, B& a) { return partition(rt, s, a, false); }},
    {"rpartition", "sep", [](Runtime& rt, const Val& s, B& a) { return partition(rt, s, a, true); }},
    {"startswith", "prefix,start,end", [](Runtime& rt, const Val& s, B& a) { return has_affix(rt, s, a, true); }},
    {"endswith", "suffix,start,end", [](Runtime& rt, const Val& s, B& a) { return has_affix(rt, s, a, false); }},
    {"removeprefix", "prefix", [](Runtime&, const Val& s, B& a) { return remove_affix(s, a, true); }},
    {"removesuffix", "suffix", [](Runtime&, const Val& s, B& a) { return remove_affix(s, a, false); }},
    {"find", "sub,start,end", [](Runtime& rt, const Val& s, B& a) { return find_text(rt, s, a, false, false); }},
    {"rfind", "sub,start,end", [](Runtime& rt, const Val& s, B& a) { return find_text(rt, s, a, true, false); }},
    {"index", "sub,start,end", [](Runtime& rt, const Val& s, B& a) { return find_text(rt, s, a, false, true); }},
    {"rindex", "sub,start,end", [](Runtime& rt, const Val& s, B& a) { return find_text(rt, s, a, true, true); }},
    {"count", "sub,start,end", count_text},
    {"replace", "old,new,count", [](Runtime& rt, const Val& s, B& a) {
       return Val(replace_text(rt, *s.string(), a.text(0), a.text(1), a.integer(2, -1))); }},
    {"join", "iterable", join},
    {"format", "*", [](Runtime& rt, const Val& s, B& a) { return Val(brace_format(rt, *s.string(), a.raw())); }},
    {"lower", "", [](Runtime& rt, const Val& s, B&) { rt.charge_bytes(s.string()->size()); return Val(to_lower(*s.string())); }},
    {"casefold", "", [](Runtime& rt, const Val& s, B&) { rt.charge_bytes(s.string()->size()); return Val(to_lower(*s.string())); }},
    {"upper", "", [](Runtime& rt, const Val& s, B&) { rt.charge_bytes(s.string()->size()); return Val(to_upper(*s.string())); }},
    {"title", "", [](Runtime& rt, const Val& s, B&) { rt.charge_bytes(s.string()->size()); return Val(to_title(*s.string())); }},
    {"capitalize", "", [](Runtime& rt, const Val& s, B&) { rt.charge_bytes(s.string()->size()); return Val(to_capitalized(*s.string())); }},
    {"swapcase", "", [](Runtime&, const Val& s, B&) { return swap_case(s); }},
    {"ljust", "width,fillchar", [](Runtime& rt, const Val& s, B& a) { return justify(rt, s, a, 'l'); }},
    {"rjust", "width,fillchar", [](Runtime& rt, const Val& s, B& a) { return justify(rt, s, a, 'r'); }},
    {"center", "width,fillchar", [](Runtime& rt, const Val& s, B& a) { return justify(rt, s, a, 'c'); }},
    {"zfill", "width", zfill},
    {"expandtabs", "tabsize", expand_tabs},
    {"isspace", "", [](Runtime&, const Val& s, B&) { return all_of(s, is_space_code); }},
    {"isalpha", "", [](Runtime&, const Val& s, B&) { return all_of(s, is_alpha_code); }},
    {"isdigit", "", [](Runtime&, const Val& s, B&) { return all_of(s, is_digit_code); }},
    {"isnumeric", "", [](Runtime&, const Val& s, B&) { return all_of(s, is_digit_code); }},
    {"isdecimal", "", [](Runtime&, const Val& s, B&) { return all_of(s, is_digit_code); }},
    {"isalnum", "", [](Runtime&, const Val& s, B&) {
       return all_of(s, [](uint32_t c) { return is_alpha_code(c) || is_digit_code(c); }); }},
    {"isascii", "", [](Runtime&, const Val& s, B&) {
       return Val(s.string()->empty() || *all_of(s, [](uint32_t c) { return c < 0x80; }).boolean()); }},
    {"isupper", "", [](Runtime&, const Val& s, B&) { return is_cased(s, is_lower_code); }},
    {"islower", "", [](Runtime&, const Val& s, B&) { return is_cased(s, is_upper_code); }},
    {"istitle", "", [](Runtime&, const Val& s, B&) { return Val(to_title(*s.string()) == *s.string() && to_lower(*s.string()) != to_upper(*s.string())); }},
    {"isidentifier", "", [](Runtime&, const Val& s, B&) { return Val(is_identifier(*s.string())); }},
};

}  // namespace

const MethodRow* find_string_method(std::string_view name) {
  for (const MethodRow& row : kStringMethods)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace olx::engine::jinja
