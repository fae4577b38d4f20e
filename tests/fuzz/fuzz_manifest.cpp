// Any bytes as a manifest, a config, parameters, messages, a model's name and a digest: an error, or a value that is the same
// when it is written and read again, and from which no path leaves the store.
#include <cstdlib>
#include <string_view>

#include "gguf/value.h"
#include "server/store/layer_text.h"
#include "server/store/manifest.h"
#include "server/store/model_config.h"
#include "server/store/model_name.h"

namespace {

using namespace olx::server;

void require(bool holds) {
  if (!holds) std::abort();
}

template <class Read, class Write>
void round_trip(std::string_view text, Read read, Write write) {
  std::string once;
  try {
    // Twice: bytes that are not UTF-8 are written as an escape, as Go does, which is a character the next time.
    once = write(read(write(read(text))));
  } catch (const olx::gguf::FormatError&) {
    return;
  }
  require(write(read(once)) == once);
}

void check_name(std::string_view text) {
  const auto name = ModelName::parse(text);
  if (!name) return;
  require(ModelName::parse(name->full()) == *name);
  const auto again = ModelName::parse(name->shortest());  // the default host may have been in other letters
  require(again && again->n_shared_parts(*name) == 4);
  const std::string path = name->path();
  require(path.find('\0') == std::string::npos);
  int n_parts = 0;
  for (size_t at = 0; at <= path.size(); ++n_parts) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = std::string_view(path).substr(at, end - at);
    require(!part.empty() && part != "." && part != "..");
    at = end + 1;
  }
  require(n_parts == 4);
}

void check_digest(std::string_view text) {
  const auto digest = Digest::parse(text);
  if (!digest) return;
  require(digest->file_name().size() == 71 && digest->file_name().find_first_not_of("sha256-0123456789abcdef") == std::string::npos);
  require(Digest::parse(digest->text()) == *digest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  round_trip(text, parse_manifest, manifest_json);
  round_trip(text, parse_config, config_json);
  round_trip(text, parse_parameters, parameters_json);
  round_trip(text, parse_messages, messages_json);
  check_name(text);
  check_digest(text);
  return 0;
}
