#include "server/store/gguf_layer.h"

#include <algorithm>
#include <array>

#include "gguf/reader.h"
#include "server/store/files.h"
#include "server/store/manifest.h"
#include "server/store/store_error.h"

namespace olx::server {
namespace {

constexpr uint64_t kToldEveryBytes = 256 << 20;

std::string text_or(const gguf::GgufFile& file, std::string_view key, const char* otherwise) {
  const gguf::Value* value = file.find(key);
  return value == nullptr ? otherwise : std::string(value->as_string(key));
}

std::string_view media_type_of(const gguf::GgufFile& file, const std::string& architecture) {
  const std::string type = text_or(file, "general.type", "model");
  if (type == "adapter") return media_type::kAdapter;
  if (type == "projector" || type == "mmproj" || architecture == "clip") return media_type::kProjector;
  const bool is_encoder = file.find(architecture + ".vision.block_count") != nullptr;
  if (is_encoder && file.find(architecture + ".block_count") == nullptr) return media_type::kProjector;
  return media_type::kModel;
}

std::string without(std::string text, const std::string& path, const std::string& shown_name) {
  for (size_t at; !path.empty() && (at = text.find(path)) != std::string::npos;) text.replace(at, path.size(), shown_name);
  return text;
}

}  // namespace

bool has_gguf_magic(const std::string& path) {
  std::array<char, 4> magic{};
  const File file = File::open_for_reading(path);
  size_t n_read = 0;
  while (n_read < magic.size()) {
    const size_t n = file.read(std::span(magic).subspan(n_read));
    if (n == 0) return false;
    n_read += n;
  }
  return std::string_view(magic.data(), magic.size()) == "GGUF";
}

GgufFacts read_gguf_facts(const std::string& path, const std::string& shown_name) {
  try {
    const gguf::GgufFile file = gguf::GgufFile::open_part(path);
    GgufFacts facts;
    facts.architecture = text_or(file, "general.architecture", "unknown");
    facts.media_type = media_type_of(file, facts.architecture);
    if (const gguf::SplitPlace place = gguf::split_place(file); place.n_parts > 1)
      throw StoreError(StoreError::Kind::kInvalid,
                       shown_name + " is one part of a split model: give all parts, called " +
                           gguf::SplitName{"NAME", 1, place.n_parts}.file_name(place.number + 1) + " and so on");
    uint64_t n_parameters = 0;
    for (const gguf::TensorInfo& tensor : file.tensors()) n_parameters += static_cast<uint64_t>(tensor.n_elems());
    facts.parameter_size = parameter_count_text(n_parameters);
    const gguf::Value* file_type = file.find("general.file_type");
    facts.file_type = file_type_name(file_type == nullptr ? 0 : file_type->as_uint("general.file_type"));
    return facts;
  } catch (const gguf::FormatError& error) {
    throw StoreError(StoreError::Kind::kInvalid, without(error.what(), path, shown_name));
  }
}

Digest merge_gguf_parts(Store& store, const std::vector<Digest>& parts, const gguf::SplitName& name, const std::function<void()>& on_progress) {
  std::vector<std::string> paths;
  for (const Digest& part : parts) paths.push_back(store.blob_path(part).string());
  try {
    for (const std::string& path : paths)
      if (!has_gguf_magic(path)) throw StoreError(StoreError::Kind::kInvalid, "supplied file was not in GGUF format");
    const gguf::GgufFile joined = gguf::GgufFile::open_parts(paths);
    store.check_room(gguf::merged_size_bytes(joined));
    BlobWriter blob = store.new_blob();
    uint64_t n_told = 0;
    gguf::merge(joined, [&](std::span<const std::byte> bytes) {
      blob.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      if (blob.size_bytes() - n_told < kToldEveryBytes) return;
      n_told = blob.size_bytes();
      on_progress();
    });
    return blob.commit();
  } catch (const gguf::FormatError& error) {
    std::string text = error.what();
    for (size_t i = 0; i < paths.size(); ++i) text = without(text, paths[i], name.file_name(i + 1));
    throw StoreError(StoreError::Kind::kInvalid, text);
  }
}

void add_to_config(const GgufFacts& facts, ModelConfig& config) {
  const auto fill = [](std::string& member, std::string_view text) {
    if (member.empty()) member = text;
  };
  fill(config.model_format, "gguf");
  fill(config.model_family, facts.architecture);
  fill(config.model_type, facts.parameter_size);
  fill(config.file_type, facts.file_type);
  auto& families = config.model_families;
  if (std::find(families.begin(), families.end(), facts.architecture) == families.end())
    families.push_back(facts.architecture);
}

}  // namespace olx::server
