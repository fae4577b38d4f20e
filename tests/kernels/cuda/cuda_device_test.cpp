// The host side of CUDA on a driver of the tests' own (fake_cuda.h): whole models, every call
// failing once, a device that is lost. Kernels run as host_simt32 runs them, so results are the
// same to the last bit.

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/graph/graph_builder.h"
#include "engine/graph/plan.h"
#include "kernels/api/registry.h"
#include "kernels/cuda/device.h"
#include "tests/kernels/cuda/fake_cuda.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::kernels::cuda {
namespace {

using namespace engine;  // NOLINT: the parts of a plan

constexpr std::byte kBytes[1] = {};
const CudaImage kImages[] = {{8, 0, false, false, kBytes}};

std::unique_ptr<Device> open_fake() {
  return open_cuda_device(fake_cuda_api(), kImages, "host_simt32");
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

// Logits of a prompt's last token, then of four tokens one at a time, in two sequences.
std::vector<float> logits_of(const gguf::GgufFile& file, Device& device) {
  const ModelConfig config = read_model_config(file);
  const Architecture& architecture = *find_architecture(config.architecture);
  const WeightTable table(file, architecture, config);
  GraphBuilder builder(config, table);
  architecture.build(config, builder);
  const Graph graph = builder.take();
  WeightStore weights(graph, table, device, 16);
  weights.load(file, table, {});
  KvCache cache(device, {.n_layers = config.n_layers,
                         .n_kv_heads = config.n_kv_heads,
                         .head_dim = config.head_dim,
                         .n_sequences = 2,
                         .n_ctx = 64,
                         .dtype = DType::kF16});
  Plan plan(device, graph, weights, cache, {.n_tokens = 16, .n_outputs = 4});
  std::vector<float> logits;
  for (int32_t sequence = 0; sequence < 2; ++sequence)
    for (int32_t from = 0, n = 11; from < 15; from += n, n = 1) {
      REQUIRE(cache.reserve(sequence, from + n));
      std::vector<int32_t> ids;
      std::vector<TokenSlot> slots;
      for (int32_t i = from; i < from + n; ++i) {
        ids.push_back((i * 13 + 5 + sequence) % 97);
        slots.push_back({sequence, i});
      }
      const std::vector<int32_t> outputs{n - 1};
      REQUIRE(plan.execute({.ids = ids, .slots = slots, .outputs = outputs}, nullptr));
      cache.tables().set_used(sequence, from + n);
      logits.insert(logits.end(), plan.output(0), plan.output(0) + config.vocab_size);
    }
  return logits;
}

const KernelRow& row_named(const char* name) {
  for (const KernelRow& row : KernelRegistry::instance().rows())
    if (std::strcmp(row.backend, "host_simt32") == 0 && std::strcmp(row.name, name) == 0)
      return row;
  throw std::logic_error(name);
}

// Outside an assertion, which would catch what it throws.
void run(Device& device, const BoundNode& node) {
  const bool is_done = device.execute({&node, 1});
  REQUIRE(is_done);
}

// Two lookups in one table, one execute() each with ids in the program's memory, and a sum.
void use_device() {
  const std::unique_ptr<Device> device = open_fake();
  const auto table = device->allocate(4 * 3 * sizeof(float)),
             y = device->allocate(2 * 3 * sizeof(float));
  auto* values = static_cast<float*>(table->host());
  for (int i = 0; i < 12; ++i) values[i] = static_cast<float>(i);
  auto* out = static_cast<float*>(y->host());
  int32_t id = 2;
  EmbedArgs embed{{out, 1, 3, 3}, {table->data(), DType::kF32, nullptr, 4, 3}, &id, 1.0f};
  BoundNode node{&row_named("embed_f32_simt"), &embed};
  run(*device, node);
  id = 1;  // the first lookup has its own copy
  embed.y.data = out + 3;
  run(*device, node);
  AddArgs add{{out, 1, 3, 3}, {out, 1, 3, 3}, {out + 3, 1, 3, 3}};
  node = {&row_named("add_simt"), &add};
  run(*device, node);
  device->sync();
  for (int i = 0; i < 3; ++i) CHECK(out[i] == 6.0f + 3.0f + 2.0f * static_cast<float>(i));
}

}  // namespace

TEST_CASE("Cuda_RunsWholeModelsThroughTheDriver") {
  const tests::TempDir folder;
  for (const auto& row : architectures())
    for (const DType dtype : {DType::kF32, DType::kQ8_0}) {
      if (dtype != DType::kF32 && std::string(row.name) != "llama")
        continue;  // quantized: once will do
      INFO(row.name);
      const std::string path = folder.file("tiny.gguf");
      tests::write_tiny_model(row.name, {.seed = 4, .dtype = dtype}, path);
      const auto file = gguf::GgufFile::open(path);
      FakeCuda& fake = begin_fake_cuda();
      std::vector<float> got;
      {
        const auto device = open_fake();
        got = logits_of(file, *device);
      }
      CHECK(fake.misuse == "");
      CHECK(fake.n_launches > 100);
      CHECK_FALSE(fake.has_leaks());
      const std::vector<float> expected = logits_of(file, *find_backend("host_simt32")->open({}));
      REQUIRE(got.size() == expected.size());
      CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("Cuda_EachCallThatFailsIsAnErrorAndLeavesNothingBehind") {
  FakeCuda* fake = &begin_fake_cuda();
  use_device();
  CHECK(fake->misuse == "");
  CHECK_FALSE(fake->has_leaks());
  for (const char* function : kFakeCudaFunctions) {
    const std::string name = function;
    // Giving back tells nobody of a failure.
    const bool is_silent = name == "release_context" || name == "free" || name == "unload_module" ||
                           name == "destroy_stream";
    int n_calls = 0, n_errors = 0;
    for (int nth = 1; nth < 100; ++nth) {
      fake = &begin_fake_cuda();
      fake->fails_function = name;
      fake->fails_at = nth;
      fake->fails_with = kOutOfMemory;
      const std::string error = error_of(use_device);
      INFO(name << " " << nth << ": " << error);
      CHECK(fake->misuse == "");
      CHECK_FALSE(fake->has_leaks());
      if (fake->n_calls_of_failing_function < nth) {
        CHECK(error == "");
        break;
      }
      n_calls = nth;
      if (error == "") continue;
      ++n_errors;
      CHECK_THAT(error,
                 Catch::StartsWith("cuda: ") && Catch::Contains("CUDA_ERROR_OUT_OF_MEMORY (2)"));
      CHECK_FALSE(is_silent);
    }
    INFO(name);
    CHECK((n_calls > 0) == (name != "error_name"));
    CHECK((n_errors > 0) == (!is_silent && n_calls > 0));
  }
}

TEST_CASE("Cuda_AnErrorSaysWhatCouldNotBeDone") {
  const auto failing = [](const char* function, int nth, Result result) {
    FakeCuda& fake = begin_fake_cuda();
    fake.fails_function = function;
    fake.fails_at = nth;
    fake.fails_with = result;
    return error_of(use_device);
  };
  CHECK(failing("allocate_managed", 1, kOutOfMemory) ==
        "cuda: cannot allocate 48 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)");
  CHECK(failing("launch", 3, 1) == "cuda: cuLaunchKernel add_simt: unknown error (1)");
  CHECK(failing("find_function", 1, 500) ==
        "cuda: cuModuleGetFunction embed_f32_simt: unknown error (500)");

  const auto with = [](auto change) {
    change(begin_fake_cuda());
    return error_of(use_device);
  };
  CHECK(with([](FakeCuda& fake) { fake.n_devices = 0; }) ==
        "cuda: expected a device, the driver has none");
  CHECK_THAT(with([](FakeCuda& fake) { fake.is_concurrent = 0; }),
             Catch::Contains("expected memory that the processor can read"));
  CHECK(with([](FakeCuda& fake) { fake.major = 7; }) ==
        "cuda: Fake 100, compute capability 7.6: this program has no kernels for it");
  CHECK_THAT(
      error_of([] { load_cuda_api("libcuda-of-nobody.so.1"); }),
      Catch::Contains("there is no NVIDIA driver") && Catch::Contains("libcuda-of-nobody.so.1"));
  CHECK(error_of([] { load_cuda_api("libm.so.6"); }) ==
        "cuda: libm.so.6: expected it to export cuInit");
}

TEST_CASE("Cuda_ALostDeviceFailsAllThatFollows") {
  FakeCuda& fake = begin_fake_cuda();
  {
    const std::unique_ptr<Device> device = open_fake();
    const auto y = device->allocate(16);
    auto* out = static_cast<float*>(y->host());
    ScaleArgs scale{{out, 1, 4, 4}, {out, 1, 4, 4}, 2.0f};
    BoundNode node{&row_named("scale_simt"), &scale};
    fake.faults_at_next_launch = true;
    REQUIRE(device->execute({&node, 1}));  // enqueued: nobody knows yet
    const std::string lost = "cuda: cuStreamSynchronize: CUDA_ERROR_LAUNCH_FAILED (719)";
    CHECK(error_of([&] { device->sync(); }) == lost);
    CHECK(error_of([&] { device->sync(); }) != "");
    CHECK(error_of([&] { device->execute({&node, 1}); }) != "");
    CHECK(error_of([&] { device->allocate(8); }) != "");
  }
  CHECK_FALSE(fake.has_leaks());
}

TEST_CASE("Cuda_ACancelledStepHasEndedWhenItReturns") {
  FakeCuda& fake = begin_fake_cuda();
  const std::unique_ptr<Device> device = open_fake();
  const std::atomic<bool> cancel{true};
  const auto y = device->allocate(16);
  CHECK(static_cast<float*>(y->host())[3] == 0);  // zeroed
  auto* out = static_cast<float*>(y->host());
  ScaleArgs scale{{out, 1, 4, 4}, {out, 1, 4, 4}, 2.0f};
  BoundNode node{&row_named("scale_simt"), &scale};
  REQUIRE(device->execute({&node, 1}));
  CHECK(fake.n_launches == 0);
  CHECK_FALSE(device->execute({&node, 1}, &cancel));
  CHECK(fake.n_launches == 1);
}

TEST_CASE("Cuda_TakesTheImageThatFitsTheDevice") {
  const CudaImage images[] = {{8, 0, true, false, {}},  {8, 0, false, false, {}},
                              {8, 6, false, false, {}}, {9, 0, false, true, {}},
                              {7, 5, false, false, {}}, {12, 0, true, false, {}}};
  const auto chosen = [&](int major, int minor) {
    const CudaImage* image = choose_image(images, major, minor);
    return image == nullptr ? -1 : static_cast<int>(image - images);
  };
  CHECK(chosen(8, 0) == 1);
  CHECK(chosen(8, 6) == 2);
  CHECK(chosen(8, 9) == 2);  // code of an earlier minor version
  CHECK(chosen(9, 0) == 3);
  CHECK(chosen(9, 1) == 0);  // sm_90a is for 9.0 alone
  CHECK(chosen(10, 0) == 0);
  CHECK(chosen(12, 1) == 5);
  CHECK(chosen(7, 5) == 4);
  CHECK(chosen(7, 0) == -1);
}

}  // namespace olx::kernels::cuda
