#include "engine/text/pretokenize/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace olx::engine {
namespace {

// Bounds of the second byte by first byte: Unicode 15, table 3-7 (well-formed UTF-8 byte
// sequences).
struct Lead {
  uint32_t n_bytes;
  uint8_t low, high;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Length of the longest well-formed beginning of the sequence that `lead` starts.
size_t well_formed_prefix(std::string_view text, size_t pos, const Lead& lead) {
  size_t n = 1;
  for (; n < lead.n_bytes && pos + n < text.size(); ++n) {
    const auto byte = static_cast<uint8_t>(text[pos + n]);
    const uint8_t low = n == 1 ? lead.low : 0x80;
    const uint8_t high = n == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) break;
  }
  return n;
}

uint32_t class_by_category(uint32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kLetter | kUpperLike;
    case UTF8PROC_CATEGORY_LL:
      return kLetter | kLowerLike;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter | kUpperLike | kLowerLike;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark | kUpperLike | kLowerLike;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return kSymbol;
    default:
      return 0;
  }
}

const std::array<uint32_t, 128>& ascii_classes() {
  static const std::array<uint32_t, 128> table = [] {
    std::array<uint32_t, 128> t{};
    for (uint32_t c = 0; c < 128; ++c)
      t[c] = class_by_category(c) | (is_white_space(c) ? kSpace : 0);
    return t;
  }();
  return table;
}

}  // namespace

Utf8Char decode_utf8(std::string_view text, size_t pos) {
  const auto first = static_cast<uint8_t>(text[pos]);
  if (first < 0x80) return {first, 1, true};
  const Lead lead = lead_of(first);
  if (lead.n_bytes == 0 || well_formed_prefix(text, pos, lead) != lead.n_bytes) return {};
  uint32_t code = first & (0x7Fu >> lead.n_bytes);
  for (uint32_t i = 1; i < lead.n_bytes; ++i) {
    code = code << 6 | (static_cast<uint8_t>(text[pos + i]) & 0x3Fu);
  }
  return {code, lead.n_bytes, true};
}

bool is_utf8(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Char c = decode_utf8(text, pos);
    if (!c.valid) return false;
    pos += c.n_bytes;
  }
  return true;
}

size_t incomplete_utf8(std::string_view text, size_t pos) {
  const Lead lead = lead_of(static_cast<uint8_t>(text[pos]));
  if (lead.n_bytes < 2) return 0;
  const size_t n = well_formed_prefix(text, pos, lead);
  return n < lead.n_bytes && pos + n == text.size() ? n : 0;
}

size_t wrong_utf8(std::string_view text, size_t pos) {
  const Lead lead = lead_of(static_cast<uint8_t>(text[pos]));
  return lead.n_bytes < 2 ? 1 : well_formed_prefix(text, pos, lead);
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// PropList.txt, property White_Space: what \s means in the Unicode mode of the regular expressions
// of pre-tokenizers.
bool is_white_space(uint32_t code) {
  return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

uint32_t char_class(uint32_t code) {
  if (code < 128) return ascii_classes()[code];
  return class_by_category(code) | (is_white_space(code) ? kSpace : 0);
}

void classify(std::string_view text, ClassifiedText& out) {
  const std::array<uint32_t, 128>& ascii = ascii_classes();
  out.clear();
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const auto byte = static_cast<uint8_t>(text[pos]);
    if (byte < 128) {
      out.push_back(byte | ascii[byte]);
      ++pos;
      continue;
    }
    const Utf8Char c = decode_utf8(text, pos);
    out.push_back(c.code | (c.valid ? char_class(c.code) : kSymbol | kInvalid));
    pos += c.n_bytes;
  }
}

bool is_nonspacing_mark(uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_MN;
}

bool is_control_or_format(uint32_t code) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO;
}

void decompose(std::vector<uint32_t>& codes) {
  const auto combining_class = [](uint32_t code) {
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class;
  };
  std::vector<uint32_t> out;
  out.reserve(codes.size());
  for (const uint32_t code : codes) {
    if (code < 0xC0) {
      out.push_back(code);
      continue;
    }
    std::array<utf8proc_int32_t, 32> parts;  // the longest canonical decomposition has 4 characters
    int boundary = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts.data(),
                                           parts.size(), UTF8PROC_DECOMPOSE, &boundary);
    if (n <= 0 || n > static_cast<utf8proc_ssize_t>(parts.size())) {
      out.push_back(code);
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < n; ++i) out.push_back(static_cast<uint32_t>(parts[i]));
  }
  // Canonical ordering. utf8proc's own is an insertion sort, quadratic in a long run of marks.
  for (size_t i = 0; i < out.size();) {
    if (out[i] < 0x300 || combining_class(out[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < out.size() && combining_class(out[end]) != 0) ++end;
    std::stable_sort(
        out.begin() + static_cast<ptrdiff_t>(i), out.begin() + static_cast<ptrdiff_t>(end),
        [&](uint32_t a, uint32_t b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
  codes.swap(out);
}

void append_lower(std::vector<uint32_t>& out, uint32_t code) {
  if (code ==
      0x130) {  // SpecialCasing.txt: the only unconditional lower case of more than one character
    out.push_back('i');
    out.push_back(0x307);
    return;
  }
  out.push_back(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

}  // namespace olx::engine
