#include "tests/support/faults/disk_model.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <span>

namespace olx::tests::faults {
namespace {

namespace fs = std::filesystem;
using Kind = DiskEvent::Kind;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// Whether a sync after it, within the events, covers this one.
bool is_durable(std::span<const DiskEvent> events, size_t at) {
  const DiskEvent& event = events[at];
  const auto later = events.subspan(at + 1);
  const auto is_file_synced = [&](const DiskEvent& e) {
    return e.kind == Kind::kSyncFile && e.file == event.file;
  };
  const std::string folder = parent_of(event.to.empty() ? event.path : event.to);
  const auto is_folder_synced = [&](const DiskEvent& e) {
    return e.kind == Kind::kSyncFolder && e.path == folder;
  };
  if (event.kind == Kind::kWrite || event.kind == Kind::kResize)
    return std::any_of(later.begin(), later.end(), is_file_synced);
  return std::any_of(later.begin(), later.end(), is_folder_synced);
}

class Disk {
 public:
  // share: of a write, how much of it is there.
  void apply(const DiskEvent& event, double share) {
    switch (event.kind) {
      case Kind::kCreate:
        names_[event.path] = event.file;
        break;
      case Kind::kWrite: {
        std::string& bytes = files_[event.file];
        const size_t n = static_cast<size_t>(static_cast<double>(event.bytes.size()) * share);
        if (n > 0 && bytes.size() < event.offset + n) bytes.resize(event.offset + n, '\0');
        bytes.replace(std::min(bytes.size(), size_t{event.offset}), n, event.bytes, 0, n);
        break;
      }
      case Kind::kResize:
        files_[event.file].resize(event.offset, '\0');
        break;
      case Kind::kRename:
        if (const auto from = names_.find(event.path);
            from != names_.end() && from->second == event.file)
          names_.erase(from);
        names_[event.to] = event.file;
        break;
      case Kind::kLink:
        names_[event.to] = event.file;
        break;
      case Kind::kUnlink:
        names_.erase(event.path);
        break;
      case Kind::kMakeFolder:
        folders_.insert(event.path);
        break;
      case Kind::kRemoveFolder: {
        const auto is_inside = [&](const auto& name) {
          return name.first.starts_with(event.path + "/");
        };
        if (std::none_of(names_.begin(), names_.end(), is_inside)) folders_.erase(event.path);
        break;
      }
      case Kind::kSyncFile:
      case Kind::kSyncFolder:
      case Kind::kMark:
        break;
    }
  }

  void write_to(const fs::path& root) const {
    fs::create_directories(root);
    for (const std::string& folder : folders_)
      if (is_reachable(folder)) fs::create_directories(root / folder);
    for (const auto& [path, file] : names_) {
      if (!is_reachable(parent_of(path))) continue;
      std::ofstream out(root / path, std::ios::binary);
      if (const auto bytes = files_.find(file); bytes != files_.end()) out << bytes->second;
    }
  }

 private:
  bool is_reachable(std::string folder) const {
    for (; !folder.empty(); folder = parent_of(folder))
      if (!folders_.contains(folder)) return false;
    return true;
  }

  std::map<std::string, int> names_;
  std::map<int, std::string> files_;
  std::set<std::string> folders_;
};

}  // namespace

void write_disk_after(const std::vector<DiskEvent>& events, size_t n_events, const PowerLoss& loss,
                      const fs::path& to) {
  const std::span<const DiskEvent> seen = std::span(events).first(n_events);
  std::mt19937 random(loss.seed);
  Disk disk;
  for (size_t i = 0; i < seen.size(); ++i) {
    const bool is_data = seen[i].kind == Kind::kWrite || seen[i].kind == Kind::kResize;
    double share = 1;
    if (!is_durable(seen, i)) {
      switch (loss.kind) {
        case PowerLoss::Kind::kNothing:
          share = 0;
          break;
        case PowerLoss::Kind::kEverything:
          break;
        case PowerLoss::Kind::kNamesOnly:
          share = is_data ? 0 : 1;
          break;
        case PowerLoss::Kind::kDataOnly:
          share = is_data ? 1 : 0;
          break;
        case PowerLoss::Kind::kDraw:
          share = static_cast<double>(random() % 3) / 2;
          break;
      }
      if (!is_data && share < 1) share = 0;
    }
    if (share > 0) disk.apply(seen[i], share);
  }
  disk.write_to(to);
}

}  // namespace olx::tests::faults
