// The model store beside other programs and after accidents: files Ollama wrote, damage, kill -9, several writers.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>

#include "server/store/fsck.h"
#include "tests/server/store/store_support.h"
#include "tests/support/catch.h"

using namespace olx::server;
using namespace olx::server::testing;
using olx::engine::Value;
using olx::engine::ValueList;
namespace fs = std::filesystem;

namespace {

void write_file(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
}

// A models folder made by hand, as Ollama leaves one.
class ForeignStore {
 public:
  explicit ForeignStore(fs::path folder) : folder_(std::move(folder)) {}

  std::string layer(std::string_view media_type, std::string_view bytes) {
    const Digest digest = sha256_of(bytes);
    write_file(folder_ / "blobs" / digest.file_name(), bytes);
    return "{\"mediaType\":\"" + std::string(media_type) + "\",\"digest\":\"" + digest.text() +
           "\",\"size\":" + std::to_string(bytes.size()) + "}";
  }
  void manifest(const std::string& path, std::string_view bytes) { write_file(folder_ / "manifests" / path, bytes); }

 private:
  fs::path folder_;
};

const std::string kConfigJson =
    R"({"model_format":"gguf","model_family":"llama","model_families":null,"model_type":"7.2B","file_type":"Q4_0",)"
    R"("architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:x"]},"unknown":[1]})";

// Every listed model can be read in full, and every blob is what its name says.
void require_sound(const ModelStore& store) {
  for (const auto& entry : fs::directory_iterator(store.folder() / "blobs")) {
    const auto digest = Digest::parse(entry.path().filename().string());
    REQUIRE(digest);
    REQUIRE(sha256_of_file(entry.path()) == *digest);
  }
  for (const InstalledModel& model : store.list()) REQUIRE_NOTHROW(store.contents(model));
}

void kill_and_wait(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace

TEST_CASE("ModelStore_ReadsAStoreThatOllamaWrote", "[T-82]") {
  olx::tests::TempDir temp;
  ForeignStore foreign(temp.path());
  // As pulled from a registry: pretty-printed, keys in another order, a layer type from the future, params with one stop text.
  foreign.manifest("registry.ollama.ai/library/mistral/7b",
                   "{\n  \"layers\": [\n" + foreign.layer(media_type::kModel, "GGUF weights") + ",\n" +
                       foreign.layer(media_type::kTemplate, "[INST] {{ .Prompt }} [/INST]") + ",\n" +
                       foreign.layer(media_type::kParams, R"({ "stop": "[INST]", "temperature": 1, "top_p": 0.95 })") + "," +
                       foreign.layer("application/vnd.ollama.image.future", "?") + "," +
                       foreign.layer(media_type::kMessages, R"([{"role":"user","content":"hi","images":["aGk="]}])") + "," +
                       foreign.layer(media_type::kLicense, "MIT") + "],\n \"annotations\": {},\n\"config\":" +
                       foreign.layer(media_type::kConfig, kConfigJson) +
                       ",\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"schemaVersion\":2}");
  // What else lies about in such folders.
  write_file(temp.path() / "blobs/sha256-00-partial-3", "{}");
  write_file(temp.path() / "manifests/.DS_Store", "x");
  write_file(temp.path() / "manifests/registry.ollama.ai/library/.DS_Store", "x");

  const FsckReport report = fsck(temp.path(), {.hashes = true});
  CHECK(report.n_models == 1);
  for (const FsckFinding& finding : report.findings) CHECK_FALSE(finding.is_wrong);
  CHECK_FALSE(fs::exists(temp.path() / ".ollamax"));  // looking left nothing
  ModelStore store(temp.path());
  REQUIRE(store.list().size() == 1);
  const InstalledModel model = store.list()[0];
  CHECK(model.name.shortest() == "mistral:7b");
  CHECK(model.details.quantization_level == "Q4_0");
  CHECK(model.details.parameter_size == "7.2B");
  CHECK(model.details.families.empty());
  const ModelContents contents = store.contents(model);
  CHECK(contents.template_text == "[INST] {{ .Prompt }} [/INST]");
  CHECK(contents.parameters == Parameters{{"stop", Value(ValueList{"[INST]"})}, {"temperature", Value(1)}, {"top_p", Value(0.95)}});
  CHECK(*contents.messages[0].find("content") == Value("hi"));
  CHECK(contents.licenses == std::vector<std::string>{"MIT"});

  // A copy has the same bytes, so the same id; a model made from it keeps layers this program does not know.
  store.copy(model.name, name("mine"));
  CHECK(store.find(name("mine"))->digest == model.digest);
  CreateRequest request = from_file("child", sha256_of("unused"));
  request.from = name("mine");
  create(store, request);
  CHECK(store.find(name("child"))->manifest.find("application/vnd.ollama.image.future") != nullptr);
}

TEST_CASE("ModelStore_NamesDamageAndGoesOn", "[T-63][T-80]") {
  olx::tests::TempDir temp;
  ForeignStore foreign(temp.path());
  const std::string config = foreign.layer(media_type::kConfig, kConfigJson);
  const auto with_layers = [&](const std::string& layers) { return "{\"config\":" + config + ",\"layers\":[" + layers + "]}"; };
  foreign.manifest("registry.ollama.ai/library/good/latest", with_layers(foreign.layer(media_type::kModel, "w")));
  const std::string absent = "\"digest\":\"" + sha256_of("absent").text() + "\"";
  std::string many_layers = foreign.layer(media_type::kLicense, "l");
  for (int i = 0; i < 4096; ++i) many_layers += "," + foreign.layer(media_type::kLicense, "l");
  const std::vector<std::string> damages = {
      "", "{", "[]", "null", "\xff\xfe", std::string(100'000, '['), std::string("\0\0\0", 3), "{\"config\":null}",
      std::string((4 << 20) + 1, ' '),
      with_layers("{\"mediaType\":\"x\",\"digest\":\"\",\"size\":1}"),
      with_layers("{\"mediaType\":\"x\",\"digest\":\"sha256:../../../../../../../../etc/passwd\",\"size\":1}"),
      with_layers("{\"mediaType\":\"x\"," + absent + ",\"size\":-1}"),
      with_layers("{\"mediaType\":\"x\"," + absent + ",\"size\":1e999}"),
      with_layers("{\"mediaType\":\"x\"," + absent + ",\"size\":18446744073709551615}"),
      with_layers("7"), with_layers(many_layers),
      with_layers("{\"mediaType\":\"" + std::string(media_type::kModel) + "\"," + absent + ",\"size\":6}"),
      with_layers(foreign.layer(media_type::kParams, "[1]")), with_layers(foreign.layer(media_type::kParams, "{")),
      with_layers(foreign.layer(media_type::kMessages, "[1]")), with_layers(foreign.layer(media_type::kMessages, R"([{"role":1}])")),
      with_layers(foreign.layer(media_type::kParams, "{\"a\":\"" + std::string(64 << 10, 'x') + "\"}")),
      with_layers(foreign.layer(media_type::kTemplate, std::string((256 << 10) + 1, 'x'))),
      "{\"config\":" + foreign.layer(media_type::kConfig, "{\"model_format\":7}") + "}",
      "{\"config\":" + foreign.layer(media_type::kConfig, "not json") + "}",
      "{\"config\":{\"mediaType\":\"x\"," + absent + ",\"size\":6}}",
  };
  ModelStore store(temp.path());
  for (size_t i = 0; i < damages.size(); ++i) {
    INFO("damage " << i);
    foreign.manifest("registry.ollama.ai/library/bad/latest", damages[i]);
    CHECK_THROWS(store.contents(name("bad")));
    CHECK(store.list().size() >= 1);
    CHECK(store.contents(name("good")).gguf_path == store.blob_path(sha256_of("w")));
  }
  // A blob of another length than the manifest says.
  foreign.manifest("registry.ollama.ai/library/bad/latest", with_layers(foreign.layer(media_type::kModel, "cut short")));
  write_file(store.blob_path(sha256_of("cut short")), "cut");
  CHECK(kind_of([&] { store.contents(name("bad")); }) == StoreError::Kind::kDamaged);

  // While it is unreadable no blob is deleted; but it can be replaced, and removed.
  foreign.manifest("registry.ollama.ai/library/bad/latest", "{");
  store.remove(name("good"));
  CHECK(store.has_blob(sha256_of("w")));
  create(store, from_file("bad", upload(store, tiny_gguf(temp, 1))));
  CHECK(store.contents(name("bad")).config.model_family == "llama");
  foreign.manifest("registry.ollama.ai/library/bad/latest", "{");
  store.remove(name("bad"));
  CHECK(store.list().empty());
}

TEST_CASE("ModelStore_KeepsEveryModelWhereverACreateIsKilled", "[T-73]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const Digest weights = upload(store, tiny_gguf(temp, 1));
  CreateRequest request = from_file("kept", weights);
  request.system = "the first";
  create(store, request);
  std::mt19937 random(11);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int i = 0;; ++i) {
        const std::string bytes = tiny_gguf(temp, 2 + static_cast<uint32_t>(i % 5));
        CreateRequest mine = from_file(i % 3 == 0 ? "kept" : "other", upload(store, bytes));
        mine.system = std::to_string(round) + "-" + std::to_string(i) + std::string(20'000, 'x');
        mine.parameters = {{"seed", Value(i)}};
        create(store, mine);
        if (i % 7 == 6) store.remove(name("other"));
      }
    }
    ::usleep(random() % 15'000);
    kill_and_wait(child);
    require_sound(store);
    REQUIRE(store.find(name("kept")));
  }
  request.system = "usable";
  request.files = {{"tiny.gguf", upload(store, tiny_gguf(temp, 1)).text()}};
  create(store, request);
  CHECK(store.contents(name("kept")).system == "usable");
}

TEST_CASE("ModelStore_SeveralProcessesAndThreadsShareOneFolder", "[T-76]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const std::string shared = tiny_gguf(temp, 1);
  create(store, from_file("anchor", upload(store, shared)));
  std::vector<pid_t> children;
  for (int process = 0; process < 3; ++process) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int n_failed = 0;
      ModelStore mine(temp.path());
      for (int i = 0; i < 40; ++i) {
        try {
          // All write the same model, and one of their own that shares its weights.
          CreateRequest request = from_file("same", sha256_of(shared));
          request.system = std::to_string(process) + "-" + std::to_string(i);
          create(mine, request);
          request.name = name("own" + std::to_string(process));
          request.from = name("anchor");
          create(mine, request);
          if (mine.contents(request.name).system != request.system) ++n_failed;
          mine.remove(request.name);
          mine.list();
          // As another server does at its start, and fsck in between.
          if (i % 10 == 9) mine.clean_leftovers(), mine.prune();
          if (i % 10 == 4 && fsck(temp.path(), {.hashes = true}).n_wrong() > 0) ++n_failed;
        } catch (const std::exception& error) {
          std::fprintf(stderr, "process %d: %s\n", process, error.what());
          ++n_failed;
        }
      }
      ::_exit(n_failed == 0 ? 0 : 1);
    }
    children.push_back(child);
  }
  std::thread reader([&] {
    for (int i = 0; i < 100; ++i) store.list();
  });
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  reader.join();
  require_sound(store);
  CHECK(fsck(temp.path(), {.hashes = true}).n_wrong() == 0);
  CHECK(store.list().size() == 2);
  CHECK(store.has_blob(sha256_of(shared)));
}
