#pragma once
// import_file: a file of this machine into the models folder, without going through a server. For the CLI, where the server runs
// inside its own process; a caller over HTTP can never name a path.

#include <cstdint>
#include <functional>
#include <string>

#include "server/store/digest.h"

namespace olx::server {

// By reference where the file system shares blocks between files (Btrfs, XFS, bcachefs), else a copy. on_progress gets the bytes
// copied so far. Throws StoreError when the copy would leave less than spare_bytes free on the disk, std::system_error when it fails.
Digest import_file(const std::string& models_dir, uint64_t spare_bytes, const std::string& path, const std::function<void(uint64_t)>& on_progress);

}  // namespace olx::server
