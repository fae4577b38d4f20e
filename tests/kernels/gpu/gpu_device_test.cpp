// The host side of GPUs on a driver of the tests' own (fake_driver.h), in its forms: whole models,
// every call failing once, a device that is lost. Kernels run as host_simt runs them, so results
// are the same to the last bit.

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/cuda/driver.h"
#include "kernels/gpu/device.h"
#include "kernels/hip/driver.h"
#include "kernels/simt/staging.h"
#include "tests/kernels/gpu/fake_driver.h"
#include "tests/support/built_network.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::kernels::gpu {
namespace {

using namespace engine;  // NOLINT: the parts of a plan

FakeDriver& begin(const FakeKind& form) { return begin_fake_driver(form.form, form.wave_size); }

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
  tests::BuiltNetwork network(file, device, DType::kF16, 2);
  std::vector<float> logits;
  for (int32_t sequence = 0; sequence < 2; ++sequence)
    for (int32_t from = 0, n = 11; from < 15; from += n, n = 1) {
      REQUIRE(network.cache.reserve(sequence, from + n));
      std::vector<int32_t> ids;
      std::vector<TokenSlot> slots;
      for (int32_t i = from; i < from + n; ++i) {
        ids.push_back((i * 13 + 5 + sequence) % 97);
        slots.push_back({sequence, i});
      }
      const std::vector<int32_t> outputs{n - 1};
      REQUIRE(network.plan->execute({.ids = ids, .slots = slots, .outputs = outputs}, nullptr));
      network.cache.tables().set_used(sequence, from + n);
      const float* row = network.plan->output(0);
      logits.insert(logits.end(), row, row + network.config.vocab_size);
    }
  return logits;
}

// Outside an assertion, which would catch what it throws.
void run(Device& device, const BoundNode& node) {
  const bool is_done = device.execute({&node, 1});
  REQUIRE(is_done);
}

// Two lookups in one table, one execute() each with ids in the program's memory, and a sum, in
// steps that come three times: the last two are graphs.
void use_device() {
  const std::unique_ptr<Device> device = open_fake_device();
  const auto table = device->allocate(4 * 3 * sizeof(float)),
             y = device->allocate(2 * 3 * sizeof(float));
  auto* values = static_cast<float*>(table->host());
  for (int i = 0; i < 12; ++i) values[i] = static_cast<float>(i);
  auto* out = static_cast<float*>(y->host());
  for (int time = 0; time < 3; ++time) {
    int32_t id = 2;
    EmbedArgs embed{{out, 1, 3, 3}, {table->data(), DType::kF32, nullptr, 4, 3}, &id, 1.0f};
    BoundNode node{&fake_row("embed_f32_simt"), &embed};
    run(*device, node);
    id = 1;  // the first lookup has its own copy
    embed.y.data = out + 3;
    run(*device, node);
    AddArgs add{{out, 1, 3, 3}, {out, 1, 3, 3}, {out + 3, 1, 3, 3}};
    node = {&fake_row("add_simt"), &add};
    run(*device, node);
  }
  device->sync();
  for (int i = 0; i < 3; ++i) CHECK(out[i] == 6.0f + 3.0f + 2.0f * static_cast<float>(i));
}

}  // namespace

TEST_CASE("Gpu_RunsWholeModelsThroughTheDriver") {
  const FakeKind form = GENERATE(from_range(fake_kinds()));
  const tests::TempDir folder;
  for (const auto& row : architectures())
    for (const DType dtype : {DType::kF32, DType::kQ8_0}) {
      if (dtype != DType::kF32 && std::string(row.name) != "llama")
        continue;  // quantized: once will do
      INFO(row.name);
      const std::string path = folder.file("tiny.gguf");
      tests::write_tiny_model(row.name, {.seed = 4, .dtype = dtype}, path);
      const auto file = gguf::GgufFile::open(path);
      FakeDriver& fake = begin(form);
      std::vector<float> got;
      {
        const auto device = open_fake_device();
        got = logits_of(file, *device);
      }
      CHECK(fake.misuse == "");
      CHECK(fake.n_launches > 100);
      CHECK_FALSE(fake.has_leaks());
      const std::vector<float> expected = logits_of(file, *find_backend(fake_backend())->open({}));
      REQUIRE(got.size() == expected.size());
      CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("Gpu_EachCallThatFailsIsAnErrorAndLeavesNothingBehind", "[T-89][T-90]") {
  const FakeKind form = GENERATE(from_range(fake_kinds()));
  FakeDriver* fake = &begin(form);
  use_device();
  CHECK(fake->misuse == "");
  CHECK_FALSE(fake->has_leaks());
  for (const char* function : kFakeFunctions) {
    const std::string name = function;
    // Giving back tells nobody of a failure, and where a graph cannot be made there is none.
    const bool is_silent = name == "release_context" || name == "free" || name == "unload_module" ||
                           name == "destroy_stream" || name == "destroy_graph" ||
                           name == "destroy_executable" || name == "begin_capture" ||
                           name == "end_capture" || name == "instantiate_graph";
    int n_calls = 0, n_errors = 0;
    for (int nth = 1; nth < 200; ++nth) {
      fake = &begin(form);
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
      CHECK_THAT(error, Catch::StartsWith(form.form == FakeForm::kCuda ? "cuda: " : "hip: ") &&
                            Catch::Contains("ERROR_OUT_OF_MEMORY (2)"));
      CHECK_FALSE(is_silent);
    }
    INFO(name);
    const bool is_of_cuda =
        name == "retain_context" || name == "release_context" || name == "set_context";
    const bool is_of_hip = name == "set_device" || name == "properties";
    const bool is_used = name != "error_name" && name != "memory_info" &&
                         !(form.form == FakeForm::kCuda ? is_of_hip : is_of_cuda);
    CHECK((n_calls > 0) == is_used);
    CHECK((n_errors > 0) == (!is_silent && n_calls > 0));
  }
}

TEST_CASE("Gpu_AnErrorSaysWhatCouldNotBeDone") {
  const auto failing = [](const char* function, int nth, Result result) {
    FakeDriver& fake = begin_fake_driver();
    fake.fails_function = function;
    fake.fails_at = nth;
    fake.fails_with = result;
    return error_of(use_device);
  };
  CHECK(failing("allocate_managed", 1, kOutOfMemory) ==
        "cuda: cannot allocate 48 bytes: ERROR_OUT_OF_MEMORY (2)");
  CHECK(failing("launch", 3, 1) == "cuda: launch add_simt: unknown error (1)");
  CHECK(failing("find_function", 1, 500) ==
        "cuda: find_function embed_f32_simt: unknown error (500)");

  const auto with = [](auto change) {
    change(begin_fake_driver());
    return error_of(use_device);
  };
  CHECK(with([](FakeDriver& fake) { fake.n_devices = 0; }) ==
        "cuda: expected a device, the driver has none");
  CHECK_THAT(with([](FakeDriver& fake) { fake.is_concurrent = 0; }),
             Catch::Contains("expected memory that the processor can read"));
  CHECK(with([](FakeDriver& fake) { fake.major = 7; }) ==
        "cuda: Fake gfx, sm_76: this program has no kernels for it");
  CHECK_THAT(
      error_of([] { cuda::load_driver("libcuda-of-nobody.so.1"); }),
      Catch::Contains("there is no NVIDIA driver") && Catch::Contains("libcuda-of-nobody.so.1"));
  CHECK(error_of([] { cuda::load_driver("libm.so.6"); }) ==
        "cuda: libm.so.6: expected it to export cuInit");
}

TEST_CASE("Gpu_ALostDeviceFailsAllThatFollows", "[T-90]") {
  FakeDriver& fake = begin_fake_driver();
  {
    const std::unique_ptr<Device> device = open_fake_device();
    const auto y = device->allocate(16);
    auto* out = static_cast<float*>(y->host());
    ScaleArgs scale{{out, 1, 4, 4}, {out, 1, 4, 4}, 2.0f};
    BoundNode node{&fake_row("scale_simt"), &scale};
    fake.faults_at_launch = 1;
    REQUIRE(device->execute({&node, 1}));  // enqueued: nobody knows yet
    const std::string lost = "cuda: synchronize: ERROR_LAUNCH_FAILED (719)";
    CHECK(error_of([&] { device->sync(); }) == lost);
    CHECK(error_of([&] { device->sync(); }) != "");
    CHECK(error_of([&] { device->execute({&node, 1}); }) != "");
    CHECK(error_of([&] { device->allocate(8); }) != "");
  }
  CHECK_FALSE(fake.has_leaks());
}

TEST_CASE("Gpu_ACancelledStepHasEndedWhenItReturns") {
  FakeDriver& fake = begin_fake_driver();
  const std::unique_ptr<Device> device = open_fake_device();
  const std::atomic<bool> cancel{true};
  const auto y = device->allocate(16);
  CHECK(static_cast<float*>(y->host())[3] == 0);  // zeroed
  auto* out = static_cast<float*>(y->host());
  ScaleArgs scale{{out, 1, 4, 4}, {out, 1, 4, 4}, 2.0f};
  BoundNode node{&fake_row("scale_simt"), &scale};
  REQUIRE(device->execute({&node, 1}));
  CHECK(fake.n_launches == 0);
  CHECK_FALSE(device->execute({&node, 1}, &cancel));
  CHECK(fake.n_launches == 1);
}

TEST_CASE("Gpu_TakesTheImageThatFitsTheDevice") {
  const Image images[] = {{"compute_80"}, {"sm_80"}, {"sm_86"},
                          {"sm_90a"},     {"sm_75"}, {"compute_120"}};
  const auto chosen = [&](const char* architecture) -> std::string {
    const Image* image = cuda::choose_image(images, architecture);
    return image == nullptr ? "none" : image->architecture;
  };
  CHECK(chosen("sm_80") == "sm_80");
  CHECK(chosen("sm_86") == "sm_86");
  CHECK(chosen("sm_89") == "sm_86");  // code of an earlier minor version
  CHECK(chosen("sm_90") == "sm_90a");
  CHECK(chosen("sm_91") == "compute_80");  // sm_90a is for 9.0 alone
  CHECK(chosen("sm_100") == "compute_80");
  CHECK(chosen("sm_121") == "compute_120");
  CHECK(chosen("sm_75") == "sm_75");
  CHECK(chosen("sm_70") == "none");

  const Image objects[] = {{"gfx90a", 64}, {"gfx1100", 32}};
  CHECK(hip::choose_image(objects, "gfx1100") == &objects[1]);
  CHECK(hip::choose_image(objects, "gfx90a") == &objects[0]);
  CHECK(hip::choose_image(objects, "gfx90") == nullptr);
  CHECK(hip::choose_image(objects, "gfx1101") == nullptr);
}

TEST_CASE("Gpu_AHipDeviceIsKnownByTheArchitectureOfItsProperties") {
  FakeDriver& fake = begin_fake_driver(FakeForm::kHip, 64);
  const DriverApi api = fake_driver_api();
  CHECK(api.architecture(api, 0) == "gfx90a");  // without its features
  fake.architecture = "";
  CHECK_THAT(error_of([&] { api.architecture(api, 0); }),
             Catch::StartsWith("hip: device 0: expected its properties"));
  fake.architecture = "gfx1030";
  CHECK(error_of([&] { open_device(api, fake_images(), fake_backend()); }) ==
        "hip: Fake gfx, gfx1030: this program has no kernels for it");
  // The code that fits was compiled for another size of wave.
  const Image other[] = {{"gfx1030", 32, fake_images()[0].bytes}};
  CHECK(error_of([&] { open_device(api, other, fake_backend()); }) ==
        "hip: Fake gfx, gfx1030: expected waves of 32 lanes, got 64");
  CHECK_THAT(error_of([] { hip::load_driver("libamdhip64-of-nobody.so"); }),
             Catch::StartsWith("hip: there is no HIP runtime of AMD: libamdhip64-of-nobody.so"));
  CHECK(error_of([] { hip::load_driver("libm.so.6"); }) ==
        "hip: libm.so.6: expected it to export hipInit");
}

TEST_CASE("Gpu_ListsItsDevicesWithoutOpeningOne") {
  for (const FakeKind& form : fake_kinds()) {
    FakeDriver& fake = begin(form);
    fake.n_devices = 2;
    const std::vector<DeviceInfo> devices = list_devices(fake_driver_api(), fake_images());
    REQUIRE(devices.size() == 2);
    CHECK(devices[1].index == 1);
    CHECK(devices[1].memory_bytes == fake.memory_bytes);
    CHECK_THAT(devices[0].name, Catch::StartsWith("Fake gfx, "));
    CHECK_FALSE(fake.has_leaks());
    CHECK_THAT(error_of([] { list_devices(fake_driver_api(), {}); }),
               Catch::EndsWith(": this program has no kernels for it"));
    CHECK_THAT(error_of([] { open_device(fake_driver_api(), fake_images(), fake_backend(), 2); }),
               Catch::EndsWith("expected a device below 2, got 2"));
  }
}

TEST_CASE("Gpu_MemoryIsGivenBackFromAnyThread") {
  for (const FakeKind& form : fake_kinds()) {
    FakeDriver& fake = begin(form);
    std::unique_ptr<Device> device = open_fake_device();
    std::unique_ptr<Buffer> buffer = device->allocate(64);
    std::thread([&] {
      buffer.reset();
      device.reset();
    }).join();
    CHECK(fake.misuse == "");
    CHECK_FALSE(fake.has_leaks());
  }
}

TEST_CASE("Gpu_DevicesOfADriverHaveMemoryAndStreamsOfTheirOwn") {
  for (const FakeKind& form : fake_kinds()) {
    FakeDriver& fake = begin(form);
    fake.n_devices = 2;
    {
      const auto first = open_fake_device(0), second = open_fake_device(1);
      CHECK(second->info().index == 1);
      const auto ours = second->allocate(16), theirs = first->allocate(16);
      CHECK(*first->free_bytes() == *second->free_bytes());
      const auto more = second->allocate(1000);
      CHECK(*first->free_bytes() == *second->free_bytes() + 1000);
      auto* out = static_cast<float*>(ours->host());
      out[3] = 1;
      ScaleArgs scale{{out, 1, 4, 4}, {out, 1, 4, 4}, 2.0f};
      const BoundNode node{&fake_row("scale_simt"), &scale};
      for (int i = 0; i < 3; ++i) run(*second, node);  // the last two are graphs
      first->sync();
      CHECK(out[3] == 4);  // the third step waited for the second, and nobody for it
      second->sync();
      CHECK(out[3] == 8);
      CHECK(fake.devices[0].n_launches == 0);
      CHECK(fake.misuse == "");
      scale.x.data = static_cast<float*>(theirs->host());
      run(*second, node);
      CHECK_THAT(error_of([&] { second->sync(); }), Catch::Contains("ERROR_LAUNCH_FAILED"));
      CHECK(fake.misuse == "scale_simt is given an address that is not the device's");
    }
    CHECK_FALSE(fake.has_leaks());
  }
}

TEST_CASE("Gpu_SaysHowMuchMemoryIsFree") {
  const FakeKind form = GENERATE(from_range(fake_kinds()));
  FakeDriver& fake = begin(form);
  fake.memory_bytes = 1000;
  const auto device = open_fake_device();
  CHECK(device->free_bytes() == 1000);
  {
    const auto buffer = device->allocate(600);
    CHECK(device->free_bytes() == 400);
    CHECK_THAT(error_of([&] { device->allocate(401); }),
               Catch::Contains("cannot allocate 401 bytes: ERROR_OUT_OF_MEMORY (2)"));
  }
  CHECK(device->free_bytes() == 1000);
  fake.fails_function = "memory_info";
  fake.fails_at = 1;
  fake.fails_with = 1;
  CHECK_THAT(error_of([&] { device->free_bytes(); }),
             Catch::Contains("memory_info: unknown error (1)"));
}

// What a model is placed by (Device::staging_bytes), for arrays of any sizes that differ from step
// to step.
TEST_CASE("Gpu_StagingTakesNoMoreThanItSays") {
  FakeDriver& fake = begin_fake_driver();
  const auto device = open_fake_device(0);
  std::mt19937 random(5);
  const auto up_to = [&](size_t n) { return random() % n + 1; };
  for (int trial = 0; trial < 60; ++trial) {
    INFO(trial);
    std::vector<std::vector<int32_t>> arrays(up_to(6));
    std::vector<uint64_t> sizes;
    for (std::vector<int32_t>& array : arrays) {
      array.resize(up_to(size_t{1} << up_to(17)));
      for (size_t i = 0; i < array.size(); ++i) array[i] = static_cast<int32_t>(i + arrays.size());
      sizes.push_back(array.size() * sizeof(int32_t));
    }
    const size_t before = fake.allocated_bytes;
    simt::Staging staging(*device);
    for (int step = 0; step < 20; ++step) {
      staging.begin();
      for (const std::vector<int32_t>& array : arrays) {
        EmbedArgs args;
        args.ids = array.data();
        const size_t n = step < 19 ? up_to(array.size()) : array.size();
        args.y.n_rows = static_cast<int64_t>(n);
        const simt::StagedArgs staged = staging.stage(Op::kEmbed, &args, sizeof args);
        std::memcpy(&args, staged.data(), sizeof args);
        CHECK(args.ids != array.data());
        CHECK(std::memcmp(args.ids, array.data(), n * sizeof(int32_t)) == 0);
      }
    }
    CHECK(fake.allocated_bytes - before <= device->staging_bytes(sizes));
  }
}

}  // namespace olx::kernels::gpu
