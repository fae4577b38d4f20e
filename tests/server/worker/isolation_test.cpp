// What a worker costs when it dies, and what it can do while it lives.
#include <dlfcn.h>
#include <sys/wait.h>

#include <atomic>
#include <map>
#include <random>
#include <set>

#include "tests/server/worker/worker_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::tests;
namespace json = boost::json;

namespace {

pid_t only_worker() {
  const std::vector<pid_t> found = children();
  REQUIRE(found.size() == 1);
  return found[0];
}

std::string error_of(const json::object& record) {
  const json::value* error = record.if_contains("error");
  return error ? std::string(error->as_string()) : "";
}

bool is_death(const std::string& error) {
  return error.find("model runner has unexpectedly stopped") != std::string::npos;
}

// Requests whose first token there has been.
int n_first_tokens(WorkerFixture& fixture) {
  const std::string metrics = fixture.server.get("/metrics").body, name = "\nollamax_time_to_first_token_seconds_count ";
  const size_t at = metrics.find(name);
  return at == std::string::npos ? -1 : std::stoi(metrics.substr(at + name.size()));
}

// "attempt NAME RESULT" lines as a map.
std::map<std::string, std::string> attempts_in(const std::string& text) {
  std::map<std::string, std::string> results;
  std::istringstream in(text);
  for (std::string word; in >> word;)
    if (word == "attempt") {
      std::string name;
      in >> name;
      in >> results[name];
    }
  return results;
}

}  // namespace

TEST_CASE("Worker_RunsAModelAsTheServerWould") {
  WorkerFixture isolated;
  REQUIRE(isolated.server.create_tiny("m").status == 200);
  CHECK(children().empty());
  ::unsetenv("OLLAMAX_KERNELS");  // the kernels of both are the same
  const HttpAnswer answer = isolated.generate("Hello", false, 20);
  REQUIRE(answer.status == 200);
  CHECK(children().size() == 1);
  ServerFixture together(1, 256);
  REQUIRE(together.create_tiny("m").status == 200);
  const HttpAnswer same = together.post("/api/generate", WorkerFixture::body("Hello", false, 20));
  CHECK(object_in(answer).at("response") == object_in(same).at("response"));
  const auto facts = [](const HttpAnswer& ps) {
    json::object model = object_in(ps).at("models").as_array().at(0).as_object();
    model.erase("expires_at");
    return json::serialize(model);
  };
  CHECK(facts(isolated.server.get("/api/ps")) == facts(together.get("/api/ps")));
  const auto vectors = [](const HttpAnswer& embedded) {
    return json::serialize(object_in(embedded).at("embeddings"));
  };
  const char* embed = R"({"model":"m","input":["a b","c"]})";
  CHECK(vectors(isolated.server.post("/api/embed", embed)).size() > 20);
  CHECK(object_in(isolated.server.post("/api/embed", embed)).at("embeddings").as_array().size() ==
        2);
  CHECK(isolated.server
            .post("/api/embed",
                  R"({"model":"m","input":")" + std::string(300, 'x') + R"(","truncate":false})")
            .status == 400);
  // Unloading ends the process.
  CHECK(isolated.server.post("/api/generate", R"({"model":"m","keep_alive":0})").status == 200);
  CHECK(comes_true([] { return children().empty(); }));
}

TEST_CASE("Worker_ACrashCostsItsRequestsAndNothingElse", "[T-94]") {
  struct Row {
    Misdeed misdeed;
    const char* says;
  };
  const Row rows[] = {{Misdeed::kSegfault, "signal 11 (Segmentation fault)"},
                      {Misdeed::kAbort, "signal 6 (Aborted)"},
                      {Misdeed::kExit, "exit code 3"}};
  const CapturedErrors errors;
  WorkerFixture fixture(4);
  REQUIRE(fixture.server.create_tiny("m").status == 200);
  for (const Row& row : rows) {
    CAPTURE(row.says);
    REQUIRE(fixture.generate("warm").status == 200);
    const pid_t before = only_worker();
    // Others are in flight: a stream that has begun, and one that waits for its end.
    const int n_begun = n_first_tokens(fixture);
    std::vector<HttpAnswer> answers(3);
    std::vector<std::thread> clients;
    for (size_t i = 0; i < 2; ++i)
      clients.emplace_back([&, i] { answers[i] = fixture.generate("Hello", i == 0, 200'000); });
    REQUIRE(comes_true([&] { return n_first_tokens(fixture) == n_begun + 2; }));
    answers[2] = fixture.generate(WorkerFixture::prompt(row.misdeed));
    for (std::thread& client : clients) client.join();
    // A stream that has begun ends with an error line, as Ollama's does; the others are refused.
    REQUIRE(answers[0].status == 200);
    const std::string line = error_of(lines_in(answers[0]).back());
    CHECK(line.starts_with(
        "an error was encountered while running the model: model runner has unexpectedly stopped"));
    CAPTURE(line);
    CHECK(line.find(row.says) != std::string::npos);
    for (size_t i = 1; i < 3; ++i) {
      CHECK(answers[i].status == 500);
      CHECK(is_death(error_of(object_in(answers[i]))));
      CHECK(error_of(object_in(answers[i])).find(row.says) != std::string::npos);
    }
    CHECK(errors.has(row.says));
    CHECK(object_in(fixture.server.get("/api/ps")).at("models").as_array().empty());
    // The next request has a new worker.
    CHECK(fixture.generate("again").status == 200);
    CHECK(only_worker() != before);
  }
  CHECK(!errors.has("Hello"));  // no text of a request is logged
}

TEST_CASE("Worker_OneThatNeverReturnsIsEnded", "[T-91]") {
  const CapturedErrors errors;
  WorkerFixture fixture(1, 1500);
  REQUIRE(fixture.server.create_tiny("m").status == 200);
  REQUIRE(fixture.generate("warm").status == 200);
  const pid_t before = only_worker();
  // Idle is not hanging.
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  CHECK(only_worker() == before);
  const HttpAnswer answer = fixture.generate(WorkerFixture::prompt(Misdeed::kHang));
  CHECK(answer.status == 500);
  CHECK(error_of(object_in(answer)).find("it made no progress for 1.5 s") != std::string::npos);
  CHECK(fixture.generate("again").status == 200);
  CHECK(only_worker() != before);
  // A stopped one too, in whatever it was.
  ::kill(only_worker(), SIGSTOP);
  CHECK(fixture.generate("again").status == 500);
  CHECK(fixture.generate("again").status == 200);
}

TEST_CASE("Worker_CanDoNothingButCompute", "[T-94][T-96]") {
  // What is refused below must be possible where nobody forbids it.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t free_child = ::fork();
  if (free_child == 0) {
    ::dup2(ends[1], 2);
    void* plugin = ::dlopen(OLLAMAX_TEST_PLUGIN, RTLD_NOW);
    if (plugin != nullptr)
      reinterpret_cast<void (*)()>(::dlsym(plugin, "ollamax_try_everything"))();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = ::read(ends[0], piece, sizeof piece)) > 0;)
    text.append(piece, static_cast<size_t>(n));
  ::close(ends[0]);
  ::waitpid(free_child, nullptr, 0);
  std::filesystem::remove("/tmp/ollamax-worker-was-here");
  std::filesystem::remove("/tmp/ollamax-worker-folder");
  std::map<std::string, std::string> free_attempts = attempts_in(text);
  for (const char* name :
       {"read-a-file", "read-the-program", "read-own-memory-map", "write-a-file", "list-a-folder",
        "make-a-folder", "make-an-internet-socket", "make-a-local-socket", "make-a-socket-pair",
        "make-a-process", "run-a-program", "signal-the-server", "make-memory-that-runs",
        "become-dumpable", "take-64-gib"}) {
    CAPTURE(name);
    CHECK(free_attempts[name] == "succeeded");
  }

  const CapturedErrors errors;
  WorkerFixture fixture;
  REQUIRE(fixture.server.create_tiny("m").status == 200);
  std::ofstream("/tmp/ollamax-worker-may-not-remove-this").close();
  REQUIRE(fixture.generate(WorkerFixture::prompt(Misdeed::kTryEverything)).status == 200);
  REQUIRE(comes_true([&] { return errors.has("attempt replace-itself refused"); }));
  const std::map<std::string, std::string> attempts = attempts_in(errors.text());
  CHECK(attempts.size() >= 28);
  for (const auto& [name, result] : attempts) {
    CAPTURE(name);
    CHECK(result == "refused");
  }
  CHECK(!std::filesystem::exists("/tmp/ollamax-worker-was-here"));
  CHECK(std::filesystem::remove("/tmp/ollamax-worker-may-not-remove-this"));

  // And as the kernel sees it.
  const pid_t worker = only_worker();
  CHECK(status_of(worker, "NoNewPrivs") == "1");
  CHECK(status_of(worker, "Seccomp") == "2");
  CHECK(status_of(worker, "CapEff") == "0000000000000000");
  CHECK(status_of(worker, "CapPrm") == "0000000000000000");
  const std::string limits = file_bytes("/proc/" + std::to_string(worker) + "/limits");
  CHECK(limits.find("Max core file size        0                    0 ") != std::string::npos);
  CHECK(file_bytes("/proc/" + std::to_string(worker) + "/oom_score_adj") == "500\n");
  if (::geteuid() != 0) return;  // what follows is only shown to root
  CHECK(file_bytes("/proc/" + std::to_string(worker) + "/environ").find("secret") ==
        std::string::npos);
  std::set<std::string> open;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/fd"))
    open.insert(entry.path().filename().string() + " " +
                std::filesystem::read_symlink(entry.path()).string().substr(0, 7));
  // Loaded, it holds no file any more.
  CHECK(open.size() == 4);
  CHECK(open.contains("0 /dev/nu"));
  CHECK(open.contains("1 /dev/nu"));
  CHECK(open.contains("3 socket:"));
}

TEST_CASE("Worker_KilledAHundredTimesUnderLoadLosesOnlyItsRequests", "[T-94][T-95]") {
  const CapturedErrors errors;
  WorkerFixture fixture(4);
  REQUIRE(fixture.server.create_tiny("m").status == 200);
  REQUIRE(fixture.generate("warm").status == 200);
  const auto unload = [&] {
    fixture.server.post("/api/generate", R"({"model":"m","keep_alive":0})");
    return comes_true([] { return children().empty(); });
  };
  REQUIRE(unload());
  const auto n_threads = [] { return std::stol(status_of(::getpid(), "Threads")); };
  const auto resident_kib = [] { return std::stol(status_of(::getpid(), "VmRSS")); };
  const size_t n_open_before = n_descriptors();
  const long n_threads_before = n_threads(), resident_before = resident_kib();

  std::atomic<bool> is_over{false};
  std::atomic<int> n_whole{0}, n_lost{0}, n_other{0}, n_wrong{0}, n_pings{0};
  std::vector<std::thread> threads;
  for (int client = 0; client < 6; ++client)
    threads.emplace_back([&, client] {
      std::mt19937 dice(static_cast<unsigned>(client));
      while (!is_over) {
        const bool is_streaming = dice() % 2 == 0;
        const int n_predict = static_cast<int>(dice() % 200) + 1;
        const HttpAnswer answer =
            client == 5
                ? fixture.server.post("/api/embed", R"({"model":"m","input":["one","two"]})")
                : fixture.generate("Hello", is_streaming, n_predict);
        std::string error;
        if (answer.status == 200 && client != 5) {
          const std::vector<json::object> records = lines_in(answer);
          error = records.empty() ? "no line at all" : error_of(records.back());
          if (error.empty() && !records.back().at("done").as_bool()) error = "no last record";
        } else if (answer.status != 200) {
          error = answer.status == 500 ? error_of(object_in(answer))
                                       : "status " + std::to_string(answer.status);
        }
        if (error.empty())
          ++n_whole;
        else if (is_death(error))
          ++n_lost;
        else
          ++n_wrong;
      }
    });
  threads.emplace_back([&] {
    while (!is_over) {
      if (fixture.server.get("/api/tags").status == 200 &&
          fixture.server.get("/api/ps").status == 200 &&
          fixture.server.get("/metrics").status == 200)
        ++n_pings;
      else
        ++n_other;
    }
  });
  std::mt19937 dice(42);
  const int signals[] = {SIGKILL, SIGKILL, SIGABRT, SIGSEGV, SIGBUS, SIGILL};
  int n_killed = 0;
  while (n_killed < 100) {
    std::this_thread::sleep_for(std::chrono::microseconds(dice() % 60'000));
    for (const pid_t worker : children())
      if (status_of(worker, "State").substr(0, 1) != "Z" &&
          ::kill(worker, signals[dice() % 6]) == 0)
        ++n_killed;
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  UNSCOPED_INFO("whole " << n_whole << ", lost " << n_lost << ", pings " << n_pings);
  CHECK(n_wrong == 0);
  CHECK(n_other == 0);
  CHECK(n_lost > 0);
  CHECK(n_pings > 0);
  CHECK(fixture.generate("again").status == 200);
  REQUIRE(unload());  // no zombie either
  // Connections and the threads of their requests end a moment after their answers.
  CHECK(comes_true([&] { return n_descriptors() <= n_open_before; }));
  CHECK(comes_true([&] { return n_threads() <= n_threads_before; }));
  CHECK(resident_kib() - resident_before < 32 << 10);
}
