#include "server/registry/part_fetcher.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <exception>
#include <optional>
#include <thread>

namespace olx::server {
namespace {

using Kind = NetworkError::Kind;
constexpr uint64_t kMaxPartBytes = 256 << 20;  // of one request
constexpr uint64_t kPartsPerBlob = 16;

// The server answers a range with the whole blob.
struct RangeIgnored {};

std::deque<ByteRange> split(const std::vector<ByteRange>& ranges, uint64_t total_bytes, const RegistryOptions& options) {
  const uint64_t whole_records = total_bytes / kPartsPerBlob / options.record_bytes * options.record_bytes;
  const uint64_t part = std::clamp(whole_records, options.min_part_bytes, kMaxPartBytes);
  std::deque<ByteRange> parts;
  for (const ByteRange& range : ranges)
    for (uint64_t begin = range.begin; begin < range.end; begin += part) parts.push_back({begin, std::min(begin + part, range.end)});
  return parts;
}

class Fetch {
 public:
  Fetch(const Downloads::Source& source, File& part, Journal& journal, std::atomic<uint64_t>& completed,
        const std::function<bool()>& is_cancelled)
      : registry_(*source.registry), source_(source), layer_(source.layer), part_(part), journal_(journal), completed_(completed), is_cancelled_(is_cancelled) {}

  void run() {
    parts_ = split(missing_ranges(journal_.records(), layer_.size_bytes), layer_.size_bytes, registry_.options());
    run_streams(std::min<size_t>(parts_.size(), static_cast<size_t>(registry_.options().n_streams)));
    if (!is_range_ignored_ || error_) return rethrow();
    // Everything once more in one go: this server can do no better.
    is_whole_ = true;
    is_stopped_ = false;
    completed_ = 0;
    parts_ = {{0, layer_.size_bytes}};
    run_streams(1);
    rethrow();
  }

 private:
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  void run_streams(size_t n_streams) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < n_streams; ++i) threads.emplace_back([this] { stream(); });
    for (std::thread& thread : threads) thread.join();
  }

  bool is_stopped() const { return is_stopped_ || is_cancelled_(); }

  void stream() {
    HttpClient client(registry_.http_options([this] { return is_stopped(); }));
    try {
      while (const auto range = next()) fetch_with_retries(client, *range);
    } catch (const RangeIgnored&) {
      is_range_ignored_ = true;
      is_stopped_ = !is_whole_;
    } catch (const NetworkError& error) {
      if (error.kind() != Kind::kCancelled || is_cancelled_()) fail();
    } catch (const std::exception&) {
      fail();
    }
  }

  void fail() {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
    is_stopped_ = true;
  }

  std::optional<ByteRange> next() {
    const std::lock_guard lock(mutex_);
    if (parts_.empty() || is_stopped_) return std::nullopt;
    const ByteRange range = parts_.front();
    parts_.pop_front();
    return range;
  }

  void fetch_with_retries(HttpClient& client, ByteRange range) {
    for (int n_failed = 0; range.begin < range.end;) {
      const uint64_t begin = range.begin;
      try {
        fetch_range(client, range);
      } catch (const NetworkError& error) {
        if (error.kind() != Kind::kRetry) throw;
        if (is_whole_) completed_ = range.begin = 0;
        // Each record is a success: only failures in a row count.
        n_failed = range.begin > begin ? 1 : n_failed + 1;
        if (n_failed >= registry_.options().max_tries)
          throw NetworkError(Kind::kFatal, std::string("max retries exceeded: ") + error.what(), error.status());
        registry_.back_off(client, n_failed);
      }
    }
  }

  // Moves range.begin on with every record that is on disk.
  void fetch_range(HttpClient& client, ByteRange& range) {
    const std::string wanted = "bytes=" + std::to_string(range.begin) + "-" + std::to_string(range.end - 1);
    Registry::Headers headers;
    if (!is_whole_) headers.emplace_back("Range", wanted);
    if (!is_whole_ && !source_.if_range.empty()) headers.emplace_back("If-Range", source_.if_range);
    const HttpReply reply = ask(client, headers, wanted);
    uint64_t n_unrecorded = 0;
    try {
      check(reply, range);
      read_body(client, range, n_unrecorded);
    } catch (...) {
      client.close();
      completed_ -= n_unrecorded;  // it will be fetched again
      throw;
    }
  }

  HttpReply ask(HttpClient& client, const Registry::Headers& headers, const std::string& wanted) {
    try {
      return registry_.send(client, "GET", source_.target, headers);
    } catch (const NetworkError& error) {
      if (error.status() != 416) throw;
      throw NetworkError(Kind::kFatal, "blob " + layer_.digest.hex().substr(0, 12) + " is shorter there than the " + std::to_string(layer_.size_bytes) +
                                           " bytes it should have: " + wanted + " is outside of it", 416);
    }
  }

  void check(const HttpReply& reply, const ByteRange& range) const {
    const uint64_t n_wanted = range.end - range.begin;
    const bool is_all = n_wanted == layer_.size_bytes;
    if (reply.status == 200 && !is_all) throw RangeIgnored();
    if (reply.status == 206 && !is_whole_) {
      const std::string* text = reply.header("Content-Range");
      const auto got = text == nullptr ? std::nullopt : parse_content_range(*text);
      if (!got || got->first != range.begin || got->last != range.end - 1 || got->total.value_or(layer_.size_bytes) != layer_.size_bytes)
        throw NetworkError(Kind::kRetry, "expected Content-Range: bytes " + std::to_string(range.begin) + "-" + std::to_string(range.end - 1) + "/" +
                                             std::to_string(layer_.size_bytes) + ", got " + (text == nullptr ? "none" : shown_text(*text)));
    } else if (reply.status != 200) {
      throw NetworkError(Kind::kRetry, "unexpected status code " + std::to_string(reply.status), reply.status);
    }
    if (reply.content_length && *reply.content_length != n_wanted)
      throw NetworkError(Kind::kRetry, "expected " + std::to_string(n_wanted) + " bytes of blob " + layer_.digest.hex().substr(0, 12) +
                                           ", the registry announces " + std::to_string(*reply.content_length));
  }

  void read_body(HttpClient& client, ByteRange& range, uint64_t& n_unrecorded) {
    std::string record(static_cast<size_t>(std::min(registry_.options().record_bytes, range.end - range.begin)), '\0');
    while (range.begin < range.end) {
      const auto n_wanted = static_cast<size_t>(std::min<uint64_t>(record.size(), range.end - range.begin));
      while (n_unrecorded < n_wanted) {
        const size_t n = client.read(std::span(record).subspan(n_unrecorded, n_wanted - n_unrecorded));
        if (n == 0) throw NetworkError(Kind::kRetry, "the registry ended blob " + layer_.digest.hex().substr(0, 12) + " early");
        n_unrecorded += n;
        completed_ += n;
      }
      write(std::string_view(record).substr(0, n_wanted), range.begin);
      range.begin += n_wanted;
      n_unrecorded = 0;
    }
    // Nothing may follow. A server that goes on and on is left, not read to its end.
    char more = 0;
    if (client.read(std::span(&more, 1)) != 0) throw NetworkError(Kind::kFatal, "the registry sends more than the size of blob " + layer_.digest.hex().substr(0, 12));
  }

  // A kill takes nothing that was written, so a record need not wait for the disk; the power does, so that not much may be on
  // its way there. While one stream syncs the others go on, up to as much again.
  void write(std::string_view bytes, uint64_t offset) {
    part_.write_at(bytes, offset);
    const uint64_t most = registry_.options().sync_bytes;
    std::unique_lock lock(mutex_);
    journal_.add({offset, bytes.size(), checksum(bytes)});
    n_unsynced_ += bytes.size();
    while (n_unsynced_ >= most && !error_) {
      if (!is_syncing_) return sync(lock);
      if (n_unsynced_ < 2 * most) return;
      synced_.wait(lock);
    }
  }

  void sync(std::unique_lock<std::mutex>& lock) {
    const uint64_t n_written = n_unsynced_;
    is_syncing_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      part_.sync_data();
      journal_.sync();
    } catch (const std::exception&) {
      failure = std::current_exception();
    }
    lock.lock();
    is_syncing_ = false;
    n_unsynced_ -= n_written;
    synced_.notify_all();
    if (failure) std::rethrow_exception(failure);
  }

  Registry& registry_;
  const Downloads::Source& source_;
  const Layer& layer_;
  File& part_;
  Journal& journal_;
  std::atomic<uint64_t>& completed_;
  const std::function<bool()>& is_cancelled_;
  std::mutex mutex_;  // of parts_, journal_, error_ and the next three
  std::condition_variable synced_;
  uint64_t n_unsynced_ = 0;  // written since a sync began that has ended
  bool is_syncing_ = false;
  std::deque<ByteRange> parts_;
  std::exception_ptr error_;
  std::atomic<bool> is_stopped_{false}, is_range_ignored_{false};
  bool is_whole_ = false;
};

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const auto number = [&](uint64_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end == text.data()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return true;
  };
  const auto sign = [&](char c) {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
  };
  ContentRange range;
  if (!number(range.first) || !sign('-') || !number(range.last) || !sign('/') || range.last < range.first) return std::nullopt;
  if (text == "*") return range;
  uint64_t total = 0;
  if (!number(total) || !text.empty() || range.last >= total) return std::nullopt;
  range.total = total;
  return range;
}

void fetch_parts(const Downloads::Source& source, File& part, Journal& journal, std::atomic<uint64_t>& completed,
                 const std::function<bool()>& is_cancelled) {
  Fetch(source, part, journal, completed, is_cancelled).run();
}

}  // namespace olx::server
