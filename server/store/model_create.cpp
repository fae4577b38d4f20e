// ModelStore::create: from a request to layers, from layers to a manifest.

#include <algorithm>
#include <map>

#include "gguf/split.h"
#include "server/store/gguf_layer.h"
#include "server/store/layer_text.h"
#include "server/store/model_store.h"

namespace olx::server {
using Kind = StoreError::Kind;
namespace {

// As Go's fs.ValidPath: slashes between non-empty elements, none of them "." or "..".
bool is_relative_path(std::string_view path) {
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view element = path.substr(0, slash);
    if (element.empty() || element == "." || element == ".." || element.find('\0') != std::string_view::npos) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

constexpr uint64_t kToldOfBytes = 256 << 20;

[[noreturn]] void refuse_creation(const std::string& what) { throw StoreError(Kind::kInvalid, what); }

// Puts one model together. Nothing it does is seen under the model's name before its last step, publish().
class Creation {
 public:
  Creation(Store& store, const CreateRequest& request, const ModelStore::OnStatus& on_status)
      : store_(store), request_(request), on_status_(on_status) {}

  void add_base(const InstalledModel& base) {
    config_ = base.config;
    for (Layer layer : base.manifest.layers) {
      if (!store_.has_blob(layer.digest))
        throw StoreError(Kind::kDamaged, "model '" + base.name.shortest() + "' is damaged: blob " + layer.digest.text() + " is missing");
      layer.from = base.name.shortest();
      keep(std::move(layer));
    }
  }

  void add_files() {
    const auto files = checked(request_.files);
    const auto is_named = [&](std::string_view ending) {
      return std::any_of(files.begin(), files.end(), [&](const auto& file) { return file.name.ends_with(ending); });
    };
    if (is_named(".safetensors")) refuse_creation("models in safetensors files are not supported: convert them to GGUF first");
    const auto looks_like_gguf = [&](const auto& file) { return has_gguf_magic(store_.blob_path(file.digest)); };
    if (!is_named(".gguf") && std::none_of(files.begin(), files.end(), looks_like_gguf)) refuse_creation("unknown type");
    for (const NamedBlob& file : with_merged_parts(files)) add_gguf(file);
    if (std::count_if(layers_.begin(), layers_.end(), [](const Layer& layer) { return layer.media_type == media_type::kModel; }) != 1)
      refuse_creation("the files must hold exactly one model");
  }

  void add_adapters() {
    const auto adapters = checked(request_.adapters);
    if (adapters.size() > 1) refuse_creation("only one adapter is currently supported");
    for (const NamedBlob& file : adapters) {
      if (file.name.ends_with(".safetensors")) refuse_creation("adapters in safetensors files are not supported: convert them to GGUF first");
      if (add_gguf(file) != media_type::kAdapter) refuse_creation(file.name + " is not an adapter");
    }
  }

  void add_texts() {
    if (const auto& text = request_.template_text; text && !text->empty()) {
      drop(media_type::kTemplate);
      drop(media_type::kPrompt);
      add_text(media_type::kTemplate, *text, kMaxTemplateBytes);
    }
    if (const auto& text = request_.system; text && !text->empty()) {
      drop(media_type::kSystem);
      add_text(media_type::kSystem, *text, kMaxSystemBytes);
    }
    for (const std::string& license : request_.licenses)
      if (!license.empty()) add_text(media_type::kLicense, license, kMaxLicenseBytes);
    add_parameters();
    if (!request_.messages.empty()) {
      drop(media_type::kMessages);
      add_text(media_type::kMessages, messages_json(request_.messages), kMaxMessagesBytes);
    }
    if (layers_.size() > kMaxLayers) refuse_creation("too many layers");
  }

  void publish() {
    const auto replace = [](std::string& member, const std::string& text) {
      if (!text.empty()) member = text;
    };
    replace(config_.renderer, request_.renderer);
    replace(config_.parser, request_.parser);
    replace(config_.required_version, request_.required_version);
    const Layer config = store_.add_layer(media_type::kConfig, config_json(config_));
    for (const std::string& line : layer_lines_) on_status_(line);
    on_status_("writing manifest");
    store_.write_manifest(request_.name, Manifest{config, layers_});
  }

  // Blobs that are in the model in another form: nobody needs them any more, unless another model does.
  const std::vector<Digest>& merged_parts() const { return merged_parts_; }

 private:
  struct NamedBlob {
    std::string name;
    Digest digest;
  };

  std::vector<NamedBlob> checked(const NamedDigests& files) const {
    std::vector<NamedBlob> blobs;
    for (const auto& [name, digest_text] : files) {
      if (!is_relative_path(name)) refuse_creation("file path must be relative");
      const auto digest = Digest::parse(digest_text);
      if (!digest) refuse_creation("invalid digest format");
      if (!store_.has_blob(*digest)) refuse_creation("blob \"" + digest->text() + "\" not found");
      // The caller names bytes; one that another program wrote may be torn, or may never have been whole.
      uint64_t n_told = 0;
      const auto tell = [&](uint64_t n_done) {
        if (n_done - n_told < kToldOfBytes) return;
        n_told = n_done;
        on_status_("verifying sha256 digest");
      };
      if (!store_.verify_blob(*digest, store_.blob_size(*digest), tell))
        throw StoreError(Kind::kDamaged, "blob " + digest->text() + " was written by another program and is not what its name says; 'ollamax fsck --hash "
                                         "--repair' takes it out, and it can be sent again");
      blobs.push_back({name, *digest});
    }
    return blobs;
  }

  // Files whose names say that they are the parts of one model become that model, as one blob.
  std::vector<NamedBlob> with_merged_parts(const std::vector<NamedBlob>& files) {
    std::vector<NamedBlob> whole;
    std::map<std::pair<std::string, uint64_t>, std::map<uint64_t, Digest>> splits;  // by stem and number of parts
    for (const NamedBlob& file : files) {
      const auto name = gguf::parse_split_name(file.name);
      if (!name || name->n_parts == 1) whole.push_back(file);
      else splits[{name->stem, name->n_parts}].emplace(name->number, file.digest);
    }
    for (const auto& [split, parts] : splits) {
      const gguf::SplitName name{split.first, 1, split.second};
      for (uint64_t number = 1; number <= name.n_parts; ++number)
        if (!parts.contains(number)) refuse_creation(name.file_name(number) + " is missing: a split model needs all of its parts");
      std::vector<Digest> digests;
      for (const auto& [number, digest] : parts) digests.push_back(digest);
      const auto tell = [&] { on_status_("merging " + std::to_string(digests.size()) + " parts"); };
      tell();
      whole.push_back({name.stem + ".gguf", merge_gguf_parts(store_, digests, name, tell)});
      merged_parts_.insert(merged_parts_.end(), digests.begin(), digests.end());
    }
    return whole;
  }

  std::string_view add_gguf(const NamedBlob& file) {
    on_status_("parsing GGUF");
    const std::string path = store_.blob_path(file.digest).string();
    if (!has_gguf_magic(path)) refuse_creation("supplied file was not in GGUF format");
    const GgufFacts facts = read_gguf_facts(path, file.name);
    if (facts.media_type != media_type::kAdapter) add_to_config(facts, config_);
    keep(Layer{std::string(facts.media_type), file.digest, store_.blob_size(file.digest), file.name});
    return facts.media_type;
  }

  void add_parameters() {
    if (request_.parameters.empty()) return;
    Parameters merged;
    for (const Layer& layer : layers_)
      if (layer.media_type == media_type::kParams) merged = parse_parameters(store_.read_blob(layer.digest, kMaxParametersBytes));
    for (const auto& given : request_.parameters) {
      const auto same = std::find_if(merged.begin(), merged.end(), [&](const auto& old) { return old.first == given.first; });
      if (same != merged.end()) same->second = given.second;
      else merged.push_back(given);
    }
    drop(media_type::kParams);
    add_text(media_type::kParams, parameters_json(merged), kMaxParametersBytes);
  }

  void add_text(std::string_view type, std::string_view text, uint64_t max_bytes) {
    if (text.size() > max_bytes)
      refuse_creation(std::string(type.substr(type.rfind('.') + 1)) + " is longer than " + std::to_string(max_bytes) + " bytes");
    const bool is_old = store_.has_blob(sha256_of(text));
    Layer layer = store_.add_layer(type, text);
    layer_lines_.push_back((is_old ? "using existing layer " : "creating new layer ") + layer.digest.text());
    layers_.push_back(std::move(layer));
  }

  void keep(Layer layer) {
    store_.reuse(layer.digest);
    layer_lines_.push_back("using existing layer " + layer.digest.text());
    layers_.push_back(std::move(layer));
  }

  void drop(std::string_view type) {
    for (size_t i = layers_.size(); i-- > 0;) {
      if (layers_[i].media_type != type) continue;
      layers_.erase(layers_.begin() + static_cast<std::ptrdiff_t>(i));
      layer_lines_.erase(layer_lines_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  Store& store_;
  const CreateRequest& request_;
  const ModelStore::OnStatus& on_status_;
  std::vector<Digest> merged_parts_;
  ModelConfig config_;
  std::vector<Layer> layers_;
  std::vector<std::string> layer_lines_;  // one a layer, in the same order
};

}  // namespace

void ModelStore::create(const CreateRequest& request, const OnStatus& on_status) {
  std::optional<Manifest> replaced;
  std::vector<Digest> merged_parts;
  {
    const FileLock held = store_.hold();
    if (request.is_named_after_file) check_not_taken(request.name);
    try {
      if (const auto old = store_.find(request.name)) replaced = old->manifest;
    } catch (const gguf::FormatError&) {  // a damaged manifest may be replaced; its blobs wait for prune()
    }
    Creation creation(store_, request, on_status);
    if (request.from) {
      const auto base = find(*request.from);
      if (!base) throw StoreError(Kind::kNotFound, "model '" + request.from->shortest() + "' not found");
      creation.add_base(*base);
    } else if (!request.files.empty()) {
      creation.add_files();
    } else {
      refuse_creation("neither 'from' or 'files' was specified");
    }
    creation.add_adapters();
    try {
      creation.add_texts();
    } catch (const gguf::FormatError& error) {
      throw StoreError(Kind::kDamaged, "model '" + request.from->shortest() + "' is damaged: " + error.what());
    }
    creation.publish();
    merged_parts = creation.merged_parts();
  }
  if (replaced && drops_replaced_) store_.drop_unused(*replaced);
  if (drops_replaced_) store_.drop_unused(merged_parts);
  on_status("success");
}

}  // namespace olx::server
