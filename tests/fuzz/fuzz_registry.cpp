// Any bytes as what a registry or a crash left: addresses, challenges, ranges, manifests, digests, names, journals, lists of files.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gguf/split.h"
#include "server/json/json.h"
#include "server/registry/address.h"
#include "server/registry/auth.h"
#include "server/registry/client.h"
#include "server/registry/download.h"
#include "server/registry/file_pull.h"
#include "server/registry/journal.h"
#include "server/store/manifest.h"

namespace {

// The parts are all there are, in order, of one model.
void check_listing(const std::string& text) {
  using namespace olx::server;
  for (const char* tag : {"latest", "Q4_K_M"}) {
    try {
      const std::vector<ListedFile> files = split_files_for_tag(text, tag);
      for (size_t i = 0; i < files.size(); ++i) {
        const auto name = olx::gguf::parse_split_name(files[i].path);
        if (!name || name->number != i + 1 || name->n_parts != files.size() || files[i].size_bytes == 0) std::abort();
      }
      if (files.empty()) std::abort();
    } catch (const olx::gguf::FormatError&) {
    } catch (const JsonError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::server;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Url registry = *parse_url("https://registry.example:5000/v2/x");
  switch (data[0] % 6) {
    case 0:
      if (const auto url = parse_url(text)) {
        // What was printed is read as the same address.
        const auto again = parse_url(url->text());
        if (!again || again->text() != url->text() || again->host != url->host) std::abort();
      }
      (void)address_kind(text);
      break;
    case 1:
      if (const auto url = resolve_url(registry, text); url && url->host.find_first_of("/@?#\r\n ") != std::string::npos) std::abort();
      break;
    case 2:
      if (const auto challenge = parse_challenge(text)) {
        try {
          // A token is fetched from the registry or from nowhere.
          if (!token_url(*challenge, registry, "n", 1).has_origin_of(registry)) std::abort();
        } catch (const NetworkError&) {
        }
      }
      break;
    case 3:
      if (const auto range = parse_content_range(text); range && range->last < range->first) std::abort();
      (void)shown_text(text);
      break;
    case 4: {
      const uint64_t total = 1 << 20;
      for (const ByteRange& range : missing_ranges(replay_journal(text, total), total))
        if (range.begin >= range.end || range.end > total) std::abort();
      break;
    }
    default:
      try {
        (void)parse_manifest(text);
      } catch (const olx::gguf::FormatError&) {
      }
      check_listing(text);
      if (const auto url = parse_file_url(text); url && (url->is_tls() ? url->scheme != "https" : url->scheme != "http")) std::abort();
      // Whatever a file is called, its model's name is one.
      if (const auto name = name_for_file(text); name && ModelName::parse(name->full()) != name) std::abort();
  }
  return 0;
}
