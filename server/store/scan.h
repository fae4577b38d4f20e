#pragma once
// each_manifest: the walk over manifests/ that listing, collecting and checking have in common.
// Which names are models is decided here; what is in the files is not looked at.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "server/store/files.h"
#include "server/store/layout.h"
#include "server/store/model_name.h"

namespace olx::server {

// Calls f(name, path) for every manifest file; returns the paths, relative to manifests/, of what
// is there and is none.
template <class F>
std::vector<std::string> each_manifest(const StoreLayout& at, F f) {
  namespace fs = std::filesystem;
  std::vector<std::string> strange;
  // Links to folders are not followed: they could show what is outside the store.
  const auto folders = [&](const fs::path& parent) {
    std::vector<std::string> names;
    for (std::string& name : list_folder(parent)) {
      const std::optional<FileInfo> info = file_info(parent / name);
      if (info && info->is_folder)
        names.push_back(std::move(name));
      else if (info && !info->is_plain)
        strange.push_back((parent / name).lexically_relative(at.manifests).string());
    }
    return names;
  };
  for (const std::string& host : folders(at.manifests)) {
    for (const std::string& name_space : folders(at.manifests / host)) {
      const fs::path models = at.manifests / host / name_space;
      for (const std::string& model : folders(models)) {
        for (const std::string& tag : list_folder(models / model)) {
          const fs::path path = models / model / tag;
          const std::optional<FileInfo> info = file_info(path);
          if (!info || info->is_folder) continue;
          const auto name = ModelName::parse(host + "/" + name_space + "/" + model + ":" + tag);
          if (info->is_plain && name && at.manifest(*name) == path)
            f(*name, path);
          else
            strange.push_back(path.lexically_relative(at.manifests).string());
        }
      }
    }
  }
  return strange;
}

}  // namespace olx::server
