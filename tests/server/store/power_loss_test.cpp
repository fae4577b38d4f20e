// The store after the power went off, at every moment of every operation, on a disk that kept only
// what was synced, or more.

#include "tests/server/store/store_operations.h"
#include "tests/support/faults/disk_model.h"
#include "tests/support/faults/fault_script.h"

using namespace olx::server;
using namespace olx::server::testing;
using namespace olx::tests::faults;

namespace {

std::vector<DiskEvent> recorded(Stage& stage, const Operation& operation) {
  ModelStore store(stage.reset());
  start_recording(stage.folder());
  operation.run(store);
  mark("done");
  return stop_recording();
}

struct Verdict {
  int n_disks = 0;
  int n_bad = 0;
  std::string first;
};

Verdict after_every_moment(Stage& stage, const Operation& operation) {
  const Outcome normal = outcome(stage, operation);
  const std::vector<DiskEvent> events = recorded(stage, operation);
  std::vector<PowerLoss> losses = {{PowerLoss::Kind::kNothing},
                                   {PowerLoss::Kind::kEverything},
                                   {PowerLoss::Kind::kNamesOnly},
                                   {PowerLoss::Kind::kDataOnly}};
  for (uint32_t seed = 1; seed <= 4; ++seed) losses.push_back({PowerLoss::Kind::kDraw, seed});
  const auto begin = std::find_if(events.begin(), events.end(), [](const DiskEvent& event) {
    return event.kind == DiskEvent::Kind::kMark;
  });
  Verdict verdict;
  for (size_t n = static_cast<size_t>(begin - events.begin()); n <= events.size(); ++n) {
    const bool is_done =
        n > 0 && events[n - 1].kind == DiskEvent::Kind::kMark && events[n - 1].path == "done";
    for (const PowerLoss& loss : losses) {
      std::filesystem::remove_all(stage.other_folder());
      write_disk_after(events, n, loss, stage.other_folder());
      ++verdict.n_disks;
      std::string fault;
      try {
        fault = judge(stage.other_folder(), normal.before, normal.after, is_done);
      } catch (const std::exception& error) {
        fault = error.what();
      }
      if (fault.empty()) continue;
      if (verdict.n_bad++ == 0)
        verdict.first =
            std::to_string(n) + " of " + std::to_string(events.size()) + " events: " + fault;
    }
  }
  return verdict;
}

}  // namespace

TEST_CASE("Store_IsSoundAfterPowerLossAtAnyMoment", "[T-74]") {
  Stage stage;
  int n_disks = 0;
  for (const Operation& operation : stage.operations()) {
    INFO(operation.name);
    const Verdict verdict = after_every_moment(stage, operation);
    n_disks += verdict.n_disks;
    CHECK(verdict.first == "");
    CHECK(verdict.n_bad == 0);
  }
  std::printf("%d disks\n", n_disks);
  CHECK(n_disks > 500);
}

TEST_CASE("Store_AnUploadThatWasReportedDoneSurvivesPowerLoss", "[T-74][T-81]") {
  Stage stage;
  ModelStore store(stage.reset());
  start_recording(stage.folder());
  const Digest digest = upload(store, "uploaded");
  const std::vector<DiskEvent> events = stop_recording();
  std::filesystem::remove_all(stage.other_folder());
  write_disk_after(events, events.size(), {}, stage.other_folder());
  CHECK(read_file(ModelStore(stage.other_folder()).blob_path(digest)) == "uploaded");
}

TEST_CASE("Store_ABlobWhoseNameWasNotSyncedIsSyncedByWhoUsesIt", "[T-74][T-75]") {
  Stage stage;
  const std::string bytes = tiny_gguf(olx::tests::TempDir(), 9);
  int n_left_behind = 0;
  for (int n = 1;; ++n) {
    INFO("sync " << n << " of the upload fails");
    ModelStore store(stage.reset());
    start_recording(stage.folder());
    arm({.call = Call::kFsync, .n = n});
    try {
      upload(store, bytes);
    } catch (const std::system_error&) {  // the client is told; the blob may be there all the same
    }
    const bool is_over = !is_met();
    disarm();
    if (const Digest digest = sha256_of(bytes); store.has_blob(digest)) {
      ++n_left_behind;
      create(store, from_file("made", digest));
      const Listing after = listing(store);
      const std::vector<DiskEvent> events = stop_recording();
      std::filesystem::remove_all(stage.other_folder());
      write_disk_after(events, events.size(), {}, stage.other_folder());
      CHECK(judge(stage.other_folder(), after, after, true) == "");
    }
    if (is_over) break;
  }
  CHECK(n_left_behind >= 2);
}

TEST_CASE("DiskModel_ADiskThatLiesAboutSyncsIsFound") {
  Stage stage;
  lie_about_syncs(true);
  const Verdict verdict = after_every_moment(stage, stage.operations()[0]);
  lie_about_syncs(false);
  CHECK(verdict.n_bad > 0);
}

TEST_CASE("DiskModel_KeepsWhatWasSyncedAndNothingElse") {
  using Kind = DiskEvent::Kind;
  olx::tests::TempDir temp;
  const std::vector<DiskEvent> events = {
      {Kind::kMakeFolder, -1, "a", {}, 0, {}}, {Kind::kSyncFolder, -1, "", {}, 0, {}},
      {Kind::kCreate, 0, "a/x", {}, 0, {}},    {Kind::kWrite, 0, {}, {}, 0, "synced"},
      {Kind::kSyncFile, 0, {}, {}, 0, {}},     {Kind::kWrite, 0, {}, {}, 6, " and more"},
      {Kind::kRename, 0, "a/x", "a/y", 0, {}}, {Kind::kSyncFolder, -1, "a", {}, 0, {}},
      {Kind::kCreate, 1, "a/z", {}, 0, {}},    {Kind::kWrite, 1, {}, {}, 0, "unsynced"},
  };
  write_disk_after(events, events.size(), {}, temp.path() / "nothing");
  CHECK(read_file(temp.file("nothing/a/y")) == "synced");
  CHECK_FALSE(std::filesystem::exists(temp.path() / "nothing/a/x"));
  CHECK_FALSE(std::filesystem::exists(temp.path() / "nothing/a/z"));
  write_disk_after(events, events.size(), {PowerLoss::Kind::kNamesOnly}, temp.path() / "names");
  CHECK(read_file(temp.file("names/a/y")) == "synced");
  CHECK(read_file(temp.file("names/a/z")).empty());
  write_disk_after(events, events.size(), {PowerLoss::Kind::kEverything}, temp.path() / "all");
  CHECK(read_file(temp.file("all/a/y")) == "synced and more");
  write_disk_after(events, 6, {}, temp.path() / "early");  // the file was never named
  CHECK(std::filesystem::is_empty(temp.path() / "early/a"));
}
