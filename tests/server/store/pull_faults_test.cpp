// What a pull leaves behind when the disk or the power fails under it, and what the next one makes of it.

#include <future>
#include <thread>

#include "tests/server/store/store_operations.h"
#include "tests/support/faults/disk_model.h"
#include "tests/support/faults/fault_script.h"

using namespace olx::server;
using namespace olx::server::testing;
using namespace olx::tests::faults;
namespace fs = std::filesystem;

namespace {

// A model of one large blob on the registry, and where its download lies.
struct LargeModel {
  explicit LargeModel(Stage& its_stage)
      : stage(its_stage), bytes(40 * Stage::quick_options().record_bytes, 'x'), digest(sha256_of(bytes)) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 5);
    digest = sha256_of(bytes);
    stage.offer_bytes("library/large", bytes);
  }
  // What goes wrong; "" when nothing does.
  std::string pull(const fs::path& folder) const {
    try {
      ModelStore store(folder);
      stage.pull(store, "library/large");
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
  fs::path file(const fs::path& folder, const char* ending) const {
    return folder / ".ollamax/tmp" / (digest.file_name() + ending);
  }

  Stage& stage;
  std::string bytes;
  Digest digest;
};

constexpr uint64_t kConfigBytes = 512;  // at most

}  // namespace

TEST_CASE("Store_APullCutOffByThePowerGoesOnWhereItWas", "[T-74]") {
  Stage stage;
  const LargeModel model(stage);
  const RegistryOptions options = Stage::quick_options();
  stage.reset();
  start_recording(stage.folder());
  REQUIRE(model.pull(stage.folder()) == "");
  const std::vector<DiskEvent> events = stop_recording();
  // What is on its way to the disk, and a record of each stream.
  const uint64_t lost = 2 * options.sync_bytes + static_cast<uint64_t>(options.n_streams) * options.record_bytes;
  REQUIRE(model.bytes.size() > 3 * lost);
  int part = -1, n_checked = 0;
  uint64_t n_written = 0;
  for (size_t n = 0; n < events.size(); ++n) {
    const DiskEvent& event = events[n];
    if (event.kind == DiskEvent::Kind::kCreate && event.path.ends_with(model.digest.file_name() + ".part")) part = event.file;
    if (event.kind == DiskEvent::Kind::kRename && event.file == part) break;  // all of it has its name now
    if (part < 0 || event.kind != DiskEvent::Kind::kWrite || event.file != part) continue;
    n_written += event.bytes.size();
    if (n_written < lost) continue;
    INFO(n_written << " bytes had come");
    stage.reset();
    fs::remove_all(stage.other_folder());
    write_disk_after(events, n + 1, {}, stage.other_folder());
    CHECK(model.pull(stage.other_folder()) == "");
    CHECK(stage.registry().n_blob_bytes_sent() + n_written <= model.bytes.size() + kConfigBytes + lost);
    CHECK(fsck(stage.other_folder(), {.hashes = true}).n_wrong() == 0);
    ++n_checked;
  }
  CHECK(n_checked > 20);
}

// The kernel says once that it lost what it had to write: after that the bytes can be read, and are not on the disk.
TEST_CASE("Store_ADownloadThatCouldNotBeSyncedIsNotGoneOnWith", "[T-75]") {
  Stage stage;
  const LargeModel model(stage);
  int n_refused = 0;
  for (int n = 1;; ++n) {
    INFO("sync " << n);
    stage.reset();
    arm({.call = Call::kFsync, .n = n, .error = EIO});
    const std::string why = model.pull(stage.folder());
    const bool is_over = !is_met();
    disarm();
    if (is_over) break;
    if (why.empty()) continue;
    INFO(why);
    // A folder or the config that cannot be synced while this blob is hashed says nothing about its bytes: they stay.
    if (why.starts_with("sync " + model.digest.file_name())) {
      ++n_refused;
      const fs::path journal = model.file(stage.folder(), ".journal");
      CHECK((!fs::exists(model.file(stage.folder(), ".part")) || !fs::exists(journal) || fs::is_empty(journal)));
    }
    CHECK(model.pull(stage.folder()) == "");
  }
  CHECK(n_refused > 5);
}

TEST_CASE("Store_ADownloadGivesBackTheRoomThatIsNotEnough", "[T-75]") {
  Stage stage;
  const LargeModel model(stage);
  stage.reset();
  arm({.call = Call::kFallocate, .error = ENOSPC});
  CHECK(model.pull(stage.folder()).find("No space left") != std::string::npos);
  disarm();
  CHECK(fs::is_empty(stage.folder() / ".ollamax/tmp"));
  // What came before stays.
  arm({.call = Call::kRecv, .n = 20, .for_ever = true, .error = ECONNRESET});
  CHECK(model.pull(stage.folder()) != "");
  disarm();
  const uint64_t n_sent = stage.registry().n_blob_bytes_sent();
  REQUIRE(n_sent > 1000);
  arm({.call = Call::kFallocate, .error = ENOSPC});
  CHECK(model.pull(stage.folder()) != "");
  disarm();
  CHECK(fs::file_size(model.file(stage.folder(), ".part")) == model.bytes.size());
  CHECK(model.pull(stage.folder()) == "");
  CHECK(stage.registry().n_blob_bytes_sent() < n_sent + model.bytes.size());
}

TEST_CASE("FileLock_OneWhoseFileIsGoneIsNone", "[T-76]") {
  olx::tests::TempDir temp;
  const fs::path path = temp.path() / "lock";
  std::optional<FileLock> first = FileLock::try_exclusive(path);
  REQUIRE(first);
  // The second has opened the file, and is about to lock it, when the first removes it and lets go.
  arm({.kind = Fault::Kind::kDelay, .call = Call::kFlock, .n = 1, .delay_ms = 300});
  auto waiting = std::async(std::launch::async, [&] { return FileLock::try_exclusive(path, std::chrono::seconds(5)); });
  while (!is_met()) std::this_thread::yield();
  fs::remove(path);
  first.reset();
  const std::optional<FileLock> second = waiting.get();
  disarm();
  REQUIRE(second);
  CHECK_FALSE(FileLock::try_exclusive(path));  // it is the one that others meet
}

TEST_CASE("Store_AModelIsSentFromAStoreThatCannotBeWrittenTo") {
  Stage stage;
  stage.reset();
  arm({.call = Call::kOpen, .error = EROFS});
  ModelStore store(stage.folder());
  disarm();
  REQUIRE_FALSE(store.files().can_write());
  CHECK_NOTHROW(stage.push(store, "library/stale"));
  CHECK(stage.registry().complaint() == "");
  const std::string there = stage.registry().manifest("library/stale/latest");
  CHECK(there == store.files().manifest_text(name(stage.registry().host() + "/library/stale")));
  CHECK_THROWS(store.remove(name("kept")));
  CHECK(store.find(name("kept")));
}
