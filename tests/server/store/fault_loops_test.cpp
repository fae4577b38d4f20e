// The store under every single fault: killed at each system call, each system call failing once and
// for ever.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <system_error>

#include "server/store/sys.h"
#include "tests/server/store/store_operations.h"
#include "tests/support/faults/fault_script.h"

using namespace olx::server;
using namespace olx::server::testing;
using namespace olx::tests::faults;

namespace {

// Runs the operation in a process of its own with a fault; returns whether it came to its end.
bool survives(const Operation& operation, const std::filesystem::path& folder, const Fault& fault) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    arm(fault);
    try {
      ModelStore store(folder);
      operation.run(store);
    } catch (...) {
      ::_exit(3);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) {
    REQUIRE(WTERMSIG(status) == SIGKILL);
    return false;
  }
  REQUIRE(WEXITSTATUS(status) == 0);
  return true;
}

void kill_at_every(Call call, Fault::Kind kind, int at_least) {
  Stage stage;
  int n_kills = 0;
  for (const Operation& operation : stage.operations()) {
    const Outcome normal = outcome(stage, operation);
    for (int n = first_of(operation);; n += stride_of(operation)) {
      INFO(operation.name << " killed at its " << name_of(call) << " call " << n);
      stage.reset();
      const bool is_done = survives(operation, stage.folder(), {kind, call, n});
      const std::string fault = judge(stage.folder(), normal.before, normal.after, is_done);
      CHECK(fault == "");
      CHECK(stage.registry().complaint() == "");
      if (is_done) break;
      ++n_kills;
      REQUIRE(n < 2000);
    }
  }
  std::printf("%d kills\n", n_kills);
  CHECK(n_kills >= at_least);
}

// Each call of one kind fails in turn, until the operation gets by without meeting the fault. One
// that `must_pass` has to come to its end all the same.
void fail_every(Call call, Fault::Kind kind, int error, bool for_ever, bool must_pass = false) {
  Stage stage;
  const bool is_of_network = call == Call::kConnect || call == Call::kSend || call == Call::kRecv;
  for (const Operation& operation : stage.operations()) {
    if (is_of_network && !operation.uses_network) continue;
    const Outcome normal = outcome(stage, operation);
    const int stride = is_of_network ? 1 : stride_of(operation);
    for (int n = is_of_network ? 1 : first_of(operation);; n += stride) {
      INFO(operation.name << ", " << name_of(call) << " call " << n
                          << (for_ever ? " and all after it: " : ": ") << std::strerror(error));
      stage.reset();
      bool is_reported_done = false;
      std::string why = "it was reported done";
      arm({kind, call, n, for_ever, error});
      try {
        ModelStore store(stage.folder());
        operation.run(store);
        is_reported_done = true;
      } catch (const std::exception& failure) {  // a clear error is all that is asked for
        why = failure.what();
      }
      INFO(why);
      const bool is_over = !is_met();
      disarm();
      CHECK(judge(stage.folder(), normal.before, normal.after, is_reported_done) == "");
      CHECK(stage.registry().complaint() == "");
      if (must_pass) CHECK(is_reported_done);
      if (is_over) {
        CHECK(is_reported_done);
        break;
      }
      REQUIRE(n < 1000);
    }
  }
}

void fail_every(Call call, std::initializer_list<int> errors) {
  for (const int error : errors)
    for (const bool for_ever : {false, true})
      fail_every(call, Fault::Kind::kError, error, for_ever);
}

}  // namespace

TEST_CASE("Store_IsSoundWhateverSystemCallItIsKilledAt", "[T-73]") {
  kill_at_every(Call::kAny, Fault::Kind::kKill, 200);
}
TEST_CASE("Store_IsSoundWhenKilledInTheMiddleOfAWrite", "[T-73]") {
  kill_at_every(Call::kWrite, Fault::Kind::kTornKill, 5);
}

TEST_CASE("Store_APullThatWasKilledGoesOnWhereItWas", "[T-73]") {
  Stage stage;
  const RegistryOptions options = Stage::quick_options();
  const uint64_t n_bytes = 40 * options.record_bytes;
  const Operation pull{"pull", [&](ModelStore& store) { stage.pull(store, "library/large"); },
                       true};
  stage.offer_bytes("library/large", std::string(n_bytes, 'x'));
  int n_kills = 0;
  for (int n = first_of(pull);; n += stride_of(pull)) {
    INFO("killed at call " << n);
    stage.reset();
    if (survives(pull, stage.folder(), {Fault::Kind::kKill, Call::kAny, n})) break;
    ++n_kills;
    ModelStore store(stage.folder());
    pull.run(store);
    CHECK(fsck(stage.folder(), {.hashes = true}).n_wrong() == 0);
    // What was on its way when the process was killed, and the config.
    const uint64_t again = static_cast<uint64_t>(options.n_streams) * options.min_part_bytes + 512;
    CHECK(stage.registry().n_blob_bytes_sent() <= n_bytes + again);
  }
  CHECK(n_kills >= 15);
}

TEST_CASE("Store_IsSoundWhicheverWriteFails", "[T-75]") {
  fail_every(Call::kWrite, {ENOSPC, EIO, EDQUOT});
}
TEST_CASE("Store_IsSoundWhicheverWriteOrReadIsShort", "[T-75]") {
  for (const Call call : {Call::kWrite, Call::kRead})
    for (const bool for_ever : {false, true})
      fail_every(call, Fault::Kind::kShortWrite, 0, for_ever);
}
TEST_CASE("Store_IsSoundWhicheverSyncFails", "[T-75]") { fail_every(Call::kFsync, {EIO, ENOSPC}); }
TEST_CASE("Store_IsSoundWhicheverRenameFails", "[T-75]") {
  fail_every(Call::kRename, {ENOSPC, EROFS});
}
TEST_CASE("Store_IsSoundWhicheverOpenFails", "[T-75]") { fail_every(Call::kOpen, {EMFILE, EROFS}); }
TEST_CASE("Store_IsSoundWhicheverReadFails", "[T-75]") { fail_every(Call::kRead, {EIO}); }
TEST_CASE("Store_IsSoundWhicheverOtherCallFails", "[T-75]") {
  for (const Call call : {Call::kClose, Call::kFchmod, Call::kFstat, Call::kLstat, Call::kStat,
                          Call::kUnlink, Call::kMkdir, Call::kTouch, Call::kListFolder})
    fail_every(call, {EIO});
  for (const Call call : {Call::kLink, Call::kRmdir}) fail_every(call, {EROFS});
}

TEST_CASE("Store_PullAndPushSurviveEverySingleFailureOfTheNetwork", "[T-68]") {
  for (const int error : {ECONNREFUSED, ENETUNREACH})
    fail_every(Call::kConnect, Fault::Kind::kError, error, false, true);
  for (const int error : {EPIPE, ECONNRESET})
    fail_every(Call::kSend, Fault::Kind::kError, error, false, true);
  fail_every(Call::kRecv, Fault::Kind::kError, ECONNRESET, false, true);
  for (const Call call : {Call::kSend, Call::kRecv})
    for (const bool for_ever : {false, true})
      fail_every(call, Fault::Kind::kShortWrite, 0, for_ever, true);
}
TEST_CASE("Store_IsSoundWhenTheNetworkStaysAway", "[T-68]") {
  fail_every(Call::kConnect, Fault::Kind::kError, ECONNREFUSED, true);
  fail_every(Call::kSend, Fault::Kind::kError, EPIPE, true);
  fail_every(Call::kRecv, Fault::Kind::kError, ECONNRESET, true);
}

TEST_CASE("Store_AFileIsCopiedWhereItsBlocksCannotBeShared") {
  for (const int error : {EOPNOTSUPP, EXDEV, ENOTTY})
    fail_every(Call::kClone, Fault::Kind::kError, error, true, true);
}

TEST_CASE("Store_WithoutLocksNothingIsRemoved", "[T-84]") {
  Stage stage;
  stage.reset();
  arm({.call = Call::kFlock, .n = 1, .for_ever = true, .error = ENOLCK});
  ModelStore store(stage.folder());
  const InstalledModel victim = store.find(name("victim")).value();
  store.remove(name("victim"));
  CHECK_FALSE(store.find(name("victim")));
  for (const Layer& layer : victim.manifest.layers) CHECK(store.has_blob(layer.digest));
  CHECK(store.prune() == 0);
  CHECK(store.clean_leftovers() == 0);
  disarm();
  fail_every(Call::kFlock, {ENOLCK});
}

TEST_CASE("Store_OneThatCannotBeWrittenToIsReadAllTheSame", "[T-75]") {
  olx::tests::TempDir temp;
  const std::filesystem::path folder = temp.path() / "models";
  {
    ModelStore store(folder);
    create(store, from_file("m", upload(store, tiny_gguf(temp, 1))));
  }
  const int error = GENERATE(EROFS, EACCES, EPERM);
  const Call call = GENERATE(Call::kMkdir, Call::kOpen);  // a store of Ollama's; one of our own, mounted for reading
  CAPTURE(error, name_of(call));
  if (call == Call::kMkdir) std::filesystem::remove_all(folder / ".ollamax");
  arm({.call = call, .n = 1, .for_ever = call == Call::kMkdir, .error = error});
  ModelStore store(folder);
  CHECK(is_met());
  CHECK_FALSE(store.files().can_write());
  CHECK(store.list().size() == 1);
  CHECK_FALSE(store.contents(name("m")).gguf_path.empty());
  CHECK(store.prune() == 0);
  CHECK(store.clean_leftovers() == 0);
  store.files().end();
  for (const auto& write : std::vector<std::function<void()>>{[&] { store.copy(name("m"), name("n")); }, [&] { store.new_blob(); },
                                                              [&] { store.files().lease({}); }, [&] { store.remove(name("m")); }}) {
    const std::string advice = error == EROFS ? "mount its disk for writing, or set OLLAMA_MODELS to a folder elsewhere"
                                              : "run as the user it belongs to, or set OLLAMA_MODELS to a folder of your own";
    CHECK_THROWS_WITH(write(), "the model store cannot be written to (" + advice + "): " + std::generic_category().message(error));
  }
  CHECK(store.list().size() == 1);
  disarm();
  CHECK(ModelStore(folder).files().can_write());
}

TEST_CASE("Store_OneThatIsNotThereAndCannotBeMadeIsAnError", "[T-75]") {
  olx::tests::TempDir temp;
  arm({.call = Call::kMkdir, .n = 1, .for_ever = true, .error = EACCES});
  const std::string folder = temp.path() / "models";
  CHECK_THROWS_WITH(ModelStore(folder), "the models folder " + folder + " cannot be used (OLLAMA_MODELS names another one): Permission denied");
  disarm();
}

TEST_CASE("Store_AFileThatTheDiskSharesNeedsNoRoom", "[T-75]") {
  olx::tests::TempDir temp;
  ModelStore models(temp.path() / "models");
  Store& store = models.files();
  store.set_spare_bytes(UINT64_MAX);
  const std::string bytes = "a local file";
  std::ofstream(temp.path() / "local.gguf", std::ios::binary) << bytes;
  arm({.call = Call::kClone, .n = 1, .for_ever = true, .error = EOPNOTSUPP});
  CHECK_THROWS_AS(store.import_file(temp.path() / "local.gguf"), StoreError);
  CHECK(std::filesystem::is_empty(temp.path() / "models/.ollamax/tmp"));
  disarm();
  CHECK(store.import_file(temp.path() / "local.gguf") == sha256_of(bytes));
  CHECK(store.read_blob(sha256_of(bytes), 100) == bytes);
}

TEST_CASE("Store_AWriteThatLiesIsFoundBeforeTheBlobIsPublished", "[T-75]") {
  // The number of bytes is right, the bytes are not: only reading them back can tell.
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  BlobWriter blob = store.new_blob();
  blob.write("what was meant");
  for (const auto& entry : std::filesystem::directory_iterator(temp.path() / ".ollamax/tmp"))
    std::ofstream(entry.path()) << "what there is.";
  const Digest meant = sha256_of("what was meant");
  CHECK(blob.commit(meant) != meant);
  CHECK_FALSE(store.has_blob(meant));
}

TEST_CASE("FaultScript_SocketsFailTooAndOnlyAsOftenAsTold") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  arm({.call = Call::kSend, .n = 2, .error = ECONNRESET});
  CHECK(sys::send(ends[0], "abcd", 4, 0) == 4);
  CHECK(sys::send(ends[0], "efgh", 4, 0) == -1);
  CHECK(errno == ECONNRESET);
  CHECK(sys::send(ends[0], "efgh", 4, 0) == 4);
  CHECK(n_calls() == 3);
  char bytes[8];
  arm({.kind = Fault::Kind::kShortWrite, .call = Call::kRecv, .n = 1, .for_ever = true});
  CHECK(sys::recv(ends[1], bytes, 8, 0) == 4);
  disarm();
  CHECK(sys::recv(ends[1], bytes, 8, 0) == 4);
  sys::close(ends[0]);
  sys::close(ends[1]);
}
