// Steps as graphs of the driver, on a driver of the tests' own (fake_driver.h): what is started by
// one call computes what the kernels started one by one do, and where that cannot be had they are.

#include "kernels/gpu/step_graphs.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/model/model_runner.h"
#include "kernels/api/args.h"
#include "kernels/api/registry.h"
#include "kernels/gpu/device.h"
#include "tests/kernels/gpu/fake_driver.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::kernels::gpu {
namespace {

// A model with room for two sequences, all of it on the fake device.
std::unique_ptr<engine::ModelRunner> open_runner(const std::string& path, int n_ctx) {
  engine::RunnerOptions options;
  options.open_devices = [] {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(open_fake_device());
    return devices;
  };
  options.n_gpu_layers = 1000;
  options.n_threads = 1;
  options.n_ctx = n_ctx;
  options.n_sequences = 2;
  options.n_batch = 64;
  return engine::ModelRunner::open(gguf::GgufFile::open(path), options);
}

// Runs steps on a model and keeps all logits it is asked for.
struct Reader {
  engine::ModelRunner& runner;
  std::vector<float> logits;
  std::vector<int> n_calls;     // of the driver, a step
  std::vector<int> n_launches;  // kernels that ran

  // n more tokens of each of these sequences, of which the last one's logits are wanted.
  void step(const std::vector<int32_t>& sequences, int32_t n = 1) {
    std::vector<engine::BatchToken> batch;
    for (const int32_t sequence : sequences) {
      const auto from = static_cast<int32_t>(runner.n_positions(sequence));
      for (int32_t i = from; i < from + n; ++i)
        batch.push_back({(i * 13 + 5 + sequence) % 97, sequence, i, i + 1 == from + n, n > 1});
      REQUIRE(runner.reserve(sequence, from + n));
    }
    const FakeDriver before = fake_driver();
    REQUIRE(runner.forward(batch));
    n_calls.push_back(fake_driver().n_calls - before.n_calls);
    n_launches.push_back(fake_driver().n_launches - before.n_launches);
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto row = runner.logits(static_cast<int64_t>(i));
      logits.insert(logits.end(), row.begin(), row.end());
    }
  }
};

// Two conversations that come and go, with another number of tokens in a step now and then.
std::vector<float> converse(engine::ModelRunner& runner) {
  Reader reader{runner, {}, {}, {}};
  reader.step({0}, 9);
  for (int i = 0; i < 4; ++i) reader.step({0});
  reader.step({1}, 6);
  for (int i = 0; i < 4; ++i) reader.step({0, 1});
  for (int i = 0; i < 3; ++i) reader.step({1});
  runner.truncate(0, 3);
  for (int i = 0; i < 3; ++i) reader.step({0});
  for (int i = 0; i < 3; ++i) reader.step({0, 1});
  return reader.logits;
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Four floats on a device, that are multiplied.
struct Scaler {
  std::unique_ptr<Device> device = open_fake_device();
  std::unique_ptr<Buffer> buffer = device->allocate(16);
  float* values = static_cast<float*>(buffer->host());

  void enqueue(float factor, const std::atomic<bool>* cancel = nullptr) {
    ScaleArgs args{{values, 1, 4, 4}, {values, 1, 4, 4}, factor};
    const BoundNode node{&fake_row("scale_simt"), &args};
    const bool is_done = device->execute({&node, 1}, cancel);
    CHECK(is_done == (cancel == nullptr || !*cancel));
  }
  float times(float factor) {
    device->sync();
    values[3] = 1;
    enqueue(factor);
    device->sync();
    return values[3];
  }
};

}  // namespace

TEST_CASE("StepGraphs_ModelsComputeTheSameBitsWithAndWithout") {
  const auto [form, wave_size] = GENERATE(from_range(fake_kinds()));
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  for (const auto& row : engine::architectures()) {
    if (form == FakeForm::kHip && std::string(row.name) != "llama") continue;  // once will do
    INFO(row.name);
    tests::write_tiny_model(row.name, {.seed = 6}, path);
    begin_fake_driver(form, wave_size).has_graphs = false;
    const std::vector<float> expected = converse(*open_runner(path, 2048));
    const int n_calls_without = fake_driver().n_calls;
    FakeDriver& fake = begin_fake_driver(form, wave_size);
    const std::vector<float> got = converse(*open_runner(path, 2048));
    CHECK(is_same(got, expected));
    CHECK(fake.n_calls < n_calls_without);
    CHECK(fake.misuse == "");
    CHECK_FALSE(fake.has_leaks());
  }
}

TEST_CASE("StepGraphs_ATokenIsAHandfulOfCallsInsteadOfOneAKernel") {
  const auto [form, wave_size] = GENERATE(from_range(fake_kinds()));
  const bool has_graphs = GENERATE(true, false);
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 6}, path);
  begin_fake_driver(form, wave_size).has_graphs = has_graphs;
  const auto runner = open_runner(path, 64);
  Reader reader{*runner, {}, {}, {}};
  reader.step({0}, 9);
  for (int i = 0; i < 10; ++i) reader.step({0});
  const int n_kernels = reader.n_launches[1];
  CHECK(n_kernels > 30);
  for (size_t i = 1; i < reader.n_calls.size(); ++i) {
    INFO("step " << i);
    CHECK(reader.n_launches[i] == n_kernels);
    if (has_graphs && i > 2)
      CHECK(reader.n_calls[i] == 5);  // context, wait, start; context, wait
    else                              // launched, or recorded, one by one
      CHECK(reader.n_calls[i] >= n_kernels);
  }
}

TEST_CASE("StepGraphs_SplitsOfAttentionChangeWithTheContext") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 6}, path);
  const auto read = [&](bool has_graphs) {
    begin_fake_driver().has_graphs = has_graphs;
    const auto runner = open_runner(path, 600);
    Reader reader{*runner, {}, {}, {}};
    for (int i = 0; i < 4; ++i) reader.step({0}, 63);
    for (int i = 0; i < 12; ++i)
      reader.step({0});  // positions 252 .. 263, over a border of segments
    return reader;
  };
  const Reader without = read(false), with = read(true);
  CHECK(is_same(with.logits, without.logits));
  const int n_kernels = with.n_launches.back();
  // A graph, the border at 256, which is another step, and that one as a graph.
  const std::vector<int>& n_calls = with.n_calls;
  CHECK(n_calls[7] < n_kernels);
  CHECK(std::count_if(n_calls.begin() + 4, n_calls.end(), [&](int n) { return n >= n_kernels; }) ==
        4);
  CHECK(n_calls.back() < n_kernels);
}

TEST_CASE("StepGraphs_AStepWithAnotherArgumentIsAnotherStep") {
  FakeDriver& fake = begin_fake_driver();
  {
    Scaler scaler;
    for (const float factor : {2.0f, 2.0f, 2.0f, 3.0f, 2.0f, 3.0f, 3.0f, 2.0f}) {
      INFO(factor);
      CHECK(scaler.times(factor) == factor);
    }
    CHECK(fake.n_executables == 2);
    // As many as are remembered, and those that were used last.
    for (int time = 0; time < 3; ++time)
      for (int i = 0; i < 20; ++i)
        CHECK(scaler.times(static_cast<float>(i)) == static_cast<float>(i));
    CHECK(fake.n_executables == 0);  // none of the twenty was remembered until it came again
    constexpr auto kMost = static_cast<int>(StepGraphs::kMaxSteps);
    for (int time = 0; time < 3; ++time)
      for (int i = 0; i < kMost; ++i)
        CHECK(scaler.times(static_cast<float>(i)) == static_cast<float>(i));
    CHECK(fake.n_executables == kMost);
    CHECK(scaler.times(99) == 99);
    CHECK(fake.n_executables == kMost - 1);
  }
  CHECK(fake.misuse == "");
  CHECK_FALSE(fake.has_leaks());
}

TEST_CASE("StepGraphs_WhereOneCannotBeMadeKernelsAreStartedOneByOneForGood") {
  for (const auto& [form, wave_size] : fake_kinds())
    for (const std::string function :
         {"begin_capture", "launch", "end_capture", "instantiate_graph"}) {
      INFO(function);
      FakeDriver& fake = begin_fake_driver(form, wave_size);
      {
        Scaler scaler;
        CHECK(scaler.times(2) == 2);
        fake.fails_function = function;
        fake.fails_at = 1;
        fake.fails_with = 1;
        CHECK(scaler.times(2) == 2);
        CHECK(fake.n_calls_of_failing_function >= 1);
        fake.fails_function = "begin_capture";  // and is not tried again
        fake.n_calls_of_failing_function = 0;
        for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);
        CHECK(fake.n_calls_of_failing_function == 0);
        CHECK(fake.n_launches == 5);
      }
      CHECK(fake.misuse == "");
      CHECK_FALSE(fake.has_leaks());
    }
}

TEST_CASE("StepGraphs_ADriverThatLacksOneFunctionHasNone") {
  using Row = void (*)(DriverApi&);
  const Row removals[] = {
      [](DriverApi& api) { api.begin_capture = {}; },
      [](DriverApi& api) { api.end_capture = {}; },
      [](DriverApi& api) { api.instantiate_graph = {}; },
      [](DriverApi& api) { api.destroy_graph = {}; },
      [](DriverApi& api) { api.launch_graph = {}; },
      [](DriverApi& api) { api.destroy_executable = {}; },
  };
  begin_fake_driver();
  CHECK(fake_driver_api().has_graphs());
  for (const Row remove : removals) {
    FakeDriver& fake = begin_fake_driver();
    DriverApi api = fake_driver_api();
    remove(api);
    CHECK_FALSE(api.has_graphs());
    Scaler scaler{.device = open_device(api, fake_images(), fake_backend())};
    fake.fails_function = "begin_capture";
    for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);
    CHECK(fake.n_calls_of_failing_function == 0);
  }
}

TEST_CASE("StepGraphs_AGraphThatCannotBeStartedIsTheErrorOfItsStep") {
  FakeDriver& fake = begin_fake_driver();
  {
    Scaler scaler;
    for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);
    fake.fails_function = "launch_graph";
    fake.fails_at = 1;
    fake.fails_with = kOutOfMemory;
    CHECK_THROWS_WITH(scaler.times(2), "cuda: launch_graph: ERROR_OUT_OF_MEMORY (2)");
    for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);  // without it
    CHECK(fake.n_calls_of_failing_function == 1);
  }
  CHECK(fake.misuse == "");
  CHECK_FALSE(fake.has_leaks());
}

TEST_CASE("StepGraphs_ACancelledStepIsNotStarted") {
  FakeDriver& fake = begin_fake_driver();
  Scaler scaler;
  for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);
  const std::atomic<bool> cancel{true};
  scaler.enqueue(2, &cancel);
  CHECK(fake.n_launches == 3);
  CHECK(scaler.times(2) == 2);
}

TEST_CASE("StepGraphs_AreLeftOutWhereTheUserSaysSo") {
  FakeDriver& fake = begin_fake_driver();
  ::setenv("OLLAMAX_GPU_GRAPHS", "0", 1);
  Scaler scaler;
  ::unsetenv("OLLAMAX_GPU_GRAPHS");
  for (int i = 0; i < 3; ++i) CHECK(scaler.times(2) == 2);
  CHECK(fake.n_executables == 0);
}

}  // namespace olx::kernels::gpu
