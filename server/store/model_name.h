#pragma once
// ModelName: "[scheme://][host/][namespace/]model[:tag]" with every part checked. Only parse() makes one, so a path
// built from its parts stays inside the manifest folder. The rules: reference of Ollama's types/model.

#include <optional>
#include <string>
#include <string_view>

namespace olx::server {

class ModelName {
 public:
  // nullopt when any part breaks the rules. A scheme is dropped.
  static std::optional<ModelName> parse(std::string_view text);

  const std::string& host() const { return host_; }
  const std::string& name_space() const { return namespace_; }
  const std::string& model() const { return model_; }
  const std::string& tag() const { return tag_; }

  std::string full() const;      // registry.ollama.ai/library/x:latest
  std::string shortest() const;  // x:latest
  std::string path() const;      // host/namespace/model/tag
  bool same_ignoring_case(const ModelName& other) const { return n_shared_parts(other) == 4; }
  // How many parts, from the host on, are equal but for the case of letters.
  int n_shared_parts(const ModelName& other) const;
  // This name with its shared parts spelled as in `other`: so a name finds the folders that are there.
  ModelName spelled_like(const ModelName& other) const;

  bool operator==(const ModelName&) const = default;
  auto operator<=>(const ModelName&) const = default;

 private:
  ModelName() = default;
  std::string host_, namespace_, model_, tag_;
};

// A name like that of a model's file, with what no name may hold replaced: "a b.Q4_0.gguf" is a-b.Q4_0. Of a part of a split
// model, the name they have in common. nullopt when nothing can be made of it.
std::optional<ModelName> name_for_file(std::string_view file_name);

}  // namespace olx::server
