#include "engine/inspect.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <istream>
#include <iterator>
#include <ostream>

#include "engine/engine.h"
#include "engine/metadata.h"
#include "engine/text/chat_template.h"
#include "engine/text/jinja/jinja.h"
#include "engine/text/tokenizer.h"
#include "gguf/reader.h"

namespace olx::engine {
namespace {

namespace json = boost::json;

constexpr size_t kMaxInputBytes = 256u << 20;
constexpr size_t kMaxTemplateBytes = 4u << 20;
constexpr uint64_t kShownElements = 8;  // of an array, in the text form

std::string read_all(std::istream& in, size_t limit, const char* what) {
  std::string text;
  char chunk[65536];
  while (in.read(chunk, sizeof chunk) || in.gcount() > 0) {
    text.append(chunk, static_cast<size_t>(in.gcount()));
    if (text.size() > limit)
      throw EngineError(ErrorCode::kInvalidRequest, std::string(what) + ": expected at most " + std::to_string(limit) + " bytes, got more");
  }
  return text;
}

json::value parse_json(const std::string& text, const char* what) {
  boost::system::error_code failed;
  json::parse_options options;
  options.max_depth = 128;
  json::value value = json::parse(text, failed, {}, options);
  if (failed) throw EngineError(ErrorCode::kInvalidRequest, std::string(what) + ": not JSON: " + failed.message());
  return value;
}

Value to_value(const json::value& from) {
  switch (from.kind()) {
    case json::kind::bool_: return from.get_bool();
    case json::kind::int64: return from.get_int64();
    case json::kind::uint64:
      if (from.get_uint64() > static_cast<uint64_t>(INT64_MAX)) return static_cast<double>(from.get_uint64());
      return static_cast<int64_t>(from.get_uint64());
    case json::kind::double_: return from.get_double();
    case json::kind::string: return std::string(from.get_string());
    case json::kind::array: {
      ValueList list;
      for (const json::value& element : from.get_array()) list.push_back(to_value(element));
      return list;
    }
    case json::kind::object: {
      ValueMap map;
      for (const auto& member : from.get_object()) map.emplace_back(std::string(member.key()), to_value(member.value()));
      return map;
    }
    default: return nullptr;
  }
}

// A string of a file as JSON wants it: bytes that are not UTF-8 become U+FFFD.
json::string json_text(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t n = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    bool is_valid = n > 0 && i + n <= text.size();
    for (size_t k = 1; is_valid && k < n; ++k) is_valid = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    const auto second = is_valid && n > 1 ? static_cast<unsigned char>(text[i + 1]) : 0x80;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
      is_valid = false;
    out += is_valid ? text.substr(i, n) : std::string_view("\xef\xbf\xbd");
    i += is_valid ? n : 1;
  }
  return json::string(out);
}

json::value to_json(const Value& value) {
  if (const bool* b = value.as_bool()) return *b;
  if (const int64_t* i = value.as_int()) return *i;
  if (const double* d = value.as_double()) return *d;
  if (const std::string* text = value.as_string()) return json_text(*text);
  if (const ValueList* list = value.as_list()) {
    json::array out;
    for (const Value& element : *list) out.push_back(to_json(element));
    return out;
  }
  return nullptr;  // metadata has no maps
}

}  // namespace

void inspect_gguf(const std::string& path, bool as_json, std::ostream& out) {
  const gguf::GgufFile file = gguf::GgufFile::open(path);
  if (as_json) {
    json::object metadata;
    for (const auto& entry : file.metadata()) metadata[entry.key] = to_json(metadata_value(entry.key, entry.value, UINT64_MAX));
    json::array tensors;
    for (const auto& tensor : file.tensors()) {
      json::array shape;
      for (int d = 0; d < tensor.n_dims; ++d) shape.push_back(tensor.shape[static_cast<size_t>(d)]);
      tensors.push_back({{"name", json_text(tensor.name)}, {"type", gguf::dtype_info(tensor.dtype).name}, {"shape", shape},
                         {"offset", tensor.offset_bytes}, {"size", tensor.size_bytes}});
    }
    out << json::serialize(json::object{{"version", file.version()}, {"alignment", file.alignment()}, {"file_size", file.file_size_bytes()},
                                        {"data_offset", file.data_offset_bytes()}, {"metadata", metadata}, {"tensors", tensors}})
        << "\n";
    return;
  }
  out << path << ": GGUF version " << file.version() << ", " << file.metadata().size() << " keys, " << file.tensors().size()
      << " tensors, " << file.file_size_bytes() << " bytes\n\n";
  for (const auto& entry : file.metadata()) {
    out << entry.key << " = " << json::serialize(to_json(metadata_value(entry.key, entry.value, kShownElements)));
    if (entry.value.n_elems() > kShownElements) out << " ... (" << entry.value.n_elems() << " in all)";
    out << "\n";
  }
  out << "\n";
  for (const auto& tensor : file.tensors())
    out << std::left << std::setw(40) << tensor.name << " " << std::setw(8) << gguf::dtype_info(tensor.dtype).name << " " << std::setw(20)
        << tensor.shape_text() << " " << tensor.size_bytes << " bytes @ " << tensor.offset_bytes << "\n";
}

void inspect_tokens(const std::string& path, bool with_special, bool is_nul_separated, std::istream& in, std::ostream& out) {
  const gguf::GgufFile file = gguf::GgufFile::open(path);
  const auto tokenizer = make_tokenizer(file);
  const std::string input = read_all(in, kMaxInputBytes, "text");
  const auto print = [&](std::string_view text) {
    out << "[";
    const char* separator = "";
    for (int32_t id : tokenizer->encode(text, {.add_special = with_special, .parse_special = with_special})) {
      out << separator << id;
      separator = ",";
    }
    out << "]\n";
  };
  if (!is_nul_separated) return print(input);
  // A NUL after the last string ends it and does not begin another.
  for (size_t from = 0; from < input.size() || from == 0;) {
    const size_t end = input.find('\0', from);
    print(std::string_view(input).substr(from, end == std::string::npos ? end : end - from));
    if (end == std::string::npos || end + 1 >= input.size()) break;
    from = end + 1;
  }
}

void inspect_template(const std::string& path, std::istream& in, std::ostream& out) {
  const bool is_jinja = path.ends_with(".jinja") || path.ends_with(".j2"), is_go = path.ends_with(".gotmpl") || path.ends_with(".tmpl");
  if (!is_jinja && !is_go)
    throw EngineError(ErrorCode::kInvalidRequest, path + ": expected a file that ends in .jinja or .gotmpl");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw EngineError(ErrorCode::kInvalidRequest, path + ": cannot be read");
  const std::string source = read_all(file, kMaxTemplateBytes, path.c_str());
  const json::value variables = parse_json(read_all(in, kMaxInputBytes, "variables"), "variables");
  if (!variables.is_object()) throw EngineError(ErrorCode::kInvalidRequest, "variables: expected a JSON object");
  const Value value = to_value(variables);
  if (!is_jinja) {
    out << render_go_template(source, value);
    return;
  }
  // A template that prints the date is repeatable with SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs).
  jinja::RenderClock clock;
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && *epoch != '\0') {
    clock.unix_seconds = std::strtoll(epoch, nullptr, 10);
    clock.is_utc = true;
  }
  out << jinja::JinjaTemplate(source).render(value, {}, clock);
}

void inspect_logits(const std::string& path, const std::string& device, int n_top, std::istream& in, std::ostream& out) {
  const json::value input = parse_json(read_all(in, kMaxInputBytes, "tokens"), "tokens");
  if (!input.is_array()) throw EngineError(ErrorCode::kInvalidRequest, "tokens: expected a JSON array of token ids");
  std::vector<int32_t> tokens;
  for (const json::value& id : input.get_array()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > INT32_MAX)
      throw EngineError(ErrorCode::kInvalidRequest, "tokens: expected token ids, got " + json::serialize(id));
    tokens.push_back(static_cast<int32_t>(id.get_int64()));
  }
  EngineOptions options;
  options.model_path = path;
  options.device = device;
  options.n_ctx = static_cast<int>(std::max<size_t>(tokens.size(), 64));
  // The yardstick computes with nothing rounded on the way.
  if (device == "reference") options.kv_cache_type = "f32";
  const auto engine = Engine::open(options);
  out << std::setprecision(12);
  for (const PositionLogits& position : engine->logits(tokens, n_top)) {
    out << "{\"logsumexp\":" << position.logsumexp << ",\"top\":[";
    const char* separator = "";
    for (const auto& [id, logprob] : position.top) {
      out << separator << "[" << id << "," << logprob << "]";
      separator = ",";
    }
    out << "]}\n";
  }
}

}  // namespace olx::engine
