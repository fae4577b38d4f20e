// Which blobs a power failure may have torn: those of other programs, who do not sync what they write, unless the machine has run
// without a break since, or a clean stop of this program synced them.
#include <fstream>

#include "server/store/store.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxBootIdBytes = 256;

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
  torn_after_ns_ = 0;
  try {
    const std::optional<FileInfo> info = file_info(at_.clean);
    const std::optional<std::string> last = read_small_file(at_.clean, kMaxBootIdBytes);
    if (!info || !last) return;
    torn_after_ns_ = info->modified_ns;
    if (!boot_id.empty() && *last == boot_id) torn_after_ns_.reset();
  } catch (const std::exception&) {  // as if there had been no clean stop
  }
}

void Store::end(const std::string& boot_id) {
  if (!can_write()) return;
  int n_foreign = 0, n_suspected = 0;
  each_foreign_blob(at_, [&](const fs::path&, const FileInfo& info) {
    ++n_foreign;
    n_suspected += torn_after_ns_ && info.modified_ns > *torn_after_ns_;
  });
  // Without foreign blobs nothing will ever be suspected; and one that was not looked at yet stays so, since syncing mends nothing.
  if (n_foreign == 0 || n_suspected > 0) return;
  // The marker's time is that of its making: what is written while the blobs are synced is younger than it.
  const fs::path temporary = at_.small / unique_name(".clean");
  File marker = File::create_exclusively(temporary, 0644);
  try {
    marker.write_all(boot_id);
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
  if (!torn_after_ns_) return false;
  const std::optional<FileInfo> info = file_info(blob_path(digest));
  return info && info->is_plain && info->is_writable && info->modified_ns > *torn_after_ns_;
}

}  // namespace olx::server
