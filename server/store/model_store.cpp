#include "server/store/model_store.h"

#include <algorithm>
#include <cstdio>

#include <boost/json.hpp>

#include "server/json/json.h"
#include "server/store/layer_text.h"

namespace olx::server {
using Kind = StoreError::Kind;
namespace {

StoreError not_found(const ModelName& name) {
  return StoreError(Kind::kNotFound, "model '" + name.shortest() + "' not found");
}

// Runs read; what it finds malformed is reported with the model's name.
template <class F>
auto naming_damage(const ModelName& name, F read) {
  try {
    return read();
  } catch (const gguf::FormatError& error) {
    throw StoreError(Kind::kDamaged, "model '" + name.shortest() + "' is damaged: " + error.what());
  }
}

// The path of a layer's blob, which must be there in its full size.
std::string whole_blob(const Store& store, const Layer& layer) {
  if (!store.has_blob(layer.digest)) throw gguf::FormatError("blob " + layer.digest.text() + " is missing");
  const uint64_t size_bytes = store.blob_size(layer.digest);
  if (size_bytes != layer.size_bytes)
    throw gguf::FormatError("blob " + layer.digest.text() + " has " + std::to_string(size_bytes) +
                            " bytes, its manifest says " + std::to_string(layer.size_bytes));
  return store.blob_path(layer.digest).string();
}

}  // namespace

InstalledModel ModelStore::describe(StoredModel stored) const {
  InstalledModel model{stored.name, std::move(stored.manifest), stored.digest, 0, stored.modified_ns, {}, {}};
  model.size_bytes = model.manifest.total_bytes();
  model.config = parse_config(store_.read_blob(model.manifest.config.digest, kMaxConfigBytes));
  ModelDetails& details = model.details;
  if (const Layer* weights = model.manifest.find(media_type::kModel)) details.parent_model = weights->from;
  details.format = model.config.model_format;
  details.family = model.config.model_family;
  details.families = model.config.model_families;
  details.parameter_size = model.config.model_type;
  details.quantization_level = model.config.file_type;
  return model;
}

std::vector<InstalledModel> ModelStore::list() const {
  std::vector<InstalledModel> models;
  for (StoredModel& stored : store_.list()) {
    const std::string name = stored.name.shortest();
    try {
      models.push_back(describe(std::move(stored)));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "model '%s' is left out: %s\n", name.c_str(), error.what());
    }
  }
  return models;
}

std::optional<InstalledModel> ModelStore::find(const ModelName& name) const {
  return naming_damage(name, [&]() -> std::optional<InstalledModel> {
    std::optional<StoredModel> stored = store_.find(name);
    if (!stored) return std::nullopt;
    return describe(std::move(*stored));
  });
}

ModelContents ModelStore::contents(const ModelName& name) const {
  const std::optional<InstalledModel> model = find(name);
  if (!model) throw not_found(name);
  return contents(*model);
}

ModelContents ModelStore::contents(const InstalledModel& model) const {
  return naming_damage(model.name, [&] {
    ModelContents contents;
    contents.config = model.config;
    for (const Layer& layer : model.manifest.layers) {
      const std::string& type = layer.media_type;
      const auto path = [&] { return whole_blob(store_, layer); };
      const auto text = [&](uint64_t max_bytes) { return whole_blob(store_, layer), store_.read_blob(layer.digest, max_bytes); };
      if (type == media_type::kModel) contents.gguf_path = path();
      else if (type == media_type::kProjector) contents.projector_paths.push_back(path());
      else if (type == media_type::kAdapter) contents.adapter_paths.push_back(path());
      else if (type == media_type::kTemplate || type == media_type::kPrompt) contents.template_text = text(kMaxTemplateBytes);
      else if (type == media_type::kSystem) contents.system = text(kMaxSystemBytes);
      else if (type == media_type::kParams) contents.parameters = parse_parameters(text(kMaxParametersBytes));
      else if (type == media_type::kMessages) contents.messages = parse_messages(text(kMaxMessagesBytes));
      else if (type == media_type::kLicense) contents.licenses.push_back(text(kMaxLicenseBytes));
      // Other kinds of layers belong to other programs, or to releases to come: not ours to refuse.
    }
    return contents;
  });
}

void ModelStore::check_torn(const InstalledModel& model, const std::function<void()>& on_progress) {
  for (const Layer& layer : model.manifest.layers) {
    if (!store_.may_be_torn(layer.digest)) continue;
    const std::lock_guard lock(mutex_);  // two requests at once read it once
    if (checked_.contains(layer.digest) || !store_.may_be_torn(layer.digest)) continue;
    if (!store_.verify_blob(layer.digest, layer.size_bytes, [&](uint64_t) { on_progress(); }))
      throw StoreError(Kind::kDamaged, "model '" + model.name.shortest() + "' is damaged: blob " + layer.digest.text() +
                                           " was written by another program and is not what its name says; 'ollamax fsck --hash --repair' takes it out, and "
                                           "'ollamax pull' fetches it again");
    checked_.insert(layer.digest);
  }
}

void ModelStore::check_not_taken(const ModelName& name) const {
  std::optional<StoredModel> model;
  try {
    model = store_.find(name);
  } catch (const gguf::FormatError&) {  // a damaged one may be replaced
  }
  if (!model) return;
  const auto is_of_file = [&](const Layer& layer) {
    if (layer.media_type == media_type::kProjector) return true;
    const auto named = layer.from.ends_with(".gguf") ? name_for_file(layer.from.substr(layer.from.rfind('/') + 1)) : std::nullopt;
    return layer.media_type == media_type::kModel && named && named->same_ignoring_case(name);
  };
  if (std::all_of(model->manifest.layers.begin(), model->manifest.layers.end(), is_of_file)) return;
  throw StoreError(Kind::kTaken, "a model '" + model->name.shortest() +
                                     "' is already there and is more than a file of that name: it is not replaced. Copy it to another name and remove it, or "
                                     "create a model from the file under a name of your choice");
}

void ModelStore::copy(const ModelName& source, const ModelName& destination) {
  const bool is_found = naming_damage(source, [&] { return store_.copy(source, destination); });
  if (!is_found) throw not_found(source);
}

void ModelStore::remove(const ModelName& name) {
  if (!store_.remove(name)) throw not_found(name);
}

}  // namespace olx::server
