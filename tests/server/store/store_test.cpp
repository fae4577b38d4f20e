#include "server/store/store.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>

#include "server/store/fsck.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::server;
namespace fs = std::filesystem;

namespace {

ModelName name(std::string_view text) { return *ModelName::parse(text); }

Manifest add_model(Store& store, const std::string& model_name, const std::string& weights) {
  Manifest manifest{store.add_layer(media_type::kConfig, "{\"of\":\"" + weights + "\"}"),
                    {store.add_layer(media_type::kModel, weights), store.add_layer(media_type::kSystem, "shared")}};
  store.write_manifest(name(model_name), manifest);
  return manifest;
}

size_t n_files(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Every manifest parses, every blob it names is whole, nothing else is in blobs/ under a name that is not its digest.
void require_sound(const Store& store) {
  for (const auto& entry : fs::directory_iterator(store.folder() / "blobs")) {
    const auto digest = Digest::parse(entry.path().filename().string());
    REQUIRE(digest);
    REQUIRE(sha256_of_file(entry.path()) == *digest);
  }
  for (const StoredModel& model : store.list())
    for (const Layer& layer : model.manifest.layers) REQUIRE(store.has_blob(layer.digest));
}

}  // namespace

TEST_CASE("Store_KeepsModelsWhereOllamaDoes") {
  olx::tests::TempDir temp;
  Store store(temp.path() / "models");
  const Manifest manifest = add_model(store, "tiny", "weights");
  CHECK(fs::is_regular_file(temp.path() / "models/manifests/registry.ollama.ai/library/tiny/latest"));
  CHECK(fs::is_regular_file(temp.path() / "models/blobs" / manifest.layers[0].digest.file_name()));
  const auto found = store.find(name("TINY:Latest"));
  REQUIRE(found);
  CHECK(found->name.shortest() == "tiny:latest");
  CHECK(found->manifest.layers.size() == 2);
  CHECK(store.read_blob(manifest.layers[0].digest, 100) == "weights");
  CHECK(store.list().size() == 1);
  CHECK(n_files(store.folder() / ".ollamax/tmp") == 0);
}

TEST_CASE("Store_RemovesOnlyWhatNoOtherModelUses") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Manifest first = add_model(store, "first", "one");
  const Manifest second = add_model(store, "second", "two");
  CHECK(store.copy(name("first"), name("copy:v1")));
  CHECK_FALSE(store.copy(name("absent"), name("x")));
  CHECK(store.remove(name("first")));
  CHECK(store.has_blob(first.layers[0].digest));  // the copy uses it
  CHECK(store.remove(name("copy:v1")));
  CHECK_FALSE(store.has_blob(first.layers[0].digest));
  CHECK(store.has_blob(first.layers[1].digest));  // shared with the second
  CHECK_FALSE(store.remove(name("first")));
  CHECK_FALSE(fs::exists(temp.path() / "manifests/registry.ollama.ai/library/first"));
  require_sound(store);
}

TEST_CASE("Store_DeletesNoBlobWhileAManifestIsUnreadable", "[T-80]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Manifest first = add_model(store, "first", "one");
  const fs::path other = temp.path() / "manifests/registry.ollama.ai/library/other";
  fs::create_directories(other);
  const std::string digest = "\"digest\":\"" + first.layers[0].digest.text() + "\"";
  for (const std::string& damage :
       {std::string(), std::string("{"), std::string("null"), std::string("{\"config\":{}}"), std::string("\0\0", 2),
        "{\"config\":{\"mediaType\":\"x\"," + digest + ",\"size\":-1}}",
        "{\"config\":{\"mediaType\":\"x\"," + digest + ",\"size\":1},\"layers\":{}}",
        std::string("{\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:../../x\",\"size\":1}}")}) {
    std::ofstream(other / "latest", std::ios::trunc) << damage;
    CHECK(store.list().size() == 1);
    CHECK(store.prune(std::chrono::seconds(-1)) == 0);
  }
  CHECK(store.remove(name("first")));
  CHECK(store.has_blob(first.layers[0].digest));
  fs::remove(other / "latest");
  CHECK(store.prune(std::chrono::seconds(-1)) == 3);
}

TEST_CASE("Store_PruneLeavesYoungAndUsedFiles", "[T-76]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  add_model(store, "first", "one");
  const Layer orphan = store.add_layer(media_type::kModel, "orphan");
  std::ofstream(temp.path() / "blobs/sha256-partial") << "x";
  CHECK(store.prune(std::chrono::hours(1)) == 0);
  {
    const FileLock held = store.hold();  // a create is running
    CHECK(store.prune(std::chrono::seconds(-1)) == 0);
  }
  CHECK(store.prune(std::chrono::seconds(-1)) == 2);
  CHECK_FALSE(store.has_blob(orphan.digest));
  require_sound(store);
}

TEST_CASE("Store_CleaningLeavesAFileThatIsBeingWritten", "[T-76]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  std::optional<BlobWriter> blob = store.new_blob();
  blob->write("slow");
  const fs::path orphan = temp.path() / ".ollamax/tmp/1-0-0.part";
  std::ofstream(orphan) << "its process was killed";
  CHECK(store.clean_leftovers() == 1);
  CHECK_FALSE(fs::exists(orphan));
  CHECK(store.clean_leftovers() == 0);
  const Digest digest = blob->commit();
  CHECK(store.has_blob(digest));
}

TEST_CASE("Store_AFullDiskPublishesNothing", "[T-75]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const pid_t child = ::fork();  // the limit cannot be raised again
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      store.add_layer(media_type::kModel, std::string(1001, 'x'));
    } catch (const std::system_error&) {
      ::_exit(n_files(temp.path() / "blobs") + n_files(temp.path() / ".ollamax/tmp") == 0 ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  store.add_layer(media_type::kModel, std::string(1001, 'x'));
  require_sound(store);
}

TEST_CASE("Store_BlobsMayLieOnAnotherDisk") {
  const std::filesystem::path elsewhere = "/dev/shm";
  olx::tests::TempDir temp;
  if (!is_on_another_disk(elsewhere, temp.path())) {
    std::printf("SKIPPED: /dev/shm is no other disk than the folder for temporary files\n");
    return;
  }
  const olx::tests::TempDir other(elsewhere);
  const std::filesystem::path folder = temp.path() / "models";
  std::filesystem::create_directories(folder);
  std::filesystem::create_directory_symlink(other.path(), folder / "blobs");
  const std::string text = "the bytes of a blob";
  {
    Store store(folder);
    BlobWriter given_up = store.new_blob();
    given_up.write("half of a");
    BlobWriter blob = store.new_blob();
    blob.write(text);
    CHECK(blob.commit() == sha256_of(text));
    store.write_manifest(name("m"), Manifest{store.add_layer(media_type::kConfig, "{}"), {store.add_layer(media_type::kSystem, text)}});
    File part = File::open_for_update(store.part_path(sha256_of("fetched")), 0644);
    part.write_at("fetched", 0);
    store.adopt_part(sha256_of("fetched"), sha256_of("fetched"), std::move(part));
    CHECK(store.read_blob(sha256_of("fetched"), 100) == "fetched");
  }
  CHECK(std::filesystem::is_empty(other.path() / ".ollamax"));
  std::ofstream(other.path() / ".ollamax" / "killed.part") << "x";
  std::ofstream(folder / ".ollamax/tmp" / "killed.manifest") << "x";
  const FsckReport report = fsck(folder, {.hashes = true});
  CHECK(report.n_wrong() == 0);
  CHECK(report.n_leftovers == 2);
  Store store(folder);
  CHECK(store.clean_leftovers() == 2);
  CHECK(store.prune(std::chrono::seconds(0)) == 1);  // what was fetched and belongs to no model
  CHECK(store.read_blob(sha256_of(text), 100) == text);
  // What fsck takes out goes no further than a rename can take it, and stays there.
  std::filesystem::permissions(store.blob_path(sha256_of(text)), std::filesystem::perms::owner_all);
  std::ofstream(store.blob_path(sha256_of(text))) << "the bytes of a b1ob";
  const FsckReport repaired = fsck(folder, {.hashes = true, .repairs = true});
  REQUIRE(repaired.n_wrong() == 1);
  for (const FsckFinding& finding : repaired.findings)
    if (finding.is_wrong) CHECK(finding.advice.starts_with("moved to blobs/.ollamax/quarantine"));
  CHECK_FALSE(store.has_blob(sha256_of(text)));
  CHECK(n_files(other.path() / ".ollamax/quarantine") == 1);
  CHECK(store.clean_leftovers() == 0);
  CHECK(fsck(folder).n_leftovers == 0);
  CHECK(n_files(other.path() / ".ollamax/quarantine") == 1);
  CHECK(store.remove(name("m")));
}

// Each of the folders that a disk can be mounted on. In a process that has its mounts for itself.
TEST_CASE("Store_EachFolderMayBeADiskOfItsOwn") {
  const char* const mounted = GENERATE("blobs", "manifests", ".ollamax");
  CAPTURE(mounted);
  olx::tests::TempDir temp;
  const std::filesystem::path folder = temp.path() / "models";
  std::filesystem::create_directories(folder / mounted);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", (folder / mounted).c_str(), "tmpfs", 0, "size=4m") != 0)
      ::_exit(77);
    try {
      Store store(folder);
      const Manifest first = add_model(store, "m", "weights");
      add_model(store, "m", "other weights");
      add_model(store, "n", "more weights");
      store.drop_unused(first);
      bool is_well = !store.has_blob(first.layers[0].digest) && store.list().size() == 2 && store.is_made_here(name("m"));
      std::ofstream(folder / "manifests/registry.ollama.ai/library/m/latest") << "{";
      const fs::path blob = store.blob_path(store.find(name("n"))->manifest.layers[0].digest);
      fs::permissions(blob, fs::perms::owner_all);
      std::ofstream(blob) << "less";
      for (const FsckFinding& finding : fsck(folder, {.hashes = true, .repairs = true}).findings)
        is_well &= finding.advice.find("failed") == std::string::npos;
      is_well &= !fs::exists(blob) && fsck(folder).n_wrong() == 1 && store.clean_leftovers() >= 0 && store.remove(name("n"));
      ::_exit(is_well ? 0 : 1);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", mounted, error.what());
      ::_exit(2);
    }
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    std::printf("SKIPPED: nothing can be mounted here\n");
    return;
  }
  CHECK(status == 0);
}

TEST_CASE("Store_KnowsWhatWasMadeHere") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Manifest made = add_model(store, "made", "one");
  const std::string with_newline = manifest_json(made), without = with_newline.substr(0, with_newline.size() - 1);
  const auto on_disk = [&](const char* model) { return temp.path() / "manifests/registry.ollama.ai/library" / model / "latest"; };
  store.write_manifest_text(name("pulled"), without, Store::Origin::kPulled);
  store.write_manifest_text(name("pulled-newline"), with_newline, Store::Origin::kPulled);
  CHECK(store.copy(name("pulled"), name("copy")));
  CHECK(store.is_made_here(name("made")));
  CHECK_FALSE(store.is_made_here(name("pulled")));
  CHECK_FALSE(store.is_made_here(name("PULLED-newline")));
  CHECK(store.is_made_here(name("copy")));
  CHECK_FALSE(store.is_made_here(name("absent")));
  // Replaced by another program: what it writes tells.
  std::ofstream(on_disk("copy")) << without << " ";
  CHECK_FALSE(store.is_made_here(name("copy")));
  std::ofstream(on_disk("pulled")) << "\n" << with_newline;
  CHECK(store.is_made_here(name("pulled")));
  // Of four models two are as they were written.
  store.clean_leftovers();
  CHECK(n_files(temp.path() / ".ollamax/origin") == 2);
  CHECK(store.is_made_here(name("made")));
  CHECK_FALSE(store.is_made_here(name("pulled-newline")));
  CHECK(store.remove(name("made")));
  store.clean_leftovers();
  CHECK(n_files(temp.path() / ".ollamax/origin") == 1);
}

TEST_CASE("Store_DropsABlobWithAnotherDigest", "[T-81]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Digest expected = sha256_of("expected");
  {
    BlobWriter blob = store.new_blob();
    blob.write("something else");
    CHECK(blob.commit(expected) != expected);
  }
  { store.new_blob().write("abandoned"); }
  CHECK(n_files(temp.path() / "blobs") == 0);
  CHECK(n_files(temp.path() / ".ollamax/tmp") == 0);
}

TEST_CASE("Store_DoesNotFollowLinks", "[T-71][T-82]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Digest digest = sha256_of("x");
  fs::create_symlink("/etc/hostname", store.blob_path(digest));
  CHECK_FALSE(store.has_blob(digest));
  CHECK_THROWS(store.read_blob(digest, 1000));
}

TEST_CASE("Store_IsSoundWhereverACreateIsKilled", "[T-73]") {
  olx::tests::TempDir temp;
  Store store(temp.path());
  const Manifest before = add_model(store, "kept", "old weights");
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int i = 0;; ++i) {
        const std::string weights(1 << 16, static_cast<char>('a' + (round + i) % 26));
        add_model(store, i % 2 == 0 ? "kept" : "other", weights + std::to_string(round) + "-" + std::to_string(i));
      }
    }
    ::usleep(random() % 12'000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    require_sound(store);
    REQUIRE(store.find(name("kept")));
  }
  store.clean_leftovers();
  store.prune(std::chrono::seconds(-1));
  require_sound(store);
  CHECK(n_files(temp.path() / ".ollamax/tmp") == 0);
}
