#pragma once
// What a GGUF blob is for a model: its weights, a projector or an adapter, and what the config says about it.
// Used by ModelStore::create(). A file stays as it is, and only its header is read; but the parts of a split model are merged.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/split.h"
#include "server/store/model_config.h"
#include "server/store/store.h"

namespace olx::server {

struct GgufFacts {
  std::string_view media_type;  // media_type::kModel, kProjector or kAdapter
  std::string architecture;     // "unknown" when the file does not say
  std::string parameter_size;   // "134.52M"
  std::string_view file_type;   // "Q4_K_M"
};

bool has_gguf_magic(const std::string& path);

// Throws StoreError(kInvalid); the message calls the file shown_name and never names its path.
GgufFacts read_gguf_facts(const std::string& path, const std::string& shown_name);

// One blob made of the parts of a split model, which are in order; on_progress may throw to stop. Messages call the parts by
// `name`. StoreError: kInvalid when they do not fit together, kNoRoom.
Digest merge_gguf_parts(Store& store, const std::vector<Digest>& parts, const gguf::SplitName& name, const std::function<void()>& on_progress);

// Fills in what the config does not say yet, and adds the architecture to its families.
void add_to_config(const GgufFacts& facts, ModelConfig& config);

}  // namespace olx::server
