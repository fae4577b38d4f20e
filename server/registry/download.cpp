#include "server/registry/download.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <thread>

#include "server/registry/part_fetcher.h"

namespace olx::server {
namespace fs = std::filesystem;
using Kind = NetworkError::Kind;
using std::chrono::milliseconds;

struct Downloads::Job {
  Job(std::string its_key, Source from) : key(std::move(its_key)), source(std::move(from)) {}

  std::string key;
  Source source;
  const Layer& layer = source.layer;
  std::optional<Digest> found;  // what the bytes turned out to be
  int n_waiting = 0;  // under Downloads::mutex_
  std::atomic<bool> is_cancelled{false};
  std::atomic<uint64_t> completed_bytes{0};
  std::mutex mutex;
  std::condition_variable changed;
  enum class Phase { kFetching, kVerifying, kPublished } phase = Phase::kFetching;
  std::exception_ptr error;
  std::thread thread;

  // Whether the bytes that are here are of the file that will be there the next time.
  bool can_go_on_later() const { return source.is_digest_known || !source.if_range.empty(); }

  void run(Store& store) {
    try {
      fetch(store);
      set(Phase::kPublished);
    } catch (const std::exception&) {
      if (!can_go_on_later()) drop_part(store.part_path(layer.digest));
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      changed.notify_all();
    }
  }

  static fs::path beside(fs::path part_path, const char* ending) { return part_path.replace_extension(ending); }
  static void drop_part(const fs::path& part_path) {
    for (const char* ending : {".part", ".journal", ".lock"}) remove_quietly(beside(part_path, ending));
  }

  void set(Phase next) {
    const std::lock_guard lock(mutex);
    phase = next;
    changed.notify_all();
  }

  void check_cancelled() const {
    if (is_cancelled) throw NetworkError(Kind::kCancelled, "cancelled");
  }

  // One downloader of a digest among all processes. The store is held while the file is made and locked: between the two
  // it looks like one whose process is gone.
  FileLock take_lock(const Store& store, const fs::path& path) const {
    for (;;) {
      {
        const FileLock held = store.hold();
        if (auto lock = FileLock::try_exclusive(path)) return std::move(*lock);
      }
      check_cancelled();
      std::this_thread::sleep_for(milliseconds(50));
    }
  }

  bool is_there(Store& store) {
    if (!source.is_digest_known) return false;
    const bool is_whole = store.verify_blob(layer.digest, layer.size_bytes, [this](uint64_t) { check_cancelled(); });
    if (is_whole) completed_bytes = layer.size_bytes;
    return is_whole;
  }

  void fetch(Store& store) {
    if (is_there(store)) return;
    const fs::path part_path = store.part_path(layer.digest);
    const FileLock lock = take_lock(store, beside(part_path, ".lock"));
    if (is_there(store)) {  // by another process, meanwhile
      remove_quietly(beside(part_path, ".lock"));
      return;
    }
    File part = File::open_for_update(part_path, 0644);
    if (part.size() > layer.size_bytes) {  // not of this blob
      part.close();
      remove_quietly(part_path);
      part = File::open_for_update(part_path, 0644);
    }
    try {
      fetch_into(store, part_path, part);
    } catch (const SyncError&) {  // while the lock is held: afterwards the files may be another process's
      drop_part(part_path);
      throw;
    }
    remove_quietly(beside(part_path, ".journal"));
    remove_quietly(beside(part_path, ".lock"));
  }

  void fetch_into(Store& store, const fs::path& part_path, File& part) {
    Journal journal(beside(part_path, ".journal"), part, layer.size_bytes);
    // Data without a journal is a leftover, which the next start removes should this process be killed.
    if (!can_go_on_later()) remove_quietly(beside(part_path, ".journal"));
    reserve(part, part_path, journal);
    sync_folder(part_path.parent_path());  // after a power failure both names are there, or there is nothing to go on from
    uint64_t n_missing = 0;
    for (const ByteRange& range : missing_ranges(journal.records(), layer.size_bytes)) n_missing += range.end - range.begin;
    completed_bytes = layer.size_bytes - n_missing;
    fetch_parts(source, part, journal, completed_bytes, [this] { return is_cancelled.load(); });
    check_cancelled();
    set(Phase::kVerifying);
    // Over the bytes on the disk, not those of the network: what was written wrong is found too.
    found = sha256_of_file(part_path.string(), [this](uint64_t) { check_cancelled(); });
    if (source.is_digest_known && *found != layer.digest) {
      part.close();
      drop_part(part_path);
      throw NetworkError(Kind::kFatal, "digest mismatch, file must be downloaded again: want " + layer.digest.text() + ", got " + found->text());
    }
    store.adopt_part(layer.digest, *found, std::move(part));
  }

  // What was taken of a disk that has not enough is given back: a file system may have given all that it had.
  void reserve(File& part, const fs::path& part_path, const Journal& journal) const {
    const uint64_t had_bytes = part.size();
    try {
      part.reserve(layer.size_bytes);
    } catch (const std::system_error&) {
      if (journal.records().empty()) drop_part(part_path);
      else part.truncate(had_bytes);
      throw;
    }
  }

  bool has_failed() {
    const std::lock_guard lock(mutex);
    return error != nullptr;
  }

  bool wait(Phase wanted, int ms) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, milliseconds(ms), [&] { return error != nullptr || phase >= wanted; });
    if (error) std::rethrow_exception(error);
    return phase >= wanted;
  }
};

Downloads::~Downloads() = default;

Downloads::Ticket Downloads::fetch(Source source) {
  if (source.target.empty()) source.target = source.registry->path("blobs/" + source.layer.digest.text());
  const std::string key = source.registry->base().origin() + source.target + " " + source.layer.digest.text();
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Job> job = jobs_[key];
  if (!job || job->has_failed()) {  // one that has failed is not what a new caller asks for
    job = std::make_shared<Job>(key, std::move(source));
    job->thread = std::thread([this, raw = job.get()] { raw->run(store_); });
    jobs_[key] = job;
  }
  ++job->n_waiting;
  return Ticket(*this, job);
}

void Downloads::leave(const std::shared_ptr<Job>& job) {
  {
    const std::lock_guard lock(mutex_);
    if (--job->n_waiting > 0) return;
    const auto found = jobs_.find(job->key);
    if (found != jobs_.end() && found->second == job) jobs_.erase(found);
  }
  job->is_cancelled = true;
  job->thread.join();
}

Downloads::Ticket::~Ticket() {
  if (job_) owner_->leave(job_);
}

bool Downloads::Ticket::wait_fetched(int ms) { return job_->wait(Job::Phase::kVerifying, ms); }
bool Downloads::Ticket::wait_published(int ms) { return job_->wait(Job::Phase::kPublished, ms); }
Digest Downloads::Ticket::digest() const { return job_->found.value_or(job_->layer.digest); }
uint64_t Downloads::Ticket::completed_bytes() const { return job_->completed_bytes; }

}  // namespace olx::server
