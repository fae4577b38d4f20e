// Which blobs a power failure may have torn: those of other programs, who do not sync what they write, unless the machine has run
// without a break since, or a clean stop of this program synced them.
#include <fstream>

#include "server/store/store.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxMarkerBytes = 16 << 20;

// What tells a blob of another program from one that was written over it.
std::string shown_state(const FileInfo& info) { return std::to_string(info.size_bytes) + " " + std::to_string(info.modified_ns); }

// Ours are closed to writing, and were synced before they had their name.
template <class F>
void each_foreign_blob(const StoreLayout& at, F f) {
  for (const std::string& name : list_folder(at.blobs)) {
    const std::optional<FileInfo> info = file_info(at.blobs / name);
    if (info && info->is_plain && info->is_writable) f(at.blobs / name, *info);
  }
}

}  // namespace

std::string Store::this_boot() {
  std::string id;
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::getline(in, id);
  return id;  // "" where there is none: it is never the boot of before
}

void Store::begin(const std::string& boot_id) {
  may_have_torn_ = true;
  known_whole_.clear();
  try {
    const std::optional<std::string> marker = read_small_file(at_.clean, kMaxMarkerBytes);
    if (!marker) return;
    // The boot id, then a line for each blob: its name, a space, its state.
    size_t at = marker->find('\n');
    if (!boot_id.empty() && marker->substr(0, at) == boot_id) may_have_torn_ = false;
    for (at = at == std::string::npos ? marker->size() : at + 1; at < marker->size();) {
      const size_t end = std::min(marker->find('\n', at), marker->size());
      const std::string line = marker->substr(at, end - at);
      const size_t space = std::min(line.find(' '), line.size());
      known_whole_[line.substr(0, space)] = line.substr(std::min(space + 1, line.size()));
      at = end + 1;
    }
  } catch (const std::exception&) {  // as if there had been no clean stop
  }
}

void Store::end(const std::string& boot_id) {
  if (!can_write()) return;
  int n_foreign = 0, n_suspected = 0;
  std::string known;
  each_foreign_blob(at_, [&](const fs::path& path, const FileInfo& info) {
    ++n_foreign;
    n_suspected += is_suspected(path.filename().string(), info);
    known += path.filename().string() + " " + shown_state(info) + "\n";
  });
  // Without foreign blobs nothing will ever be suspected; and one that was not looked at yet stays so, since syncing mends nothing.
  if (n_foreign == 0 || n_suspected > 0) return;
  // What is written while the blobs are synced is not as it is written down.
  const fs::path temporary = at_.small / unique_name(".clean");
  File marker = File::create_exclusively(temporary, 0644);
  try {
    marker.write_all(boot_id + "\n" + known);
    each_foreign_blob(at_, [&](const fs::path& path, const FileInfo&) { sync_file(path); });
    sync_folder(at_.blobs);
    marker.sync();
    publish(temporary, at_.clean);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
}

bool Store::may_be_torn(const Digest& digest) const {
  if (!may_have_torn_) return false;
  const std::optional<FileInfo> info = file_info(blob_path(digest));
  return info && info->is_plain && info->is_writable && is_suspected(digest.file_name(), *info);
}

bool Store::is_suspected(const std::string& file_name, const FileInfo& info) const {
  if (!may_have_torn_) return false;
  const auto known = known_whole_.find(file_name);
  return known == known_whole_.end() || known->second != shown_state(info);
}

}  // namespace olx::server
