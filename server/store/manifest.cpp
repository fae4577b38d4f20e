#include "server/store/manifest.h"

#include <boost/json.hpp>

#include "server/json/json.h"

namespace olx::server {
namespace {

namespace json = boost::json;

[[noreturn]] void refuse(const std::string& what) { throw gguf::FormatError("manifest: " + what); }

Layer parse_layer(const json::value& value) {
  const json::object* object = value.if_object();
  if (object == nullptr) refuse("a layer is not an object");
  const json::string* type = nullptr;
  const json::string* digest_text = nullptr;
  if (const auto* found = object->if_contains("mediaType")) type = found->if_string();
  if (const auto* found = object->if_contains("digest")) digest_text = found->if_string();
  const json::value* size = object->if_contains("size");
  if (type == nullptr || digest_text == nullptr || size == nullptr) refuse("a layer lacks mediaType, digest or size");
  const auto digest = Digest::parse(std::string_view(*digest_text));
  if (!digest) refuse("a digest is not sha256:<64 hex>");
  if (!size->is_int64() || size->get_int64() < 0) refuse("a size is not a natural number");
  Layer layer{std::string(*type), *digest, static_cast<uint64_t>(size->get_int64()), {}};
  if (const auto* from = object->if_contains("from"); from != nullptr && from->is_string())
    layer.from = std::string(from->get_string());
  return layer;
}

json::object layer_json(const Layer& layer) {
  json::object object{{"mediaType", layer.media_type}, {"digest", layer.digest.text()}, {"size", layer.size_bytes}};
  if (!layer.from.empty()) object["from"] = layer.from;
  return object;
}

}  // namespace

const Layer* Manifest::find(std::string_view media_type) const {
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
    if (layer->media_type == media_type) return &*layer;
  return nullptr;
}

uint64_t Manifest::total_bytes() const {
  uint64_t total = config.size_bytes;
  for (const Layer& layer : layers)
    if (__builtin_add_overflow(total, layer.size_bytes, &total)) return UINT64_MAX;
  return total;
}

Manifest parse_manifest(std::string_view text) {
  json::value value;
  try {
    value = parse_json(text);
  } catch (const JsonError& error) {
    refuse(error.what());
  }
  const json::object* object = value.if_object();
  if (object == nullptr) refuse("not an object");
  const json::value* config = object->if_contains("config");
  if (config == nullptr) refuse("no config");
  Manifest manifest{parse_layer(*config), {}};
  if (const json::value* layers = object->if_contains("layers"); layers != nullptr && !layers->is_null()) {
    const json::array* array = layers->if_array();
    if (array == nullptr || array->size() > kMaxLayers) refuse("layers is not an array of at most 4096");
    for (const json::value& layer : *array) manifest.layers.push_back(parse_layer(layer));
  }
  return manifest;
}

std::string manifest_json(const Manifest& manifest) {
  json::array layers;
  for (const Layer& layer : manifest.layers) layers.push_back(layer_json(layer));
  return go_json(json::object{{"schemaVersion", 2},
                              {"mediaType", media_type::kManifest},
                              {"config", layer_json(manifest.config)},
                              {"layers", layers}}) +
         "\n";
}

}  // namespace olx::server
