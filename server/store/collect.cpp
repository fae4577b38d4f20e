// What is removed from the store, and when: blobs that nothing names any more, leases and leftovers of killed processes. All of it
// under the exclusive lock, and no blob at all while one manifest or lease cannot be read, since it may name any of them.

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <system_error>

#include "gguf/value.h"
#include "server/store/scan.h"
#include "server/store/store.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxLeaseBytes = 1 << 20;
constexpr auto kPatience = std::chrono::milliseconds(500);
constexpr auto kDownloadLife = std::chrono::hours(24 * 7);

// As if nothing could be removed: a file system without locks cannot say who else is at work.
std::optional<FileLock> exclusive(const fs::path& lock, std::chrono::milliseconds patience) {
  try {
    return FileLock::try_exclusive(lock, patience);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "nothing is removed from the model store: %s\n", error.what());
    return std::nullopt;
  }
}

bool is_older(const FileInfo& info, std::chrono::seconds age) {
  using namespace std::chrono;
  const int64_t now_ns = duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
  return info.modified_ns <= now_ns - duration_cast<nanoseconds>(age).count();  // one from the future is young
}

// The digest that a download's file belongs to: "sha256-<hex>.part".
std::optional<Digest> digest_of_download(std::string_view file_name) {
  for (const std::string_view ending : {".part", ".journal", ".lock"})
    if (file_name.ends_with(ending)) return Digest::parse(file_name.substr(0, file_name.size() - ending.size()));
  return std::nullopt;
}

}  // namespace

void StoreLayout::follow_disks() {
  const auto is_apart = [&](const fs::path& part) {
    std::error_code ignored;
    const fs::path& there = fs::exists(part, ignored) ? part : folder;  // where it will be made
    return is_on_another_disk(there, folder) || is_on_another_disk(there, own);
  };
  if (is_apart(blobs)) {
    temporary = blobs / ".ollamax";
    blob_quarantine = temporary / "quarantine";
  }
  if (!is_apart(manifests)) return;
  const fs::path beside = manifests / ".ollamax";
  small = beside / "tmp";
  previous = beside / "prev";
  origins = beside / "origin";
  quarantine = beside / "quarantine";
  clean = beside / "clean";
}

fs::path StoreLayout::previous_manifest(const ModelName& name) const { return previous / sha256_of(name.path()).hex(); }

fs::path StoreLayout::origin(const ModelName& name, const Digest& manifest) const {
  return origins / sha256_of(name.path() + "\n" + manifest.text()).hex();
}

TemporaryKind kind_of_temporary(const StoreLayout& layout, const std::string& file_name) {
  if (is_being_written(layout.temporary / file_name)) return TemporaryKind::kBeingWritten;
  const auto digest = digest_of_download(file_name);
  if (!digest) return TemporaryKind::kLeftover;
  const auto beside = [&](const char* ending) { return layout.temporary / (digest->file_name() + ending); };
  if (is_being_written(beside(".part")) || is_being_written(beside(".journal")) || is_being_written(beside(".lock")))
    return TemporaryKind::kBeingWritten;
  // Data without a journal says nothing about which of its bytes were received, and a journal nothing without data.
  return is_plain_file(beside(".part")) && is_plain_file(beside(".journal")) ? TemporaryKind::kDownload
                                                                            : TemporaryKind::kLeftover;
}

Lease::~Lease() {
  if (file_.is_open()) remove_quietly(path_);
}

// One line a digest, after the process's id, which is for people.
Lease Store::lease(const std::vector<Digest>& digests) {
  const FileLock held = hold();
  const fs::path path = at_.leases / unique_name(".lease");
  Lease lease(path, File::create_exclusively(path, 0644));
  std::string text = "pid " + std::to_string(::getpid()) + "\n";
  for (const Digest& digest : digests) text += digest.text() + "\n";
  lease.file_.write_all(text);
  return lease;
}

std::vector<Digest> read_lease(const fs::path& path) {
  std::vector<Digest> digests;
  const std::string text = read_small_file(path, kMaxLeaseBytes).value_or("");
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (line.starts_with("pid ")) continue;
    const auto digest = Digest::parse(line);
    if (!digest) throw gguf::FormatError("lease " + path.filename().string() + ": a line is not a digest");
    digests.push_back(*digest);
  }
  return digests;
}

std::optional<std::set<Digest>> Store::used() const {
  std::set<Digest> digests;
  try {
    const std::vector<std::string> strange =
        each_manifest(at_, [&](const ModelName&, const fs::path& path) {
          const auto text = read_small_file(path, kMaxManifestBytes);
          if (!text) return;
          const Manifest manifest = parse_manifest(*text);
          digests.insert(manifest.config.digest);
          for (const Layer& layer : manifest.layers) digests.insert(layer.digest);
        });
    if (!strange.empty()) return std::nullopt;
    for (const std::string& file_name : list_folder(at_.leases)) {
      if (!is_being_written(at_.leases / file_name)) continue;
      for (const Digest& digest : read_lease(at_.leases / file_name)) digests.insert(digest);
    }
  } catch (const std::exception&) {  // whatever it names may be in use
    return std::nullopt;
  }
  return digests;
}

// Out of blobs/ first: a rename is done or not, while the removal of a large file takes its time.
bool Store::sweep(const std::string& blob_name) {
  const fs::path trash = at_.temporary / unique_name(".trash");
  try {
    rename_file(at_.blobs / blob_name, trash);
    return remove_file(trash);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::no_such_file_or_directory)
      std::fprintf(stderr, "a blob without use stays in the store: %s\n", error.what());
    return false;
  }
}

void Store::drop_unused(const Manifest& manifest) {
  std::vector<Digest> blobs{manifest.config.digest};
  for (const Layer& layer : manifest.layers) blobs.push_back(layer.digest);
  drop_unused(blobs);
}

void Store::drop_unused(const std::vector<Digest>& blobs) {
  if (blobs.empty()) return;
  // While a model is put together nothing is dropped; the next start's prune() finds what is left.
  const auto locked = exclusive(at_.lock, kPatience);
  if (!locked) return;
  const auto in_use = used();
  if (!in_use) return;
  for (const Digest& digest : std::set<Digest>(blobs.begin(), blobs.end()))
    if (!in_use->contains(digest)) sweep(digest.file_name());
}

int Store::prune(std::chrono::seconds min_age) {
  if (!can_write()) return 0;
  const auto locked = exclusive(at_.lock, {});
  if (!locked) return 0;
  const auto in_use = used();
  if (!in_use) return 0;
  int n_removed = 0;
  for (const std::string& file_name : list_folder(at_.blobs)) {
    const std::optional<FileInfo> info = file_info(at_.blobs / file_name);
    if (!info || !info->is_plain || !is_older(*info, min_age)) continue;
    const auto digest = Digest::parse(file_name);
    if (!digest || !in_use->contains(*digest)) n_removed += sweep(file_name);
  }
  return n_removed;
}

int Store::clean_leftovers() {
  if (!can_write()) return 0;
  const auto locked = exclusive(at_.lock, {});
  if (!locked) return 0;
  // Old versions of Ollama wrote "sha256:…", and new ones rename it at their start.
  for (const std::string& file_name : list_folder(at_.blobs)) {
    const auto digest = Digest::parse(file_name);
    if (digest && file_name == digest->text() && !file_info(blob_path(*digest))) publish(at_.blobs / file_name, blob_path(*digest));
  }
  int n_removed = 0;
  for (const std::string& file_name : list_folder(at_.temporary)) {
    const fs::path path = at_.temporary / file_name;
    const TemporaryKind kind = kind_of_temporary(at_, file_name);
    const std::optional<FileInfo> info = file_info(path);
    if (!info || info->is_folder || kind == TemporaryKind::kBeingWritten) continue;
    if (kind == TemporaryKind::kLeftover || is_older(*info, kDownloadLife)) n_removed += remove_file(path);
  }
  if (at_.small != at_.temporary)
    for (const std::string& file_name : list_folder(at_.small))
      if (!is_being_written(at_.small / file_name)) n_removed += remove_file(at_.small / file_name);
  for (const std::string& file_name : list_folder(at_.leases))
    if (!is_being_written(at_.leases / file_name)) n_removed += remove_file(at_.leases / file_name);
  for (const std::string& file_name : list_folder(at_.previous)) n_removed += remove_file(at_.previous / file_name);
  drop_old_origins();
  return n_removed;
}

void Store::drop_old_origins() {
  std::set<std::string> kept;
  try {
    each_manifest(at_, [&](const ModelName& name, const fs::path& path) {
      if (const auto text = read_small_file(path, kMaxManifestBytes)) kept.insert(at_.origin(name, sha256_of(*text)).filename().string());
    });
  } catch (const std::system_error&) {  // one that cannot be read now may be what it was later
    return;
  }
  for (const std::string& file_name : list_folder(at_.origins))
    if (!kept.contains(file_name)) remove_file(at_.origins / file_name);
}

}  // namespace olx::server
