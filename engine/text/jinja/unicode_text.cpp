#include "engine/text/jinja/unicode_text.h"

#include <utf8proc.h>

namespace olx::engine::jinja {

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

static size_t decode(std::string_view text, size_t i, uint32_t& code) {
  const auto first = static_cast<unsigned char>(text[i]);
  if (first < 0x80) {
    code = first;
    return 1;
  }
  utf8proc_int32_t value = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data() + i);
  const auto n = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - i), &value);
  if (n <= 0) {
    code = 0xDC00u + first;
    return 1;
  }
  code = static_cast<uint32_t>(value);
  return static_cast<size_t>(n);
}

size_t char_bytes(std::string_view text, size_t i) {
  uint32_t code = 0;
  return decode(text, i, code);
}

uint32_t char_code(std::string_view text, size_t i) {
  uint32_t code = 0;
  decode(text, i, code);
  return code;
}

size_t count_chars(std::string_view text) {
  size_t n = 0;
  for (size_t i = 0; i < text.size(); i += char_bytes(text, i)) ++n;
  return n;
}

std::vector<std::string_view> split_chars(std::string_view text) {
  std::vector<std::string_view> out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t n = char_bytes(text, i);
    out.push_back(text.substr(i, n));
    i += n;
  }
  return out;
}

size_t char_offset(std::string_view text, size_t n) {
  size_t i = 0;
  for (; n > 0 && i < text.size(); --n) i += char_bytes(text, i);
  return i;
}

bool is_space_code(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13) || (code >= 0x1C && code <= 0x1F);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view lstrip_spaces(std::string_view text) {
  size_t i = 0;
  while (i < text.size() && is_space_code(char_code(text, i))) i += char_bytes(text, i);
  return text.substr(i);
}

std::string_view rstrip_spaces(std::string_view text) {
  while (!text.empty()) {
    size_t i = text.size() - 1;
    while (i > 0 && (text[i] & 0xC0) == 0x80 && text.size() - i < 4) --i;
    if (i + char_bytes(text, i) != text.size() || !is_space_code(char_code(text, i))) break;
    text = text.substr(0, i);
  }
  return text;
}

static utf8proc_category_t category(uint32_t code) {
  return code > 0x10FFFF ? UTF8PROC_CATEGORY_CN
                         : utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_alpha_code(uint32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
bool is_digit_code(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }
bool is_upper_code(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower_code(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_LL; }

bool is_printable_code(uint32_t code) {
  if (code == ' ') return true;
  const auto c = category(code);
  return c != UTF8PROC_CATEGORY_CN && c < UTF8PROC_CATEGORY_ZS;
}

namespace {

enum class Case { kLower, kUpper, kTitle };

// One-to-one mappings from utf8proc, and the only one-to-many in common use, the sharp s.
void append_cased(std::string& out, std::string_view text, size_t i, size_t n, Case how) {
  const uint32_t code = char_code(text, i);
  if (code >= 0xD800 && code < 0xE000) {
    out.append(text.substr(i, n));
    return;
  }
  if (code == 0xDF && how != Case::kLower) {
    out += how == Case::kUpper ? "SS" : "Ss";
    return;
  }
  const auto value = static_cast<utf8proc_int32_t>(code);
  const auto mapped = how == Case::kLower   ? utf8proc_tolower(value)
                      : how == Case::kUpper ? utf8proc_toupper(value)
                                            : utf8proc_totitle(value);
  append_utf8(out, static_cast<uint32_t>(mapped));
}

bool is_cased(uint32_t code) {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

template <typename Choose>
std::string map_case(std::string_view text, Choose choose) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t n = char_bytes(text, i);
    append_cased(out, text, i, n, choose(char_code(text, i)));
    i += n;
  }
  return out;
}

}  // namespace

std::string to_lower(std::string_view text) {
  return map_case(text, [](uint32_t) { return Case::kLower; });
}
std::string to_upper(std::string_view text) {
  return map_case(text, [](uint32_t) { return Case::kUpper; });
}
std::string to_title(std::string_view text) {
  bool inside = false;
  return map_case(text, [&](uint32_t code) {
    const Case how = inside ? Case::kLower : Case::kTitle;
    inside = is_cased(code);
    return how;
  });
}
std::string to_capitalized(std::string_view text) {
  bool first = true;
  return map_case(text, [&](uint32_t) {
    const Case how = first ? Case::kTitle : Case::kLower;
    first = false;
    return how;
  });
}

}  // namespace olx::engine::jinja
