#include "server/api/capabilities.h"

#include <algorithm>

#include "engine/answer/answer_format.h"

namespace olx::server {
namespace {

// What a model may be able to do and this program is not, yet: a client that read it here would offer it, and be refused.
constexpr std::string_view kNotServed[] = {"vision", "audio", "image", "image generation"};

}  // namespace

std::vector<std::string> capabilities_of(const ModelContents& contents, const gguf::GgufFile& file) {
  std::vector<std::string> names = contents.config.capabilities;
  std::erase_if(names, [](const std::string& name) { return std::find(std::begin(kNotServed), std::end(kNotServed), name) != std::end(kNotServed); });
  const auto add = [&](const char* name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
  };
  const gguf::Value* architecture_value = file.find("general.architecture");
  const std::string architecture = architecture_value ? std::string(architecture_value->as_string("general.architecture")) : "";
  add(file.find(architecture + ".pooling_type") ? "embedding" : "completion");
  engine::AnswerFormat format;
  if (contents.template_text) {
    format = engine::recognise_go_format(*contents.template_text);
    if (contents.template_text->find(".Suffix") != std::string::npos) add("insert");
  } else if (const gguf::Value* jinja = file.find("tokenizer.chat_template")) {
    format = engine::recognise_format(jinja->as_string("tokenizer.chat_template"));
  }
  if (format.calls()) add("tools");
  if (format.thinks()) add("thinking");
  return names;
}

std::vector<std::string> CapabilityCache::of(const InstalledModel& installed, const ModelContents& contents) {
  const std::string digest = installed.digest.hex();
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_digest_.find(digest); found != by_digest_.end()) return found->second;
  }
  std::vector<std::string> names = capabilities_of(contents, gguf::GgufFile::open(contents.gguf_path));
  const std::lock_guard lock(mutex_);
  if (by_digest_.size() >= kMaxEntries) by_digest_.clear();
  by_digest_[digest] = names;
  return names;
}

}  // namespace olx::server
