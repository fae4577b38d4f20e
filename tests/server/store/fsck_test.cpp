// fsck on stores that are sound, damaged in one way each, and Ollama's.

#include "gguf/reader.h"
#include "tests/server/store/store_operations.h"

using namespace olx::server;
using namespace olx::server::testing;
namespace fs = std::filesystem;

namespace {

void write_over(const fs::path& path, std::string_view bytes) {
  fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

fs::path manifest_of(const Stage& stage, const std::string& model) {
  return stage.folder() / "manifests/registry.ollama.ai/library" / model / "latest";
}

// One damage, what must be said of it, and whether the models are all well after a repair.
struct Damage {
  const char* name;
  std::function<void(const Stage&, ModelStore&)> inflict;
  const char* expected;  // part of the finding
  bool needs_hashes, is_repairable;
};

std::vector<Damage> damages() {
  const auto weights = [](ModelStore& store) {
    return fs::path(store.contents(name("kept")).gguf_path);
  };
  return {
      {"a bit of the weights",
       [=](const Stage&, ModelStore& store) {
         std::string bytes = read_file(weights(store));
         bytes[bytes.size() / 2] ^= 1;
         write_over(weights(store), bytes);
       },
       "holds other bytes than its name says; needed by kept:latest, sharing:latest", true, false},
      {"weights cut short",
       [=](const Stage&, ModelStore& store) { fs::resize_file(weights(store), 10); },
       "has 10 bytes, expected", false, false},
      {"no weights", [=](const Stage&, ModelStore& store) { fs::remove(weights(store)); },
       "is missing; needed by kept:latest", false, false},
      {"weights that are a link",
       [=](const Stage&, ModelStore& store) {
         const fs::path path = weights(store);
         fs::remove(path);
         fs::create_symlink("/etc/hostname", path);
       },
       "is not a plain file", false, false},
      {"an empty manifest",
       [](const Stage& stage, ModelStore&) { write_over(manifest_of(stage, "kept"), ""); },
       "model 'kept:latest' cannot be read", false, true},
      {"a torn manifest",
       [](const Stage& stage, ModelStore&) { fs::resize_file(manifest_of(stage, "kept"), 100); },
       "model 'kept:latest' cannot be read", false, true},
      {"a manifest that is a link",
       [](const Stage& stage, ModelStore&) {
         fs::remove(manifest_of(stage, "kept"));
         fs::create_symlink("/etc/hostname", manifest_of(stage, "kept"));
       },
       "kept/latest is not a manifest of this store", false, true},
      {"a folder that is a link",
       [](const Stage& stage, ModelStore&) {
         fs::create_symlink("/etc", stage.folder() / "manifests/registry.ollama.ai/library/etc");
       },
       "library/etc is not a manifest of this store", false, true},
      {"a manifest with a name that is none",
       [](const Stage& stage, ModelStore&) {
         fs::rename(manifest_of(stage, "kept"), manifest_of(stage, "kept").parent_path() / "-x");
       },
       "kept/-x is not a manifest of this store", false, true},
      {"an unused blob with other bytes",
       [](const Stage& stage, ModelStore&) {
         std::ofstream(stage.folder() / "blobs" / sha256_of("x").file_name()) << "y";
       },
       "no model needs it", true, true},
  };
}

}  // namespace

TEST_CASE("Fsck_FindsNothingInASoundStore") {
  Stage stage;
  const FsckReport report = fsck(stage.reset(), {.hashes = true});
  CHECK(text_of(report) == "");
  CHECK(report.n_models == 4);
  CHECK(report.n_blobs == 7);
  CHECK(report.n_bytes_hashed > 500);
  CHECK_THROWS_AS(fsck(stage.folder() / "absent"), std::system_error);
}

TEST_CASE("Fsck_NamesEachDamageAndRepairsWhatItCan", "[T-79][T-80][T-82]") {
  Stage stage;
  for (const Damage& damage : damages()) {
    INFO(damage.name);
    ModelStore store(stage.reset());
    damage.inflict(stage, store);
    const FsckReport quick = fsck(stage.folder());
    CHECK((quick.n_wrong() == 0) == damage.needs_hashes);
    const FsckReport found = fsck(stage.folder(), {.hashes = true});
    CHECK(found.n_wrong() == 1);
    INFO(text_of(found));
    CHECK(text_of(found).find(damage.expected) != std::string::npos);
    for (const FsckFinding& finding : found.findings)
      if (finding.is_wrong) CHECK(!finding.advice.empty());
    const FsckReport repaired = fsck(stage.folder(), {.hashes = true, .repairs = true});
    CHECK((repaired.n_wrong() == 0) == damage.is_repairable);
    const FsckReport again = fsck(stage.folder(), {.hashes = true});
    CHECK((again.n_wrong() == 0) == damage.is_repairable);
    INFO(text_of(again));
    if (!damage.is_repairable)
      CHECK(text_of(again).find("is missing") != std::string::npos);  // nobody takes it for good
    CHECK(store.find(name("victim")));
  }
}

TEST_CASE("Fsck_BringsBackTheManifestAModelHadBefore", "[T-80]") {
  Stage stage;
  ModelStore store(stage.reset(), /*drops_replaced=*/false);
  const std::string before = store.find(name("victim"))->digest.hex();
  CreateRequest request =
      from_file("victim", sha256_of(read_file(store.contents(name("kept")).gguf_path)));
  create(store, request);
  REQUIRE(store.find(name("victim"))->digest.hex() != before);
  write_over(manifest_of(stage, "victim"), "{");
  CHECK(fsck(stage.folder(), {.repairs = true}).n_wrong() == 0);
  CHECK(store.find(name("victim"))->digest.hex() == before);
}

TEST_CASE("Fsck_FindsEveryBitFlip", "[T-79]") {
  Stage stage;
  ModelStore store(stage.reset());
  const fs::path path = store.contents(name("kept")).gguf_path;
  const std::string bytes = read_file(path);
  int n_found = 0, n_flips = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 7, ++n_flips) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    write_over(path, damaged);
    n_found += fsck(stage.folder(), {.hashes = true}).n_wrong() == 1;
  }
  CHECK(n_flips > 500);
  CHECK(n_found == n_flips);
}

TEST_CASE("Fsck_LeftoversAreNotWrongAndGoAtTheStart", "[T-73]") {
  Stage stage;
  ModelStore store(stage.reset());
  std::ofstream(stage.folder() / ".ollamax/tmp/1-2-3.part") << "half";
  std::ofstream(stage.folder() / ".ollamax/lease/1-2-3.lease") << "pid 1\n";
  std::ofstream(stage.folder() / ".ollamax/tmp" / (sha256_of("a").file_name() + ".part"))
      << "data without a journal";
  std::ofstream(stage.folder() / ".ollamax/tmp" / (sha256_of("b").file_name() + ".part"))
      << "a download";
  std::ofstream(stage.folder() / ".ollamax/tmp" / (sha256_of("b").file_name() + ".journal"))
      << "and its journal";
  const FsckReport report = fsck(stage.folder());
  CHECK(report.n_wrong() == 0);
  CHECK(report.n_leftovers == 3);
  CHECK(store.clean_leftovers() >= 3);
  CHECK(fsck(stage.folder()).n_leftovers == 0);
  CHECK(fs::exists(stage.folder() / ".ollamax/tmp" / (sha256_of("b").file_name() + ".part")));
}

TEST_CASE("Fsck_RepairsNothingWhileTheStoreIsUsed", "[T-76]") {
  Stage stage;
  Store store(stage.reset());
  const FileLock held = store.hold();
  CHECK(fsck(stage.folder(), {.hashes = true}).n_wrong() == 0);
  CHECK_THROWS_AS(fsck(stage.folder(), {.repairs = true}), std::system_error);
}

TEST_CASE("Store_ALeaseKeepsItsBlobsWhileItsProcessLives", "[T-76][T-83]") {
  Stage stage;
  Store store(stage.reset());
  const Layer early = store.add_layer(media_type::kModel, "the first blob of a long pull");
  fs::last_write_time(store.blob_path(early.digest),
                      fs::file_time_type::clock::now() - std::chrono::hours(100));
  {
    const Lease lease = store.lease({early.digest});
    CHECK(store.prune(std::chrono::hours(24)) == 0);
    CHECK(store.clean_leftovers() == 0);
    CHECK(fsck(stage.folder()).n_leftovers == 0);
  }
  // A year ahead of the clock: not old.
  fs::last_write_time(store.blob_path(early.digest),
                      fs::file_time_type::clock::now() + std::chrono::hours(9000));
  CHECK(store.prune(std::chrono::hours(24)) == 0);
  fs::last_write_time(store.blob_path(early.digest),
                      fs::file_time_type::clock::now() - std::chrono::hours(100));
  CHECK(store.prune(std::chrono::hours(24)) == 1);
  CHECK_FALSE(store.has_blob(early.digest));
}

TEST_CASE("Store_AnUnreadableLeaseStopsTheCollection", "[T-80]") {
  Stage stage;
  Store store(stage.reset());
  store.add_layer(media_type::kModel, "unused");
  const Lease lease = store.lease({sha256_of("x")});
  for (const auto& entry : fs::directory_iterator(stage.folder() / ".ollamax/lease"))
    std::ofstream(entry.path()) << "garbage\n";
  CHECK(store.prune(std::chrono::seconds(-1)) == 0);
}

TEST_CASE("Store_ADownloadIsKeptUntilItsBytesAreVerified", "[T-64][T-65]") {
  Stage stage;
  ModelStore models(stage.reset());
  Store& store = models.files();
  const Digest digest = sha256_of("all of it");
  const fs::path part = store.part_path(digest);
  {
    File file = File::open_for_update(part, 0644);
    file.reserve(9);
    CHECK(file.size() == 9);
    file.write_at("of it", 4);
    CHECK(is_being_written(part));
    file.sync_data();
    file.write_at("all ", 0);
    std::string back(20, '?');
    CHECK(file.read_at(back, 4) == 5);
    CHECK_FALSE(store.verify_blob(digest, 9));
    store.adopt_part(digest, digest, std::move(file));
  }
  CHECK(store.read_blob(digest, 100) == "all of it");
  CHECK_FALSE(fs::exists(part));
  CHECK_FALSE(file_info(store.blob_path(digest))->is_writable);
  CHECK(store.verify_blob(digest, 9));
  CHECK_FALSE(store.verify_blob(digest, 8));
  write_over(store.blob_path(digest), "other one");  // somebody wrote to it, so it can be written to
  CHECK_FALSE(store.verify_blob(digest, 9));
  write_over(store.blob_path(digest), "all of it");
  CHECK(store.verify_blob(digest, 9));
  CHECK_FALSE(file_info(store.blob_path(digest))->is_writable);
}

TEST_CASE("Store_OldNamesOfOllamaAreBroughtUpToDate") {
  Stage stage;
  ModelStore store(stage.reset());
  const fs::path path = store.contents(name("kept")).gguf_path;
  std::string old_name = path.filename().string();
  old_name[6] = ':';
  fs::rename(path, path.parent_path() / old_name);
  CHECK(store.clean_leftovers() == 0);
  CHECK(store.contents(name("kept")).gguf_path == path);
  CHECK(fsck(stage.folder(), {.hashes = true}).n_wrong() == 0);
}

TEST_CASE("Store_ARemovedModelIsReadToItsEndByWhoHasItOpen", "[T-78]") {
  Stage stage;
  ModelStore store(stage.reset());
  const std::string path = store.contents(name("victim")).gguf_path;
  const olx::gguf::GgufFile file = olx::gguf::GgufFile::open(path);
  store.remove(name("victim"));
  CHECK_FALSE(fs::exists(path));
  const olx::gguf::TensorInfo& tensor = file.tensors().at(0);
  std::vector<std::byte> bytes(tensor.size_bytes);
  CHECK_NOTHROW(file.read(tensor, 0, bytes));
  create(store, from_file("victim", upload(store, tiny_gguf(olx::tests::TempDir(), 5))));
  CHECK(store.contents(name("victim")).gguf_path != path);  // who comes now gets the new one
}
