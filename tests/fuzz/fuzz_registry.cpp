// Any bytes as what a registry or a crash left: addresses, challenges, ranges, manifests, digests, names, journals.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/registry/address.h"
#include "server/registry/auth.h"
#include "server/registry/client.h"
#include "server/registry/download.h"
#include "server/registry/journal.h"
#include "server/store/manifest.h"

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
  }
  return 0;
}
