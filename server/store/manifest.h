#pragma once
// Manifest: which blobs make a model. Read from files that others may have written: every digest and size is checked.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/value.h"
#include "server/store/digest.h"

namespace olx::server {

namespace media_type {
inline constexpr std::string_view kManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kModel = "application/vnd.ollama.image.model";
inline constexpr std::string_view kProjector = "application/vnd.ollama.image.projector";
inline constexpr std::string_view kAdapter = "application/vnd.ollama.image.adapter";
inline constexpr std::string_view kTemplate = "application/vnd.ollama.image.template";
inline constexpr std::string_view kPrompt = "application/vnd.ollama.image.prompt";  // old name of a template
inline constexpr std::string_view kSystem = "application/vnd.ollama.image.system";
inline constexpr std::string_view kParams = "application/vnd.ollama.image.params";
inline constexpr std::string_view kMessages = "application/vnd.ollama.image.messages";
inline constexpr std::string_view kLicense = "application/vnd.ollama.image.license";
}  // namespace media_type

struct Layer {
  std::string media_type;
  Digest digest;
  uint64_t size_bytes = 0;
  std::string from;  // short name of the model it was taken from
};

struct Manifest {
  Layer config;
  std::vector<Layer> layers;

  // nullptr when there is none; the last one where there are several.
  const Layer* find(std::string_view media_type) const;
  uint64_t total_bytes() const;
};

inline constexpr uint64_t kMaxManifestBytes = 4 << 20;
inline constexpr size_t kMaxLayers = 4096;

// Throws gguf::FormatError saying what is wrong.
Manifest parse_manifest(std::string_view json);
std::string manifest_json(const Manifest& manifest);

}  // namespace olx::server
