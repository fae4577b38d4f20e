#include "server/modelfile/modelfile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace olx::server {
namespace {

constexpr std::array<std::string_view, 11> kCommands = {"from",     "license", "template",  "system",  "adapter", "draft",
                                                        "renderer", "parser",  "parameter", "message", "requires"};

struct ParameterRow {
  std::string_view name;
  ParameterType type;
};

constexpr ParameterRow kParameters[] = {
    {"num_ctx", ParameterType::kInt},           {"num_batch", ParameterType::kInt},
    {"num_gpu", ParameterType::kInt},           {"main_gpu", ParameterType::kInt},
    {"use_mmap", ParameterType::kBool},         {"num_thread", ParameterType::kInt},
    {"draft_num_predict", ParameterType::kInt}, {"num_keep", ParameterType::kInt},
    {"seed", ParameterType::kInt},              {"num_predict", ParameterType::kInt},
    {"top_k", ParameterType::kInt},             {"top_p", ParameterType::kFloat},
    {"min_p", ParameterType::kFloat},           {"typical_p", ParameterType::kFloat},
    {"repeat_last_n", ParameterType::kInt},     {"temperature", ParameterType::kFloat},
    {"repeat_penalty", ParameterType::kFloat},  {"presence_penalty", ParameterType::kFloat},
    {"frequency_penalty", ParameterType::kFloat}, {"stop", ParameterType::kText},
    {"penalize_newline", ParameterType::kDeprecated}, {"low_vram", ParameterType::kDeprecated},
    {"f16_kv", ParameterType::kDeprecated},     {"logits_all", ParameterType::kDeprecated},
    {"vocab_only", ParameterType::kDeprecated}, {"use_mlock", ParameterType::kDeprecated},
    {"numa", ParameterType::kDeprecated},       {"tfs_z", ParameterType::kDeprecated},
    // Ollama warns that these three are deprecated and drops them; the sampler here knows them.
    {"mirostat", ParameterType::kInt},          {"mirostat_tau", ParameterType::kFloat},
    {"mirostat_eta", ParameterType::kFloat},
};

bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_space(char32_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

constexpr char32_t kReplacement = 0xfffd;

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  for (size_t i = 0; i < bytes.size();) {
    const auto byte = [&](size_t at) { return static_cast<unsigned char>(bytes[at]); };
    const unsigned char lead = byte(i);
    const size_t n = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    char32_t c = n == 1 ? lead : lead & (0x7f >> n);
    bool is_valid = n == 1 || (lead >= 0xc2 && lead <= 0xf4 && i + n <= bytes.size());
    for (size_t k = 1; is_valid && k < n; ++k) {
      is_valid = (byte(i + k) & 0xc0) == 0x80;
      c = (c << 6) | (byte(i + k) & 0x3f);
    }
    constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < kSmallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) is_valid = false;
    out += is_valid ? c : kReplacement;
    i += is_valid ? n : 1;
  }
  return out;
}

std::u32string decode_utf16(std::string_view bytes, bool is_big_endian) {
  std::u32string out;
  char32_t high = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const auto first = static_cast<unsigned char>(bytes[i]), second = static_cast<unsigned char>(bytes[i + 1]);
    const char32_t unit = is_big_endian ? first << 8 | second : second << 8 | first;
    const bool is_low = unit >= 0xdc00 && unit < 0xe000;
    if (high != 0 && is_low) {
      out += 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00);
      high = 0;
      continue;
    }
    if (high != 0) out += kReplacement;
    high = unit >= 0xd800 && unit < 0xdc00 ? unit : 0;
    if (high == 0) out += is_low ? kReplacement : unit;
  }
  if (high != 0) out += kReplacement;
  return out;
}

std::u32string decode(std::string_view bytes) {
  if (bytes.starts_with("\xef\xbb\xbf")) return decode_utf8(bytes.substr(3));
  if (bytes.starts_with("\xff\xfe")) return decode_utf16(bytes.substr(2), false);
  if (bytes.starts_with("\xfe\xff")) return decode_utf16(bytes.substr(2), true);
  return decode_utf8(bytes);
}

// Characters a value keeps: what prints, and the three that shape text. The invisible ones that would hide in a prompt go.
bool is_kept(char32_t c) {
  if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return true;
  if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad) return false;
  if ((c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f)) return false;
  return c != 0x1680 && c != 0x3000 && c != 0xfeff && !(c >= 0xe000 && c <= 0xf8ff) && !(c >= 0xfff9 && c <= 0xfffb) &&
         !(c >= 0xe0000 && c <= 0xe007f) && c < 0xf0000;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

// Takes the quotes off. False while a quote is open.
bool unquote(std::string_view text, std::string& out) {
  text = trim(text);
  for (const std::string_view quote : {std::string_view("\"\"\""), std::string_view("\"")}) {
    if (!text.starts_with(quote)) continue;
    if (text.size() < 2 * quote.size() || !text.ends_with(quote)) return false;
    out = text.substr(quote.size(), text.size() - 2 * quote.size());
    return true;
  }
  out = text;
  return true;
}

class Parser {
 public:
  explicit Parser(std::u32string text) : text_(std::move(text)) {}

  Modelfile parse() {
    Modelfile commands;
    while (skip_between()) commands.push_back(command());
    const bool has_from = std::any_of(commands.begin(), commands.end(), [](const auto& c) { return c.name == "from"; });
    if (!has_from) throw ModelfileError("no FROM line");
    return commands;
  }

 private:
  bool at_end() const { return position_ == text_.size(); }
  char32_t peek() const { return text_[position_]; }
  char32_t take() {
    const char32_t c = text_[position_++];
    if (c == '\n' || c == '\r') ++line_;
    return c;
  }

  // Blank space and comments. False at the end.
  bool skip_between() {
    while (!at_end()) {
      if (is_space(peek())) {
        take();
      } else if (peek() == '#') {
        while (!at_end() && peek() != '\n' && peek() != '\r') take();
      } else {
        return true;
      }
    }
    return false;
  }

  ModelfileCommand command() {
    ModelfileCommand found;
    found.name = word_of_letters();
    if (std::find(kCommands.begin(), kCommands.end(), found.name) == kCommands.end()) bad_command();
    if (found.name == "parameter") found.argument = parameter_name();
    if (found.name == "message") found.argument = role();
    found.value = value();
    return found;
  }

  [[noreturn]] void bad_command() const {
    throw ModelfileError(fmt::format(
        "(line {}): command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \"draft\", "
        "\"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\"", line_));
  }

  // A command word in lower case, with the blanks after it taken.
  std::string word_of_letters() {
    std::string word;
    bool is_word = true;
    if (!is_letter(peek())) {  // whatever comes first begins a word
      take();
      is_word = false;
    }
    while (!at_end() && is_letter(peek())) word += static_cast<char>(take() | 0x20);
    if (at_end()) throw ModelfileError("unexpected EOF");
    const bool is_ended = peek() == ' ' || peek() == '\t';
    if (!is_ended) take();  // a line break that is the offence counts already
    if (!is_ended || !is_word) bad_command();
    skip_blanks();
    return word;
  }

  void skip_blanks() {
    while (!at_end() && (peek() == ' ' || peek() == '\t')) take();
  }

  std::string argument(bool (*is_allowed)(char32_t)) {
    std::string word;
    while (!at_end() && is_allowed(peek())) word += static_cast<char>(take());
    if (at_end()) throw ModelfileError("unexpected EOF");
    if (peek() != ' ' && peek() != '\t') throw ModelfileError("unexpected EOF: " + word);
    skip_blanks();
    return word;
  }

  std::string parameter_name() {
    return argument([](char32_t c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; });
  }

  std::string role() {
    const int line = line_;
    std::string word = argument(is_letter);
    if (word != "system" && word != "user" && word != "assistant")
      throw ModelfileError(fmt::format("(line {}): message role must be one of \"system\", \"user\", or \"assistant\"", line));
    return word;
  }

  std::string value() {
    std::string raw, unquoted;
    bool is_changed = true;  // blank lines close nothing: to look again after each would be quadratic
    for (;;) {
      const bool is_line_end = at_end() || peek() == '\n' || peek() == '\r';
      if (is_line_end && is_changed && unquote(raw, unquoted)) break;
      if (at_end()) throw ModelfileError("unexpected EOF");
      if (is_line_end) is_changed = false;
      const char32_t c = take();
      if (is_kept(c)) append_utf8(raw, c);
      if (!is_space(c)) is_changed = true;
    }
    return unquoted;
  }

  std::u32string text_;
  size_t position_ = 0;
  int line_ = 1;
};

std::string modelfile_value(const std::string& value) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  const bool needs_quotes = value.empty() || value.find_first_of("\r\n") != std::string::npos || is_blank(value.front()) ||
                            is_blank(value.back()) || value.front() == '"';
  if (!needs_quotes) return value;
  return value.find('"') != std::string::npos ? "\"\"\"" + value + "\"\"\"" : "\"" + value + "\"";
}

}  // namespace

Modelfile parse_modelfile(std::string_view bytes) { return Parser(decode(bytes)).parse(); }

std::string write_modelfile(const Modelfile& modelfile) {
  std::string out;
  for (const ModelfileCommand& command : modelfile) {
    std::string name = command.name;
    for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 0x20 : c);
    out += name + " ";
    if (!command.argument.empty()) out += command.argument + " ";
    out += modelfile_value(command.value) + "\n";
  }
  return out;
}

const ParameterType* find_parameter_type(std::string_view name) {
  for (const ParameterRow& row : kParameters)
    if (row.name == name) return &row.type;
  return nullptr;
}

}  // namespace olx::server
