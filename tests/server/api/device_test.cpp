// Models on a device through the whole server: how many layers, what ps says, and faults. The
// device is the tests' own driver, opened in the place of NVIDIA's.

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "kernels/api/backend.h"
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

#ifdef OLLAMAX_TEST_DRIVER

namespace olx::server {
namespace {

namespace json = boost::json;

// A server whose models run on the fake device unless a request says otherwise.
struct DeviceServer {
  tests::TempDir dir;
  std::string script = dir.file("fake");
  mutable std::optional<tests::ServerFixture> server;

  explicit DeviceServer(const std::string& device = "cuda", const char* n_devices = "1") {
    ::setenv("CUDA_FAKE_DEVICES", n_devices, 1);
    ::setenv("OLLAMAX_CUDA_DRIVER", OLLAMAX_TEST_DRIVER, 1);
    ::setenv("CUDA_FAKE", script.c_str(), 1);
    server.emplace(1, 64, [&](ServerOptions& options) {
      options.device = device;
      options.kv_cache_type = "f32";  // so that the two kinds of kernels differ by rounding alone
    });
    REQUIRE(server->create_tiny("m").status == 200);
  }
  ~DeviceServer() {
    server.reset();
    ::unsetenv("OLLAMAX_CUDA_DRIVER");
    ::unsetenv("CUDA_FAKE");
    ::unsetenv("CUDA_FAKE_DEVICES");
  }

  void next_call(const std::string& what) const { std::ofstream(script) << what; }
  bool was_called() const { return !std::ifstream(script).good(); }
  std::string held_bytes() const {
    std::string text;
    std::ifstream(script + ".bytes") >> text;
    return text;
  }
  bool is_held_by(int device) const {
    size_t n_bytes[3] = {};
    std::ifstream file(script + ".bytes");
    file >> n_bytes[0] >> n_bytes[1] >> n_bytes[2];
    return n_bytes[1 + device] > 0;
  }
  tests::HttpAnswer generate(const std::string& options = "") const {
    return server->post(
        "/api/generate",
        R"({"model":"m","prompt":"Hello","stream":false,"options":{"temperature":0,)"
        R"("num_predict":12)" +
            options + "}}");
  }
  std::string text(const std::string& options = "") const {
    const tests::HttpAnswer answer = generate(options);
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    return std::string(json::parse(answer.body).at("response").as_string());
  }
  json::object loaded() const {
    const json::value answer = json::parse(server->get("/api/ps").body);
    REQUIRE(answer.at("models").as_array().size() == 1);
    return answer.at("models").as_array()[0].as_object();
  }
  void unload() const {
    server->post("/api/generate", R"({"model":"m","keep_alive":0})");
    REQUIRE(json::parse(server->get("/api/ps").body).at("models").as_array().empty());
  }
};

bool has_kernels() {
  const char* why = kernels::find_backend("cuda")->unavailable_reason;
  if (why != nullptr) std::printf("SKIPPED: %s\n", why);
  return why == nullptr;
}

}  // namespace

TEST_CASE("Device_NumGpuLayersRunOnItAndPsShowsTheShare") {
  if (!has_kernels()) return;
  const DeviceServer server;
  const std::string expected = server.text(R"(,"num_gpu":0)");
  json::object model = server.loaded();
  CHECK(model.at("size_vram").to_number<int64_t>() == 0);
  CHECK(server.held_bytes() == "");  // nothing was ever asked of the device
  constexpr int kAll = 4;            // three layers and the logits
  int64_t before = 0;
  for (int n = 1; n <= kAll; ++n) {
    INFO(n);
    CHECK(server.text(",\"num_gpu\":" + std::to_string(n)) == expected);
    model = server.loaded();
    const auto size = model.at("size").to_number<int64_t>(),
               vram = model.at("size_vram").to_number<int64_t>();
    CHECK(vram > before);
    CHECK((vram == size) == (n == kAll));
    before = vram;
  }
  // One that asks for no number takes what is loaded; alone it gets all.
  CHECK(server.text(R"(,"num_gpu":2)") == expected);
  const auto vram = server.loaded().at("size_vram");
  CHECK(server.text() == expected);
  CHECK(server.loaded().at("size_vram") == vram);
  server.unload();
  CHECK(server.text() == expected);
  CHECK(server.loaded().at("size_vram") == server.loaded().at("size"));
  CHECK(server.text(R"(,"num_gpu":999)") == expected);
}

TEST_CASE("Device_AutoTakesTheFirstAccelerator") {
  if (!has_kernels()) return;
  const DeviceServer server("auto");
  const std::string expected = server.text(R"(,"num_gpu":0)");
  server.unload();
  CHECK(server.text() == expected);
  CHECK(server.loaded().at("size_vram") == server.loaded().at("size"));
}

TEST_CASE("Device_MainGpuNamesOneOfSeveral") {
  if (!has_kernels()) return;
  const DeviceServer server("cuda", "2");
  const std::string expected = server.text(R"(,"num_gpu":0)");
  CHECK(server.text(R"(,"main_gpu":1)") == expected);
  CHECK((server.is_held_by(1) && !server.is_held_by(0)));
  CHECK(server.text() == expected);  // takes what is loaded
  CHECK((server.is_held_by(1) && !server.is_held_by(0)));
  CHECK(server.text(R"(,"main_gpu":0)") == expected);
  CHECK(server.is_held_by(0));
  CHECK(server.loaded().at("size_vram") == server.loaded().at("size"));
  CHECK(server.text(R"(,"main_gpu":7)") == expected);  // there is none: as if it were not said
  CHECK(server.loaded().at("size_vram") == server.loaded().at("size"));
  CHECK(server.text(R"(,"num_gpu":0,"main_gpu":1)") == expected);
  CHECK(server.loaded().at("size_vram") == 0);
  CHECK(server.generate(R"(,"main_gpu":"a")").body ==
        R"({"error":"option \"main_gpu\" must be of type integer"})");
}

TEST_CASE("Device_OneThatCannotBeOpenedLeavesTheOthers") {
  if (!has_kernels()) return;
  const DeviceServer server("cuda", "2");
  const std::string expected = server.text(R"(,"num_gpu":0)");
  server.next_call("open");
  CHECK(server.text(R"(,"num_gpu":4)") == expected);
  CHECK(server.was_called());
  CHECK((!server.is_held_by(0) && server.is_held_by(1)));
  CHECK(server.loaded().at("size_vram") == server.loaded().at("size"));
}

TEST_CASE("Device_AFaultIsTheErrorOfItsRequestAndOfNoOther", "[T-90]") {
  if (!has_kernels()) return;
  const DeviceServer server;
  const std::string expected = server.text(R"(,"num_gpu":0)");
  for (const int n : {2, 4}) {
    const std::string layers = ",\"num_gpu\":" + std::to_string(n);
    CHECK(server.text(layers) == expected);
    const std::string held = server.held_bytes();
    for (const std::string fault : {"launch", "lost", "launch", "lost"}) {
      INFO(n << " layers: " << fault);
      server.next_call(fault);
      const tests::HttpAnswer answer = server.generate(layers);
      CHECK(answer.status == 500);
      if (fault == "lost")
        CHECK_THAT(answer.body, Catch::Contains("cuda: cuStreamSynchronize"));
      else
        CHECK_THAT(answer.body, Catch::Contains("cuda: cuLaunchKernel") ||
                                    Catch::Contains("cuda: cuGraphLaunch"));
      CHECK(server.was_called());
      CHECK(server.server->get("/api/tags").status == 200);
      CHECK(server.text(layers) == expected);
      CHECK(server.held_bytes() == held);
    }
  }
}

TEST_CASE("Device_WithoutMemoryFewerLayersRunOnIt", "[T-89]") {
  if (!has_kernels()) return;
  const DeviceServer server;
  const std::string expected = server.text(R"(,"num_gpu":0)");
  server.unload();
  server.next_call("allocate");
  CHECK(server.text() == expected);
  CHECK(server.was_called());
  const json::object model = server.loaded();
  CHECK(model.at("size_vram").to_number<int64_t>() > 0);
  CHECK(model.at("size_vram").to_number<int64_t>() < model.at("size").to_number<int64_t>());
  if (std::getenv("OLLAMAX_TEST_WORKER") != nullptr)
    return;  // there the process ends with all it held
  server.unload();
  CHECK(server.held_bytes() == "0");
}

}  // namespace olx::server

#endif  // OLLAMAX_TEST_DRIVER
