#include "server/store/model_name.h"

#include <algorithm>

#include "gguf/ascii.h"
#include "gguf/split.h"

namespace olx::server {
namespace {

constexpr std::string_view kDefaultHost = "registry.ollama.ai";
constexpr std::string_view kDefaultNamespace = "library";
constexpr std::string_view kDefaultTag = "latest";

enum class Part { kHost, kNamespace, kModel, kTag };

bool is_word(char c) { return ascii::is_alphanumeric(c) || c == '_'; }

bool is_valid(Part part, std::string_view text) {
  const size_t max_size = part == Part::kHost ? 350 : 80;
  if (text.empty() || text.size() > max_size || !is_word(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    if (c == '.') return part != Part::kNamespace;
    if (c == ':') return part == Part::kHost;
    return is_word(c) || c == '-';
  });
}

// Cuts the part after the last `separator` off; false when there is none.
bool cut_last(std::string_view& text, char separator, std::string_view& after) {
  const size_t at = text.rfind(separator);
  if (at == std::string_view::npos) return false;
  after = text.substr(at + 1);
  text = text.substr(0, at);
  return true;
}

}  // namespace

std::optional<ModelName> ModelName::parse(std::string_view text) {
  if (const size_t at = text.find("://"); at != std::string_view::npos) text = text.substr(at + 3);
  std::string_view host = kDefaultHost, name_space = kDefaultNamespace, model, tag = kDefaultTag;
  const size_t colon = text.rfind(':');
  const size_t slash = text.rfind('/');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash))
    cut_last(text, ':', tag);
  if (!cut_last(text, '/', model)) {
    model = text;
  } else if (!cut_last(text, '/', name_space)) {
    name_space = text;
  } else {
    host = text;
  }
  if (!is_valid(Part::kHost, host) || !is_valid(Part::kNamespace, name_space) || !is_valid(Part::kModel, model) ||
      !is_valid(Part::kTag, tag))
    return std::nullopt;
  ModelName name;
  name.host_ = host;
  name.namespace_ = name_space;
  name.model_ = model;
  name.tag_ = tag;
  return name;
}

std::string ModelName::full() const { return host_ + "/" + namespace_ + "/" + model_ + ":" + tag_; }

std::string ModelName::shortest() const {
  std::string text;
  const bool is_default_host = ascii::equal_ignoring_case(host_, kDefaultHost);
  if (!is_default_host) text += host_ + "/";
  if (!is_default_host || !ascii::equal_ignoring_case(namespace_, kDefaultNamespace)) text += namespace_ + "/";
  return text + model_ + ":" + tag_;
}

std::string ModelName::path() const { return host_ + "/" + namespace_ + "/" + model_ + "/" + tag_; }

int ModelName::n_shared_parts(const ModelName& other) const {
  if (!ascii::equal_ignoring_case(host_, other.host_)) return 0;
  if (!ascii::equal_ignoring_case(namespace_, other.namespace_)) return 1;
  if (!ascii::equal_ignoring_case(model_, other.model_)) return 2;
  return ascii::equal_ignoring_case(tag_, other.tag_) ? 4 : 3;
}

ModelName ModelName::spelled_like(const ModelName& other) const {
  const int n_shared = n_shared_parts(other);
  ModelName name = *this;
  if (n_shared > 0) name.host_ = other.host_;
  if (n_shared > 1) name.namespace_ = other.namespace_;
  if (n_shared > 2) name.model_ = other.model_;
  if (n_shared > 3) name.tag_ = other.tag_;
  return name;
}

std::optional<ModelName> name_for_file(std::string_view file_name) {
  std::string name(file_name);
  if (const auto split = gguf::parse_split_name(file_name)) name = split->stem;
  else if (file_name.ends_with(".gguf")) name.resize(name.size() - 5);
  name.resize(std::min<size_t>(name.size(), 80));
  for (char& c : name)
    if (!is_word(c) && c != '.' && c != '-') c = '-';
  return ModelName::parse(name);
}

}  // namespace olx::server
