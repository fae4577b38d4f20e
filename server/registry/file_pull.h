#pragma once
// Models that lie as GGUF files on a web server, in one file or in the parts of a split one: fetched like blobs (resumed, verified
// where somebody says the digest), then made into a model as `create` would. Used by api/transfer.cpp and pull.cpp.

#include <optional>
#include <string_view>

#include "server/registry/pull.h"
#include "server/registry/url.h"

namespace olx::server {

// The address when the text is one of a GGUF file, "https://host/path/name.gguf"; nullopt for a model's name.
std::optional<Url> parse_file_url(std::string_view text);

// As pull_model(). `name` is the file's; StoreError kTaken when another model has it. Of a part of a split model all are fetched. The bytes are held against the digest that the server names
// (Hugging Face does, in X-Linked-ETag); where none is named, against the length and the ETag.
void pull_file(ModelStore& models, Downloads& downloads, const ModelName& name, const Url& url, const RegistryOptions& options,
               const TransferClient& client);

// A quantization of a Hugging Face repository that is split, which its registry refuses to give ("sharded GGUF"): the parts
// are found in the list of the repository's files, with their digests.
void pull_split_files(ModelStore& models, Downloads& downloads, const ModelName& name, bool is_insecure, const RegistryOptions& options,
                      const TransferClient& client);

// Of a repository's files (the JSON of /api/models/<repository>/tree/main) the parts of the one model that the tag means, in
// order. Throws gguf::FormatError when there is none, or not all of its parts.
struct ListedFile {
  std::string path;
  Digest digest;
  uint64_t size_bytes = 0;
};
std::vector<ListedFile> split_files_for_tag(std::string_view listing, std::string_view tag);

}  // namespace olx::server
