// A model divided between the processor and a device: every border, where the cache lies, how many
// layers are chosen, and what happens when memory ends after all. The devices are host_simt ones
// and the tests' own driver, whose kernels can reach nothing but its memory.

#include "engine/model/placement.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/error.h"
#include "engine/model/model_runner.h"
#include "tests/kernels/gpu/fake_driver.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::engine {
namespace {

using kernels::gpu::begin_fake_driver;
using kernels::gpu::FakeDriver;
using kernels::gpu::FakeForm;

std::vector<std::unique_ptr<kernels::Device>> open_fakes() {
  std::vector<std::unique_ptr<kernels::Device>> devices;
  for (int i = 0; i < std::max(kernels::gpu::fake_driver().n_devices, 1); ++i)
    devices.push_back(kernels::gpu::open_fake_device(i));
  return devices;
}

RunnerOptions small_options(const std::string& device, int n_gpu_layers) {
  RunnerOptions options;
  options.device = device;
  options.n_gpu_layers = n_gpu_layers;
  options.n_threads = 2;
  options.n_ctx = 128;
  options.n_sequences = 2;
  options.n_batch = 32;
  options.kv_dtype = gguf::DType::kF32;
  return options;
}

RunnerOptions fake_options(int n_gpu_layers) {
  RunnerOptions options = small_options("cpu", n_gpu_layers);
  options.open_devices = open_fakes;
  return options;
}

std::unique_ptr<ModelRunner> open_runner(const std::string& path, const RunnerOptions& options) {
  return ModelRunner::open(gguf::GgufFile::open(path), options);
}

// A prompt in two chunks, the first of which wants no logits, then greedy text, in one of two
// sequences; the other one is read too, so that its keys lie between.
std::vector<int32_t> write_text(ModelRunner& runner) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 20; ++i) ids.push_back((i * 31 + 7) % 97);
  size_t n_read = 0;
  const auto read = [&](int32_t sequence, size_t n, bool wants_logits) {
    std::vector<BatchToken> batch;
    for (size_t i = 0; i < n; ++i)
      batch.push_back({ids[n_read + i], sequence, static_cast<int32_t>(n_read + i),
                       wants_logits && i + 1 == n, n > 1});
    REQUIRE(runner.reserve(sequence, static_cast<int64_t>(n_read + n)));
    REQUIRE(runner.forward(batch));
  };
  read(0, 9, false);
  read(1, 9, false);
  n_read = 9;
  read(1, 11, true);
  n_read = 20;
  while (ids.size() < 44) {
    const auto row = runner.logits(0);
    ids.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    read(1, 1, true);
    ++n_read;
  }
  return ids;
}

std::vector<float> hidden_of(ModelRunner& runner) {
  REQUIRE(runner.reserve(0, 3));
  const std::vector<BatchToken> batch = {
      {5, 0, 0, false, true}, {6, 0, 1, true, true}, {7, 0, 2, true, true}};
  REQUIRE(runner.forward_hidden(batch));
  std::vector<float> values(runner.hidden(0).begin(), runner.hidden(0).end());
  values.insert(values.end(), runner.hidden(1).begin(), runner.hidden(1).end());
  return values;
}

int places_of(const std::string& path) {
  return static_cast<int>(open_runner(path, small_options("reference", -1))->n_places());
}

}  // namespace

TEST_CASE("Placement_WritesTheSameTextWhereverTheBorderIs") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  for (const auto& row : architectures()) {
    tests::write_tiny_model(row.name, {.seed = 21}, path);
    const std::vector<int32_t> expected =
        write_text(*open_runner(path, small_options("reference", -1)));
    const int n_places = places_of(path);
    REQUIRE(n_places >= 3);
    for (const std::string device : {"host_simt32", "host_simt64"}) {
      if (tests::is_left_out(device)) continue;
      for (int n = 0; n <= n_places; ++n) {
        INFO(row.name << ": " << n << " of " << n_places << " on " << device);
        const auto runner = open_runner(path, small_options(device, n));
        CHECK(runner->n_device_layers() == n);
        CHECK(write_text(*runner) == expected);
        const uint64_t all_bytes = runner->weight_bytes() + runner->kv_bytes();
        CHECK((runner->device_bytes() == 0) == (n == 0));
        CHECK((runner->device_bytes() == all_bytes) == (n == n_places));
      }
    }
  }
}

TEST_CASE("Placement_HiddenStatesAreTheSameWhereverTheBorderIs") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("gemma3", {.seed = 4}, path);
  const std::vector<float> expected = hidden_of(*open_runner(path, small_options("cpu", -1)));
  for (int n = 0; n <= places_of(path); ++n) {
    INFO(n);
    const std::vector<float> got = hidden_of(*open_runner(path, small_options("host_simt32", n)));
    REQUIRE(got.size() == expected.size());
    float worst = 0;
    for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
    CHECK(worst < 1e-4f);
  }
}

TEST_CASE("Placement_TheKernelsOfADeviceReachOnlyItsMemory") {
  const auto [form, wave_size] =
      GENERATE(std::pair{FakeForm::kCuda, 32}, std::pair{FakeForm::kHip, 64});
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("qwen3", {.seed = 8}, path);
  const std::vector<int32_t> expected = write_text(*open_runner(path, small_options("cpu", 0)));
  const int n_places = places_of(path);
  for (int n = 0; n <= n_places; ++n) {
    INFO(n << " of " << n_places);
    FakeDriver& fake = begin_fake_driver(form, wave_size);
    {
      const auto runner = open_runner(path, fake_options(n));
      CHECK(write_text(*runner) == expected);
      CHECK((fake.n_launches > 0) == (n > 0));
      // Nothing on it: its driver holds nothing either.
      CHECK((fake.allocated_bytes >= runner->device_bytes()));
      CHECK(fake.has_leaks() == (n > 0));
    }
    CHECK(fake.misuse == "");
    CHECK_FALSE(fake.has_leaks());
  }
}

TEST_CASE("Placement_TakesAsManyLayersAsFit") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3}, path);
  const std::vector<int32_t> expected = write_text(*open_runner(path, small_options("cpu", 0)));
  FakeDriver* fake = &begin_fake_driver();
  const auto whole = open_runner(path, fake_options(-1));
  const auto n_places = whole->n_places();
  CHECK(whole->n_device_layers() == n_places);
  const size_t enough = fake->allocated_bytes;
  int64_t before = n_places + 1;
  std::vector<int64_t> seen;
  for (size_t memory_bytes = enough * 4; memory_bytes > 1000; memory_bytes = memory_bytes * 4 / 5) {
    fake = &begin_fake_driver();
    fake->memory_bytes = memory_bytes;
    const auto runner = open_runner(path, fake_options(-1));
    INFO(memory_bytes << " bytes: " << runner->n_device_layers() << " layers");
    CHECK(runner->n_device_layers() <= before);  // never more for less
    before = runner->n_device_layers();
    if (seen.empty() || seen.back() != before) seen.push_back(before);
    CHECK(write_text(*runner) == expected);  // the first step takes memory too
    CHECK(fake->allocated_bytes <= memory_bytes);
  }
  CHECK(seen.front() == n_places);
  CHECK(seen.back() == 0);
  CHECK(seen.size() > 2);  // and some in between

  // What is to be left to others counts as taken.
  fake = &begin_fake_driver();
  RunnerOptions options = fake_options(-1);
  options.gpu_spare_bytes = fake->memory_bytes - 1000;
  CHECK(open_runner(path, options)->n_device_layers() == 0);
  options.n_gpu_layers = 2;  // asked for by number: then no estimate decides
  CHECK(open_runner(path, options)->n_device_layers() == 2);
}

TEST_CASE("Placement_TriesFewerLayersWhenMemoryEndsAfterAll") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3}, path);
  const std::vector<int32_t> expected = write_text(*open_runner(path, small_options("cpu", 0)));
  const int n_places = places_of(path);
  // Each allocation in turn, once: the device is asked again, with fewer layers.
  for (int nth = 1;; ++nth) {
    FakeDriver& fake = begin_fake_driver();
    fake.fails_function = "allocate_managed";
    fake.fails_at = nth;
    fake.fails_with = kernels::gpu::kOutOfMemory;
    const auto runner = open_runner(path, fake_options(n_places));
    if (fake.n_calls_of_failing_function < nth) break;
    INFO(nth);
    CHECK(runner->n_device_layers() == fewer_layers(n_places));
    fake.fails_function = "";
    CHECK(write_text(*runner) == expected);
    CHECK(fake.misuse == "");
    REQUIRE(nth < 20);
  }
  // Always: the processor does all, and the device is given back.
  FakeDriver& fake = begin_fake_driver();
  fake.memory_bytes = 64;
  const auto runner = open_runner(path, fake_options(n_places));
  CHECK(runner->n_device_layers() == 0);
  CHECK_FALSE(fake.has_leaks());
  CHECK(write_text(*runner) == expected);
}

// Several devices of a model, which has four places: three layers and the logits.
namespace {

// What each of two devices has and has done.
struct Two {
  explicit Two(FakeForm form = FakeForm::kCuda, int wave_size = 32)
      : fake(begin_fake_driver(form, wave_size)) {
    fake.n_devices = 2;
  }
  size_t held(int device) const { return fake.devices[device].allocated_bytes; }
  bool has_run(int device) const { return fake.devices[device].n_launches > 0; }

  FakeDriver& fake;
};

struct TwoDevices {
  tests::TempDir folder;
  std::string path = folder.file("tiny.gguf");
  std::vector<int32_t> expected;
  size_t whole_bytes = 0;  // what the model takes on one device once it has run

  explicit TwoDevices(const char* architecture = "llama") {
    tests::write_tiny_model(architecture, {.seed = 3}, path);
    expected = write_text(*open_runner(path, small_options("cpu", 0)));
    const Two two;
    const auto runner = open_runner(path, fake_options(-1));
    CHECK(write_text(*runner) == expected);
    CHECK(two.held(1) == 0);
    whole_bytes = two.held(0);
  }
};

}  // namespace

TEST_CASE("Placement_OneOfTwoDevicesTakesAModelThatFitsThere") {
  const TwoDevices model;
  const auto [form, wave_size] =
      GENERATE(std::pair{FakeForm::kCuda, 32}, std::pair{FakeForm::kHip, 64});
  const int free_one = GENERATE(0, 1);
  Two two(form, wave_size);
  two.fake.devices[1 - free_one].taken_bytes = 1000;  // it has less room
  {
    const auto runner = open_runner(model.path, fake_options(-1));
    CHECK(runner->n_device_layers() == runner->n_places());
    CHECK(two.held(1 - free_one) == 0);
    if (form == FakeForm::kCuda) CHECK(two.fake.n_contexts == 1);  // the other is given back
    CHECK(two.fake.n_streams == 1);
    CHECK(write_text(*runner) == model.expected);
    CHECK(two.has_run(free_one));
    CHECK_FALSE(two.has_run(1 - free_one));
  }
  CHECK(two.fake.misuse == "");
  CHECK_FALSE(two.fake.has_leaks());
}

TEST_CASE("Placement_WhatDoesNotFitOneDeviceIsSpreadOverAll") {
  const auto& row = GENERATE(from_range(architectures().begin(), architectures().end()));
  const TwoDevices model(row.name);
  INFO(row.name);
  Two two;
  two.fake.memory_bytes = model.whole_bytes * 9 / 10;
  {
    const auto runner = open_runner(model.path, fake_options(-1));
    CHECK(runner->n_device_layers() == runner->n_places());
    CHECK(runner->device_bytes() == runner->weight_bytes() + runner->kv_bytes());
    for (const int device : {0, 1}) CHECK(two.held(device) > model.whole_bytes / 5);
    // Each kernel has reached memory of its own device alone, or this would be misuse.
    CHECK(write_text(*runner) == model.expected);
    for (const int device : {0, 1}) CHECK(two.has_run(device));
  }
  CHECK(two.fake.misuse == "");
  CHECK_FALSE(two.fake.has_leaks());
}

TEST_CASE("Placement_TwoDevicesAndTheProcessorShareWhatFitsNeither") {
  const TwoDevices model;
  int64_t before = 5;
  std::vector<int64_t> seen;
  bool have_all_three = false;
  for (const size_t percent : {100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 1}) {
    Two two(FakeForm::kHip, 32);
    two.fake.memory_bytes = model.whole_bytes * percent / 100;
    two.fake.devices[1].taken_bytes = two.fake.memory_bytes / 4;
    const auto runner = open_runner(model.path, fake_options(-1));
    INFO(percent << " %: " << runner->n_device_layers() << " layers");
    CHECK(runner->n_device_layers() <= before);  // never more for less
    CHECK(write_text(*runner) == model.expected);
    CHECK(two.fake.misuse == "");
    CHECK(two.held(0) <= two.fake.memory_bytes);
    CHECK(two.held(1) <= two.fake.memory_bytes * 3 / 4);
    have_all_three |= two.has_run(0) && two.has_run(1) && runner->n_device_layers() < 4;
    if (seen.empty() || seen.back() != runner->n_device_layers())
      seen.push_back(runner->n_device_layers());
    before = runner->n_device_layers();
  }
  CHECK(have_all_three);
  CHECK(seen.front() == 4);
  CHECK(seen.back() == 0);
  CHECK(seen.size() > 2);
}

TEST_CASE("Placement_LayersAskedForByNumberAreOnDevicesWhateverTheyHaveFree") {
  const TwoDevices model;
  for (const int n : {0, 1, 2, 3, 4}) {
    INFO(n);
    Two two;
    RunnerOptions options = fake_options(n);
    options.gpu_spare_bytes = two.fake.memory_bytes - 1000;  // no room is left, as far as is known
    const auto runner = open_runner(model.path, options);
    CHECK(runner->n_device_layers() == n);
    CHECK(write_text(*runner) == model.expected);
    CHECK((two.held(0) > 0 && two.held(1) > 0) == (n > 1));
    CHECK(two.fake.misuse == "");
  }
}

TEST_CASE("Placement_MainGpuIsTheOneDeviceToTake") {
  const TwoDevices model;
  for (const int main_gpu : {0, 1, 2}) {
    INFO(main_gpu);
    Two two;
    two.fake.memory_bytes = model.whole_bytes * 9 / 10;
    RunnerOptions options = fake_options(-1);
    options.main_gpu = main_gpu;
    const auto runner = open_runner(model.path, options);
    CHECK(write_text(*runner) == model.expected);
    const bool is_one = main_gpu < 2;  // there is no third: as if it were not said
    CHECK((runner->n_device_layers() < runner->n_places()) == is_one);
    CHECK(two.has_run(0) == (main_gpu != 1));
    CHECK(two.has_run(1) == (main_gpu != 0));
  }
}

TEST_CASE("Placement_TriesFewerLayersWhenMemoryOfOneOfTwoDevicesEndsAfterAll") {
  const TwoDevices model;
  for (int nth = 1;; ++nth) {
    Two two;
    two.fake.memory_bytes = model.whole_bytes * 9 / 10;
    two.fake.fails_function = "allocate_managed";
    two.fake.fails_at = nth;
    two.fake.fails_with = kernels::gpu::kOutOfMemory;
    const auto runner = open_runner(model.path, fake_options(-1));
    if (two.fake.n_calls_of_failing_function < nth) break;
    INFO(nth);
    CHECK(runner->n_device_layers() == fewer_layers(runner->n_places()));
    two.fake.fails_function = "";
    CHECK(write_text(*runner) == model.expected);
    CHECK(two.fake.misuse == "");
    REQUIRE(nth < 20);
  }
}

TEST_CASE("Placement_ADeviceThatCannotBeOpenedIsAnErrorOnlyWhereItIsAskedFor") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3}, path);
  begin_fake_driver().n_devices = 0;
  RunnerOptions options = fake_options(-1);
  CHECK_THROWS_AS(open_runner(path, options), kernels::DeviceError);
  options.is_device_required = false;
  CHECK(open_runner(path, options)->n_device_layers() == 0);
}

TEST_CASE("Placement_AFaultLosesAStepAndNoMemory") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3}, path);
  const std::vector<int32_t> expected = write_text(*open_runner(path, small_options("cpu", 0)));
  FakeDriver& fake = begin_fake_driver();
  fake.has_graphs = false;
  const auto step = [](ModelRunner& runner) {
    const std::vector<BatchToken> batch = {{1, 0, 0, true, true}};
    REQUIRE(runner.reserve(0, 1));
    return runner.forward(batch);
  };
  {
    const auto runner = open_runner(path, fake_options(2));
    CHECK(step(*runner));
    runner->truncate(0, 0);
    const size_t allocated_bytes = fake.allocated_bytes;
    // A launch that fails: every launch of a step in turn. (Without graphs: while one is recorded
    // that is no fault.)
    fake.fails_function = "launch";
    fake.fails_with = 1;
    int n_faults = 0;
    for (int nth = 1;; ++nth) {
      fake.n_calls_of_failing_function = 0;
      fake.fails_at = nth;
      bool has_failed = false;
      try {
        step(*runner);
      } catch (const kernels::DeviceError& error) {
        has_failed = true;
        CHECK_THAT(error.what(), Catch::StartsWith("cuda: launch "));
      }
      runner->truncate(0, 0);
      CHECK(fake.allocated_bytes == allocated_bytes);
      if (!has_failed) break;
      ++n_faults;
    }
    CHECK(n_faults > 5);
    fake.fails_function = "";
    CHECK(write_text(*runner) == expected);  // and the next request is answered

    // A device that is lost answers nothing more, and lets go of what it had.
    const int n_so_far = fake.n_launches;
    fake.faults_at_launch = n_so_far + 3;
    runner->truncate(0, 0);
    CHECK_THROWS_AS(step(*runner), kernels::DeviceError);
    CHECK_THROWS_AS(step(*runner), kernels::DeviceError);
  }
  CHECK_FALSE(fake.has_leaks());
  CHECK(fake.misuse == "");
}

// With the number of layers given, no estimate has looked at it: the load itself has to notice.
TEST_CASE("Placement_AStepTakesNoMemoryThatTheLoadHasNotTaken") {
  const auto [form, wave_size] =
      GENERATE(std::pair{FakeForm::kCuda, 32}, std::pair{FakeForm::kHip, 64});
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("llama", {.seed = 3}, path);
  const std::vector<int32_t> expected = write_text(*open_runner(path, small_options("cpu", 0)));
  const int n_places = places_of(path);
  FakeDriver* fake = &begin_fake_driver(form, wave_size);
  size_t needed_bytes = 0;
  {
    const auto runner = open_runner(path, fake_options(n_places));
    needed_bytes = fake->allocated_bytes;
    CHECK(write_text(*runner) == expected);
    CHECK(fake->allocated_bytes == needed_bytes);
  }
  // Whichever of its allocations is the one too many.
  for (const size_t n_missing : {size_t{1}, size_t{1000}, needed_bytes / 2}) {
    fake = &begin_fake_driver(form, wave_size);
    fake->memory_bytes = needed_bytes - n_missing;
    const auto runner = open_runner(path, fake_options(n_places));
    CHECK(runner->n_device_layers() < n_places);
    CHECK(write_text(*runner) == expected);
    CHECK(fake->allocated_bytes <= fake->memory_bytes);
    CHECK(fake->misuse == "");
  }
}

TEST_CASE("Placement_AModelOfEmbeddingsTakesTheMemoryOfItsStepsAtLoad") {
  const tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  tests::write_tiny_model("gemma3", {.seed = 4}, path);
  const std::vector<float> expected = hidden_of(*open_runner(path, small_options("cpu", 0)));
  const int n_places = places_of(path);
  FakeDriver* fake = &begin_fake_driver();
  RunnerOptions options = fake_options(n_places);
  options.makes_embeddings = true;
  size_t needed_bytes = 0;
  {
    const auto runner = open_runner(path, options);
    needed_bytes = fake->allocated_bytes;
    hidden_of(*runner);
    CHECK(fake->allocated_bytes == needed_bytes);
  }
  fake = &begin_fake_driver();
  fake->memory_bytes = needed_bytes - 1;
  {
    const auto runner = open_runner(path, options);
    CHECK(runner->n_device_layers() < n_places);
    const std::vector<float> got = hidden_of(*runner);
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) < 1e-4f);
    CHECK(fake->allocated_bytes <= fake->memory_bytes);
  }
  // What is said before any memory is taken holds it too.
  uint64_t said_bytes[2] = {};
  for (const bool makes_embeddings : {false, true}) {
    RunnerOptions of_cpu = small_options("cpu", 0);
    of_cpu.makes_embeddings = makes_embeddings;
    of_cpu.on_need = [&](const MemoryNeed& need) { said_bytes[makes_embeddings] = need.scratch_bytes; };
    const auto runner = open_runner(path, of_cpu);
    CHECK(runner->scratch_bytes() <= said_bytes[makes_embeddings]);
    const uint64_t taken_bytes = runner->scratch_bytes();
    hidden_of(*runner);
    if (makes_embeddings) CHECK(runner->scratch_bytes() == taken_bytes);
  }
  CHECK(said_bytes[true] > said_bytes[false]);
}

}  // namespace olx::engine
