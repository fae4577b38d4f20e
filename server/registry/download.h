#pragma once
// Downloads: the blobs that are on their way into the store. Whoever wants one that another is fetching already waits for
// that; it stops when nobody waits any more, and goes on later from what its journal says. One object a server.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/registry/client.h"
#include "server/store/store.h"

namespace olx::server {

class Downloads {
 public:
  explicit Downloads(Store& store) : store_(store) {}
  ~Downloads();

  struct Job;
  // Where a blob is fetched from.
  struct Source {
    std::shared_ptr<Registry> registry;
    Layer layer;
    std::string target;            // "": the registry's own path of the blob
    // Of a file whose digest nobody says: layer.digest then only names what is fetched, and must be another for other bytes.
    bool is_digest_known = true;
    std::string if_range;          // its ETag; other bytes come whole and from their start
  };
  // One who waits for a blob; leaving is destroying it.
  class Ticket {
   public:
    Ticket(Downloads& owner, std::shared_ptr<Job> job) : owner_(&owner), job_(std::move(job)) {}
    ~Ticket();
    Ticket(Ticket&& other) noexcept = default;
    Ticket& operator=(Ticket&&) = delete;

    // Waits up to `ms`. True when every byte has come and is being verified, or is so already; throws what went wrong.
    bool wait_fetched(int ms);
    // The same for the blob being in the store.
    bool wait_published(int ms);
    uint64_t completed_bytes() const;
    Digest digest() const;  // of the blob in the store, once wait_published() said true

   private:
    Downloads* owner_;
    std::shared_ptr<Job> job_;
  };

  Ticket fetch(Source source);

 private:
  void leave(const std::shared_ptr<Job>& job);
  Store& store_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;  // by registry, repository and digest
};

// What a 206 says it holds. nullopt for anything but "bytes first-last/total".
struct ContentRange {
  uint64_t first = 0, last = 0;
  std::optional<uint64_t> total;  // absent for "*"
};
std::optional<ContentRange> parse_content_range(std::string_view text);

}  // namespace olx::server
