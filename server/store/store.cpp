#include "server/store/store.h"

#include <algorithm>
#include <cstdio>
#include <system_error>

#include "gguf/value.h"
#include "server/store/import.h"
#include "server/store/scan.h"
#include "server/store/store_error.h"

namespace olx::server {
namespace fs = std::filesystem;
namespace {

constexpr size_t kPieceBytes = 1 << 20;

constexpr unsigned kBlobMode = 0444;

}  // namespace

BlobWriter::BlobWriter(fs::path blobs, fs::path temporary, File file)
    : blobs_(std::move(blobs)), temporary_(std::move(temporary)), file_(std::move(file)), buffer_(kPieceBytes) {}

BlobWriter::~BlobWriter() {
  if (!temporary_.empty() && file_.is_open()) remove_quietly(temporary_);
}

// What counts is what the file holds, not what was meant to be written: a short write that nobody noticed has another hash.
void BlobWriter::hash_from_file() {
  while (n_hashed_ < size_bytes_) {
    const size_t n_wanted = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), size_bytes_ - n_hashed_));
    const size_t n = file_.read_at(std::span(buffer_).first(n_wanted), n_hashed_);
    if (n == 0) throw std::system_error(EIO, std::generic_category(), "read back " + temporary_.filename().string());
    hash_.update(std::span(buffer_).first(n));
    n_hashed_ += n;
  }
}

void BlobWriter::write(std::string_view bytes) {
  file_.write_all(bytes);
  size_bytes_ += bytes.size();
  // A step behind the writing: a large upload is not read a second time at its end.
  if (size_bytes_ - n_hashed_ >= kPieceBytes) hash_from_file();
}

bool BlobWriter::share(const File& source) {
  if (!file_.clone_from(source)) return false;
  size_bytes_ = file_.size();
  return true;
}

void BlobWriter::copy(const File& source, const std::function<void(uint64_t)>& on_progress) {
  std::vector<char> piece(kPieceBytes);
  while (const size_t n = source.read(piece)) {
    write({piece.data(), n});
    if (on_progress) on_progress(size_bytes_);
  }
}

Digest BlobWriter::commit(const std::optional<Digest>& expected) {
  hash_from_file();
  const Digest digest = hash_.finish();
  if (expected && *expected != digest) return digest;  // the destructor removes the file
  file_.set_mode(kBlobMode);
  file_.sync();
  publish(temporary_, blobs_ / digest.file_name());
  file_.close();
  return digest;
}

Store::Store(fs::path folder) : at_(std::move(folder)) {
  at_.follow_disks();
  try {
    for (const fs::path& needed : {at_.blobs, at_.manifests, at_.temporary, at_.small, at_.leases, at_.previous, at_.origins, at_.quarantine})
      create_folders(needed);
    const FileLock held = FileLock::shared(at_.lock);  // they may be there and yet be closed
  } catch (const std::system_error& error) {
    // Of another user (Ollama's service has one), or on a disk that is mounted for reading.
    const bool is_closed = error.code() == std::errc::permission_denied || error.code() == std::errc::operation_not_permitted ||
                           error.code() == std::errc::read_only_file_system;
    if (!is_closed || !fs::is_directory(at_.blobs) || !fs::is_directory(at_.manifests))
      throw std::system_error(error.code(), "the models folder " + at_.folder.string() + " cannot be used (OLLAMA_MODELS names another one)");
    closed_ = error.code();
  }
}

fs::path Store::blob_path(const Digest& digest) const { return at_.blobs / digest.file_name(); }
// A link is no blob: it could show a file from outside the store.
bool Store::has_blob(const Digest& digest) const { return is_plain_file(blob_path(digest)); }

uint64_t Store::blob_size(const Digest& digest) const {
  const std::optional<FileInfo> info = file_info(blob_path(digest));
  if (!info || !info->is_plain) throw gguf::FormatError("blob " + digest.text() + " is missing");
  return info->size_bytes;
}

void Store::check_room(uint64_t n_bytes) const {
  const uint64_t free = free_bytes(at_.blobs);
  if (n_bytes == 0 || (free >= spare_bytes_ && free - spare_bytes_ >= n_bytes)) return;
  throw StoreError(StoreError::Kind::kNoRoom, "not enough space on the disk: " + std::to_string(n_bytes) + " bytes are needed, " + std::to_string(free) +
                                                  " are free and " + std::to_string(spare_bytes_) + " of them are kept");
}

std::string Store::read_blob(const Digest& digest, uint64_t max_bytes) const {
  std::optional<std::string> text = read_small_file(blob_path(digest), max_bytes);
  if (!text) throw gguf::FormatError("blob " + digest.text() + " is missing");
  return std::move(*text);
}

void Store::check_can_write() const {
  if (!closed_) return;
  std::fprintf(stderr, "the models folder %s cannot be written to: %s\n", at_.folder.c_str(), closed_.message().c_str());
  const char* advice = closed_ == std::errc::read_only_file_system ? "mount its disk for writing, or set OLLAMA_MODELS to a folder elsewhere"
                                                                   : "run as the user it belongs to, or set OLLAMA_MODELS to a folder of your own";
  throw std::system_error(closed_, std::string("the model store cannot be written to (") + advice + ")");
}

FileLock Store::hold() const {
  check_can_write();
  return FileLock::shared(at_.lock);
}

// Under the shared lock, so that whoever has the exclusive one knows: a file that is not locked has lost its process.
BlobWriter Store::new_blob() {
  const FileLock held = hold();
  return make_blob();
}

BlobWriter Store::make_blob() {
  const fs::path temporary = at_.temporary / unique_name(".part");
  File file = File::create_exclusively(temporary, 0644);
  return BlobWriter(at_.blobs, temporary, std::move(file));
}

Digest Store::import_file(const fs::path& path, const std::function<void(uint64_t)>& on_progress) {
  const File source = File::open_following_links(path);
  BlobWriter blob = new_blob();
  if (!blob.share(source)) {
    check_room(source.size());
    blob.copy(source, on_progress);
  }
  return blob.commit();
}

Layer Store::add_layer(std::string_view media_type, std::string_view bytes) {
  const Digest digest = sha256_of(bytes);
  bool is_there = false;
  try {  // one that is cut short or was written wrongly is written again
    is_there = has_blob(digest) && sha256_of(read_blob(digest, bytes.size())) == digest;
  } catch (const std::exception&) {
  }
  if (is_there) {
    reuse(digest);
  } else {
    BlobWriter blob = make_blob();
    blob.write(bytes);
    if (blob.commit(digest) != digest) throw std::system_error(EIO, std::generic_category(), "write blob " + digest.text());
  }
  return Layer{std::string(media_type), digest, bytes.size(), {}};
}

fs::path Store::part_path(const Digest& digest) const { return at_.temporary / (digest.file_name() + ".part"); }

void Store::adopt_part(const Digest& part_of, const Digest& digest, File part) {
  part.set_mode(kBlobMode);
  part.sync();
  publish(part_path(part_of), blob_path(digest));
  part.close();
}

bool Store::verify_blob(const Digest& digest, uint64_t size_bytes, const std::function<void(uint64_t)>& on_progress) {
  const fs::path path = blob_path(digest);
  const std::optional<FileInfo> info = file_info(path);
  if (!info || !info->is_plain || info->size_bytes != size_bytes) return false;
  if (info->is_writable) {
    if (sha256_of_file(path.string(), on_progress) != digest) return false;
    File file = File::open_for_reading(path);
    try {
      file.set_mode(kBlobMode);
    } catch (const std::system_error&) {  // the file of another user: it is hashed the next time too
    }
  }
  reuse(digest);
  return true;
}

void Store::reuse(const Digest& digest) {
  touch(blob_path(digest));  // not allowed on the file of another user, which is no reason to stop
  sync_file(blob_path(digest));
}

ModelName Store::on_disk(const ModelName& name) const {
  if (is_plain_file(at_.manifest(name))) return name;
  ModelName found = name;
  int n_shared = 0;
  each_manifest(at_, [&](const ModelName& other, const fs::path&) {
    const int n = other.n_shared_parts(name);
    const ModelName spelled = name.spelled_like(other);
    if (n < n_shared || (n == n_shared && spelled != name)) return;
    found = spelled;
    n_shared = n;
  });
  return found;
}

std::optional<StoredModel> Store::find(const ModelName& name) const {
  const ModelName spelled = on_disk(name);
  const fs::path path = at_.manifest(spelled);
  const std::optional<std::string> text = read_small_file(path, kMaxManifestBytes);
  const std::optional<FileInfo> info = file_info(path);
  if (!text || !info) return std::nullopt;
  return StoredModel{spelled, parse_manifest(*text), sha256_of(*text), info->modified_ns};
}

std::vector<StoredModel> Store::list() const {
  std::vector<StoredModel> models;
  each_manifest(at_, [&](const ModelName& name, const fs::path&) {
    try {
      if (auto model = find(name)) models.push_back(std::move(*model));
    } catch (const std::exception&) {  // a damaged one is not offered
    }
  });
  std::sort(models.begin(), models.end(), [](const StoredModel& a, const StoredModel& b) {
    return a.modified_ns != b.modified_ns ? a.modified_ns > b.modified_ns : a.name < b.name;
  });
  return models;
}

void Store::write_manifest(const ModelName& name, const Manifest& manifest) {
  write_manifest_text(name, manifest_json(manifest), Origin::kMade);
}

std::optional<std::string> Store::manifest_text(const ModelName& name) const {
  return read_small_file(at_.manifest(on_disk(name)), kMaxManifestBytes);
}

void Store::write_origin(const ModelName& spelled, const Digest& manifest, Origin origin) {
  const std::string text = origin == Origin::kMade ? "made\n" : "pulled\n";
  const fs::path path = at_.origin(spelled, manifest);
  if (read_small_file(path, text.size() + 9) == text) return;
  const fs::path temporary = at_.small / unique_name(".origin");
  File file = File::create_exclusively(temporary, 0644);
  try {
    file.write_all(text);
    file.sync();
    publish(temporary, path);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
}

bool Store::is_made_here(const ModelName& name) const {
  const ModelName spelled = on_disk(name);
  const std::string text = read_small_file(at_.manifest(spelled), kMaxManifestBytes).value_or("");
  if (const auto origin = read_small_file(at_.origin(spelled, sha256_of(text)), 16)) return *origin == "made\n";
  return text.ends_with('\n');
}

void Store::write_manifest_text(const ModelName& name, std::string_view bytes, Origin origin) {
  const ModelName spelled = on_disk(name);
  const fs::path path = at_.manifest(spelled);
  // Names of blobs that were there already may not have been synced by who made them, or not with success.
  sync_folder(at_.blobs);
  sync_folder(at_.folder);
  write_origin(spelled, sha256_of(bytes), origin);  // first: what is said of a manifest that does not come is said of none
  // Written outside manifests/: other tools take every file there for a manifest.
  const fs::path temporary = at_.small / unique_name(".manifest");
  std::optional<File> file = File::create_exclusively(temporary, 0644);
  try {
    file->write_all(bytes);
    file->sync();
    const fs::path previous = at_.previous_manifest(spelled);
    remove_quietly(previous);
    link_file(path, previous);
    for (int attempt = 0;; ++attempt) {
      create_folders(path.parent_path());
      try {
        rename_file(temporary, path);
        break;
      } catch (const std::system_error& error) {  // a remove() took the empty folder away
        if (error.code() != std::errc::no_such_file_or_directory || attempt == 20) throw;
      }
    }
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
  // The folders too, from the inside out: a process that made one may have been killed before it synced the folder around it.
  for (fs::path folder = path.parent_path(); folder != at_.folder; folder = folder.parent_path()) sync_folder(folder);
}

bool Store::copy(const ModelName& source, const ModelName& destination) {
  const FileLock held = hold();
  const ModelName from = on_disk(source);
  const std::optional<std::string> text = read_small_file(at_.manifest(from), kMaxManifestBytes);
  if (!text) return false;
  parse_manifest(*text);
  if (on_disk(destination) != from) write_manifest_text(destination, *text, Origin::kMade);
  return true;
}

bool Store::remove(const ModelName& name) {
  check_can_write();
  fs::path path = at_.manifest(on_disk(name));
  const std::optional<std::string> text = read_small_file(path, kMaxManifestBytes);
  if (!text) return false;
  std::optional<Manifest> manifest;
  try {
    manifest = parse_manifest(*text);
  } catch (const gguf::FormatError&) {  // a damaged manifest can still be removed; its blobs wait for prune()
  }
  if (!remove_file(path)) return false;  // another process was faster
  sync_folder(path.parent_path());       // before any blob goes
  for (int level = 0; level < 3; ++level) {
    path = path.parent_path();
    if (!remove_empty_folder(path)) break;
  }
  if (manifest) drop_unused(*manifest);
  return true;
}

Digest import_file(const std::string& models_dir, uint64_t spare_bytes, const std::string& path, const std::function<void(uint64_t)>& on_progress) {
  Store store(models_dir);
  store.set_spare_bytes(spare_bytes);
  return store.import_file(path, on_progress);
}

}  // namespace olx::server
