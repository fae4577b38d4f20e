#include "server/store/fsck.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "gguf/value.h"
#include "server/store/model_config.h"
#include "server/store/scan.h"
#include "server/store/store.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

// One run over one folder, part after part. What a part cannot read is a finding, and the next part
// goes on.
class Check {
 public:
  Check(const fs::path& models, const FsckOptions& options) : at_(models), options_(options) { at_.follow_disks(); }

  FsckReport run() {
    if (!fs::is_directory(at_.folder))
      throw std::system_error(ENOENT, std::generic_category(),
                              "no models folder " + at_.folder.string());
    const std::optional<FileLock> held = lock();
    check_manifests();
    check_referenced();
    check_blobs();
    check_own_files();
    return std::move(report_);
  }

 private:
  std::optional<FileLock> lock() const {
    if (options_.repairs) {
      for (const fs::path& folder : {at_.quarantine, at_.blob_quarantine}) create_folders(folder);
      std::optional<FileLock> held = FileLock::try_exclusive(at_.lock, std::chrono::seconds(2));
      if (!held)
        throw std::system_error(EBUSY, std::generic_category(),
                                "a server is at work in the models folder");
      return held;
    }
    try {
      if (is_plain_file(at_.lock)) return FileLock::shared(at_.lock);  // looking makes no files
    } catch (const std::system_error&) {  // a folder of another user can be looked at too
    }
    return std::nullopt;
  }

  struct Blob {
    uint64_t size_bytes = 0;
    bool is_config = false;
    std::set<std::string> models;  // that need it
  };

  FsckFinding& add(bool is_wrong, std::string what, std::string advice) {
    report_.findings.push_back({is_wrong, false, std::move(what), std::move(advice)});
    return report_.findings.back();
  }
  FsckFinding& wrong(std::string what, std::string advice) {
    return add(true, std::move(what), std::move(advice));
  }
  FsckFinding& note(std::string what, std::string advice = "") {
    return add(false, std::move(what), std::move(advice));
  }
  static bool is_folder(const fs::path& path) {
    const std::optional<FileInfo> info = file_info(path);
    return info && info->is_folder;
  }
  std::string shown(const fs::path& path) const {
    return path.lexically_relative(at_.folder).generic_string();
  }

  // Runs f where repairs are wanted; what fails is said in the finding.
  template <class F>
  void repair(FsckFinding& finding, const std::string& done, F f) {
    if (!options_.repairs) return;
    try {
      f();
      finding.is_repaired = true;
      finding.advice = done;
    } catch (const std::exception& error) {
      finding.advice = std::string("repairing failed: ") + error.what();
    }
  }

  void put_into_quarantine(const fs::path& path) {
    const bool is_blob = path.parent_path() == at_.blobs;
    fs::path to = (is_blob ? at_.blob_quarantine : at_.quarantine) / path.filename();
    if (file_info(to)) to += "." + unique_name("");
    rename_file(path, to);
    sync_folder(to.parent_path());
    sync_folder(path.parent_path());
  }

  std::string shown_quarantine(bool is_blob) const {
    return shown(is_blob ? at_.blob_quarantine : at_.quarantine);
  }

  void reference(const Layer& layer, bool is_config, const std::string& model) {
    const auto [at, is_new] =
        blobs_.try_emplace(layer.digest, Blob{layer.size_bytes, is_config, {}});
    at->second.models.insert(model);
    at->second.is_config |= is_config;
    if (!is_new && at->second.size_bytes != layer.size_bytes)
      wrong("model '" + model + "' says that blob " + layer.digest.text() + " has " +
                std::to_string(layer.size_bytes) + " bytes, another model says " +
                std::to_string(at->second.size_bytes),
            pull(model));
  }

  static std::string pull(const std::string& model) {
    return "`ollamax pull " + model + "`, or create the model again";
  }

  void check_manifests() {
    const auto strange = each_manifest(at_, [&](const ModelName& name, const fs::path& path) {
      const std::string model = name.shortest();
      try {
        const std::optional<std::string> text = read_small_file(path, kMaxManifestBytes);
        if (!text) return;  // removed in this moment
        const Manifest manifest = parse_manifest(*text);
        ++report_.n_models;
        reference(manifest.config, true, model);
        for (const Layer& layer : manifest.layers) reference(layer, false, model);
      } catch (const std::exception& error) {
        bad_manifest(name, path, error.what());
      }
    });
    for (const std::string& path : strange) {
      if (fs::path(path).filename().string().starts_with(".")) {
        note("manifests/" + path + " is no manifest",
             "remove it: while it is there no blob is collected");
        continue;
      }
      FsckFinding& finding = wrong("manifests/" + path + " is not a manifest of this store",
                                   "remove it: while it is there no blob is collected");
      repair(finding, "moved to " + shown_quarantine(false),
             [&] { put_into_quarantine(at_.manifests / path); });
    }
  }

  void bad_manifest(const ModelName& name, const fs::path& path, const std::string& why) {
    has_bad_manifest_ = true;
    const std::string model = name.shortest();
    FsckFinding& finding = wrong("model '" + model + "' cannot be read: " + why,
                                 pull(model) + "; until then no blob is collected");
    const fs::path previous = at_.previous_manifest(name);
    try {
      if (const auto text = read_small_file(previous, kMaxManifestBytes)) {
        const Manifest manifest = parse_manifest(*text);
        const auto is_there = [&](const Layer& layer) {
          return is_plain_file(at_.blobs / layer.digest.file_name());
        };
        if (is_there(manifest.config) &&
            std::all_of(manifest.layers.begin(), manifest.layers.end(), is_there)) {
          repair(finding, "the manifest it had before is back",
                 [&] { put_into_quarantine(path), publish(previous, path); });
          if (!finding.is_repaired) return;
          ++report_.n_models;
          reference(manifest.config, true, model);
          for (const Layer& layer : manifest.layers) reference(layer, false, model);
          return;
        }
      }
    } catch (const std::exception&) {  // no help from there
    }
    // The model is lost as it is; its blobs are not, for the day that prune() gives whatever is
    // new.
    repair(finding, "moved to " + shown_quarantine(false) + "; " + pull(model),
           [&] { put_into_quarantine(path); });
  }

  void check_referenced() {
    for (const auto& [digest, blob] : blobs_)
      if (options_.hashes) n_to_hash_ += blob.size_bytes;
    for (const auto& [digest, blob] : blobs_) {
      ++report_.n_blobs;
      const fs::path path = at_.blobs / digest.file_name();
      std::string users;
      for (const std::string& model : blob.models) users += (users.empty() ? "" : ", ") + model;
      const std::string cure = pull(*blob.models.begin());
      std::string why;
      std::optional<FileInfo> info;
      try {
        info = file_info(path);
        if (!info) {
          wrong("blob " + digest.text() + " is missing; needed by " + users, cure);
          continue;
        }
        why = fault_of(path, digest, *info, blob);
      } catch (const std::exception& error) {
        why = std::string("cannot be read: ") + error.what();
      }
      if (!why.empty()) {
        FsckFinding& finding =
            wrong("blob " + digest.text() + " " + why + "; needed by " + users, cure);
        if (!options_.repairs) continue;
        // Out of the way, so that the next pull or create brings it; the model stays unusable until
        // then, so it stays wrong.
        repair(finding, "moved to " + shown_quarantine(true) + "; " + cure,
               [&] { put_into_quarantine(path); });
        finding.is_repaired = false;
      } else if (info->is_writable && options_.hashes && options_.repairs) {
        File::open_for_reading(path).set_mode(0444);
      } else if (info->is_writable) {
        ++n_writable_;
      }
    }
    if (n_writable_ > 0)
      note(std::to_string(n_writable_) + " blobs can be written to, as Ollama leaves them",
           "`ollamax fsck --hash --repair` verifies and protects them");
  }

  // "" when it is what its name and its manifests say.
  std::string fault_of(const fs::path& path, const Digest& digest, const FileInfo& info,
                       const Blob& blob) {
    if (!info.is_plain) return "is not a plain file";
    if (info.size_bytes != blob.size_bytes)
      return "has " + std::to_string(info.size_bytes) + " bytes, expected " +
             std::to_string(blob.size_bytes);
    if (options_.hashes && hashed(path) != digest) return "holds other bytes than its name says";
    if (!blob.is_config) return "";
    try {
      parse_config(read_small_file(path, kMaxConfigBytes).value_or(""));
    } catch (const gguf::FormatError& error) {
      return std::string("is no model's config: ") + error.what();
    }
    return "";
  }

  Digest hashed(const fs::path& path) {
    const uint64_t before = report_.n_bytes_hashed;
    const Digest digest = sha256_of_file(path, [&](uint64_t n_done) {
      report_.n_bytes_hashed = before + n_done;
      if (options_.on_progress) options_.on_progress(report_.n_bytes_hashed, n_to_hash_);
    });
    return digest;
  }

  void check_blobs() {
    uint64_t n_unused = 0, n_unused_bytes = 0;
    for (const std::string& file_name : list_folder(at_.blobs)) {
      const fs::path path = at_.blobs / file_name;
      const std::optional<FileInfo> info = file_info(path);
      const auto digest = Digest::parse(file_name);
      if (!info || path == at_.temporary || (digest && blobs_.contains(*digest))) continue;
      if (!digest || !info->is_plain) {
        note(shown(path) + " is no blob; the next start removes it when it is a day old");
        continue;
      }
      ++n_unused, n_unused_bytes += info->size_bytes;
      if (options_.repairs && has_bad_manifest_) touch(path);
      if (!options_.hashes || hashed(path) == *digest) continue;
      // It would be taken for what its name says by the next create or pull.
      FsckFinding& finding = wrong(
          "blob " + digest->text() + " holds other bytes than its name says; no model needs it",
          "`ollamax fsck --hash --repair`");
      repair(finding, "moved to " + shown_quarantine(true), [&] { put_into_quarantine(path); });
    }
    if (n_unused > 0)
      note(std::to_string(n_unused) + " blobs (" + std::to_string(n_unused_bytes) +
           " bytes) belong to no model; a start removes them a day after their last use");
  }

  void check_own_files() {
    const auto leftover = [&](const fs::path& path, const char* what) {
      ++report_.n_leftovers;
      FsckFinding& finding = note(shown(path) + " is " + what, "the next start removes it");
      repair(finding, "removed", [&] { remove_file(path); });
    };
    for (const std::string& file_name : list_folder(at_.temporary)) {
      const fs::path path = at_.temporary / file_name;
      if (is_folder(path)) continue;  // the quarantine of another disk
      switch (kind_of_temporary(at_, file_name)) {
        case TemporaryKind::kBeingWritten:
          break;
        case TemporaryKind::kDownload:
          if (file_name.ends_with(".part"))
            note(shown(path) + " is a download that can go on", "pull the model again");
          break;
        case TemporaryKind::kLeftover:
          leftover(path, "a leftover of a killed process");
          break;
      }
    }
    if (at_.small != at_.temporary)
      for (const std::string& file_name : list_folder(at_.small))
        if (!is_being_written(at_.small / file_name))
          leftover(at_.small / file_name, "a leftover of a killed process");
    for (const std::string& file_name : list_folder(at_.leases))
      if (!is_being_written(at_.leases / file_name))
        leftover(at_.leases / file_name, "the lease of a killed process");
    for (const fs::path& folder : std::set<fs::path>{at_.quarantine, at_.blob_quarantine})
      for (const std::string& file_name : list_folder(folder))
        note(shown(folder / file_name) + " was taken out by a repair",
             "remove it when you do not need it");
  }

  StoreLayout at_;
  const FsckOptions& options_;
  FsckReport report_;
  std::map<Digest, Blob> blobs_;
  uint64_t n_to_hash_ = 0, n_writable_ = 0;
  bool has_bad_manifest_ = false;
};

}  // namespace

uint64_t FsckReport::n_wrong() const {
  return static_cast<uint64_t>(std::count_if(
      findings.begin(), findings.end(),
      [](const FsckFinding& finding) { return finding.is_wrong && !finding.is_repaired; }));
}

FsckReport fsck(const fs::path& models, const FsckOptions& options) {
  return Check(models, options).run();
}

}  // namespace olx::server
