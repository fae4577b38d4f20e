#include "server/json/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>

#include "gguf/ascii.h"

namespace olx::server {
namespace json = boost::json;
namespace {

// Length of the valid UTF-8 character at the start of text; 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < n) return 0;
  const unsigned char second = byte(1);
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (size_t i = 2; i < n; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  return n;
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<size_t>(n, 1));
    const unsigned char c = static_cast<unsigned char>(character[0]);
    if (n == 0) out += "\\ufffd";
    else if (c == '"' || c == '\\') (out += '\\') += static_cast<char>(c);
    else if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (c == '\t') out += "\\t";
    else if (c == '\b') out += "\\b";
    else if (c == '\f') out += "\\f";
    else if (c < 0x20 || c == '<' || c == '>' || c == '&') out += fmt::format("\\u{:04x}", c);
    else if (character == "\u2028") out += "\\u2028";
    else if (character == "\u2029") out += "\\u2029";
    else out += character;
    text.remove_prefix(character.size());
  }
  out += '"';
}

// As encoding/json: fixed notation between 1e-6 and 1e21, an exponent outside.
void append_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  char buffer[400];
  const double size = std::fabs(number);
  const bool is_fixed = size == 0 || (size >= 1e-6 && size < 1e21);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number,
                                 is_fixed ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  // Go writes e-9, not e-09.
  if (const size_t at = text.find("e-0"); at != std::string::npos) text.erase(at + 2, 1);
  out += text;
}

void append(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: out += "null"; break;
    case json::kind::bool_: out += value.get_bool() ? "true" : "false"; break;
    case json::kind::int64: out += std::to_string(value.get_int64()); break;
    case json::kind::uint64: out += std::to_string(value.get_uint64()); break;
    case json::kind::double_: append_number(out, value.get_double()); break;
    case json::kind::string: append_string(out, value.get_string()); break;
    case json::kind::array: {
      out += '[';
      bool is_first = true;
      for (const json::value& item : value.get_array()) {
        if (!is_first) out += ',';
        is_first = false;
        append(out, item);
      }
      out += ']';
      break;
    }
    case json::kind::object: {
      out += '{';
      bool is_first = true;
      for (const auto& member : value.get_object()) {
        if (!is_first) out += ',';
        is_first = false;
        append_string(out, member.key());
        out += ':';
        append(out, member.value());
      }
      out += '}';
      break;
    }
  }
}

// What Boost.JSON's own parser builds, but for numbers: Boost 1.81 rounds the digits and the power
// of ten each for itself, so that a number of 17 digits was another one after each time it was
// written and read. Names are Boost's.
class ValueBuilder {
 public:
  static constexpr size_t max_object_size = kMaxJsonKeys;
  static constexpr size_t max_array_size = json::array::max_size();
  static constexpr size_t max_key_size = json::string::max_size();
  static constexpr size_t max_string_size = json::string::max_size();

  json::value release() { return stack_.release(); }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return true; }
  bool on_object_end(size_t n_members, json::error_code&) {
    return stack_.push_object(n_members), true;
  }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t n_items, json::error_code&) { return stack_.push_array(n_items), true; }
  bool on_key_part(json::string_view text, size_t, json::error_code&) {
    return stack_.push_chars(text), true;
  }
  bool on_key(json::string_view text, size_t, json::error_code&) {
    return stack_.push_key(text), true;
  }
  bool on_string_part(json::string_view text, size_t, json::error_code&) {
    return stack_.push_chars(text), true;
  }
  bool on_string(json::string_view text, size_t, json::error_code&) {
    return stack_.push_string(text), true;
  }
  bool on_number_part(json::string_view text, json::error_code&) {
    return number_.append(text), true;
  }
  bool on_int64(int64_t number, json::string_view, json::error_code&) {
    return number_.clear(), stack_.push_int64(number), true;
  }
  bool on_uint64(uint64_t number, json::string_view, json::error_code&) {
    return number_.clear(), stack_.push_uint64(number), true;
  }
  bool on_double(double nearly, json::string_view text, json::error_code&) {
    number_.append(text);
    // What is too small for a double is 0, as in Go; what is too large is an error there, and here.
    double number = 0;
    if (std::from_chars(number_.data(), number_.data() + number_.size(), number).ec ==
            std::errc::result_out_of_range &&
        std::fabs(nearly) > 1)
      throw JsonError("json: cannot unmarshal number " + number_ +
                      " into Go value of type float64");
    number_.clear();
    return stack_.push_double(number), true;
  }
  bool on_bool(bool value, json::error_code&) { return stack_.push_bool(value), true; }
  bool on_null(json::error_code&) { return stack_.push_null(), true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  json::value_stack stack_;
  std::string number_;  // the digits so far of a number
};

std::string_view go_kind(const json::value& value) {
  switch (value.kind()) {
    case json::kind::bool_: return "bool";
    case json::kind::string: return "string";
    case json::kind::array: return "array";
    case json::kind::object: return "object";
    case json::kind::null: return "null";
    default: return "number";
  }
}

std::string quoted_byte(char c) {
  const unsigned char byte = static_cast<unsigned char>(c);
  if (c == '\'') return "'\\''";
  if (c == '"') return "'\"'";
  if (byte >= 0x20 && byte < 0x7f) return fmt::format("'{}'", c);
  if (c == '\n') return "'\\n'";
  if (c == '\r') return "'\\r'";
  if (c == '\t') return "'\\t'";
  return fmt::format("'\\x{:02x}'", byte);
}

}  // namespace

json::value parse_json(std::string_view text) {
  // Go's encoder and decoder accept bytes that are no UTF-8 and replace them on output, as go_json() does.
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  options.allow_invalid_utf8 = true;
  json::basic_parser<ValueBuilder> parser(options);
  json::error_code error;
  const size_t n = parser.write_some(false, text.data(), text.size(), error);
  if (error == json::error::too_deep) throw JsonError("exceeded max depth");
  if (error == json::error::object_too_large)
    throw JsonError(fmt::format("json: an object has more than {} keys", kMaxJsonKeys));
  if (error == json::error::incomplete) throw JsonError("unexpected EOF");
  if (error) {
    const size_t at = text.find_first_not_of(" \t\r\n", std::min(n, text.size()));
    if (at == std::string_view::npos) throw JsonError("unexpected EOF");
    throw JsonError("invalid character " + quoted_byte(text[at]) +
                    " looking for beginning of value");
  }
  return parser.handler().release();
}

std::string go_json(const json::value& value) {
  std::string out;
  append(out, value);
  return out;
}

json::value to_json(const engine::Value& value) {
  if (const bool* b = value.as_bool()) return *b;
  if (const int64_t* i = value.as_int()) return *i;
  if (const double* d = value.as_double()) return *d;
  if (const std::string* s = value.as_string()) return json::string(*s);
  if (const engine::ValueList* list = value.as_list()) {
    json::array array;
    for (const engine::Value& item : *list) array.push_back(to_json(item));
    return array;
  }
  if (const engine::ValueMap* map = value.as_map()) {
    json::object object;
    for (const auto& [name, item] : *map) object[name] = to_json(item);
    return object;
  }
  return nullptr;
}

engine::Value to_value(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return {};
    case json::kind::bool_: return value.get_bool();
    case json::kind::int64: return value.get_int64();
    case json::kind::uint64: return static_cast<double>(value.get_uint64());
    case json::kind::double_: return value.get_double();
    case json::kind::string: return std::string(value.get_string());
    case json::kind::array: {
      engine::ValueList list;
      for (const json::value& item : value.get_array()) list.push_back(to_value(item));
      return list;
    }
    case json::kind::object: {
      engine::ValueMap map;
      for (const auto& member : value.get_object()) map.emplace_back(std::string(member.key()), to_value(member.value()));
      return map;
    }
  }
  return {};
}

const json::value* Fields::find(std::string_view name) const {
  const json::value* found = object_.if_contains(name);
  if (found == nullptr)
    for (const auto& member : object_)
      if (ascii::equal_ignoring_case(member.key(), name)) found = &member.value();
  return found != nullptr && found->is_null() ? nullptr : found;
}

void Fields::mismatch(std::string_view name, const json::value& found, std::string_view wanted) const {
  throw JsonError(fmt::format("json: cannot unmarshal {} into Go struct field {}.{} of type {}", go_kind(found), struct_,
                              name, wanted));
}

std::optional<std::string> Fields::text(std::string_view name) const {
  const json::value* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) mismatch(name, *found, "string");
  return std::string(found->get_string());
}

std::optional<bool> Fields::boolean(std::string_view name) const {
  const json::value* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_bool()) mismatch(name, *found, "bool");
  return found->get_bool();
}

std::optional<int64_t> Fields::integer(std::string_view name) const {
  const json::value* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_int64()) mismatch(name, *found, "int");
  return found->get_int64();
}

const json::array* Fields::array(std::string_view name) const {
  const json::value* found = find(name);
  if (found == nullptr) return nullptr;
  if (!found->is_array()) mismatch(name, *found, "[]interface {}");
  return &found->get_array();
}

const json::object* Fields::object(std::string_view name) const {
  const json::value* found = find(name);
  if (found == nullptr) return nullptr;
  if (!found->is_object()) mismatch(name, *found, "map[string]interface {}");
  return &found->get_object();
}

std::vector<std::string> Fields::texts(std::string_view name) const {
  std::vector<std::string> list;
  if (const json::array* found = array(name)) {
    for (const json::value& item : *found) {
      if (!item.is_string()) mismatch(name, item, "string");
      list.emplace_back(item.get_string());
    }
  }
  return list;
}

}  // namespace olx::server
