// Plans on a device that takes every liberty NodeOrder gives it: threads that never wait inside a group.

#include "engine/graph/plan.h"

#include <cstring>
#include <memory>
#include <vector>

#include "engine/arch/architecture.h"
#include "tests/support/built_network.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace {

using namespace olx::kernels;
using namespace olx::engine;

// Runs reference kernels as three threads would, in the order that tells most: the last thread does its share of all
// nodes of a group before the first begins.
class EagerDevice final : public Device {
 public:
  explicit EagerDevice(bool is_eager) : is_eager_(is_eager), inner_(find_backend("reference")->open({})) {}
  const DeviceInfo& info() const override { return inner_->info(); }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override { return inner_->allocate(size_bytes); }
  void sync() override {}
  void parallel(void (*fn)(void*, int, int), void* context) override { fn(context, 0, 1); }

  bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>*) override {
    constexpr int64_t kThreads = 3;
    for (size_t begin = 0; begin < nodes.size();) {
      size_t end = begin + 1;
      while (is_eager_ && end < nodes.size() && nodes[end].order != NodeOrder::kAfterAll) ++end;
      for (int64_t thread = kThreads - 1; thread >= 0; --thread) {
        for (size_t i = begin; i < end; ++i) {
          const int64_t n = n_work_units(nodes[i].kernel->op, nodes[i].args);
          nodes[i].kernel->run(nodes[i].args, {n * thread / kThreads, n * (thread + 1) / kThreads});
        }
      }
      ++n_barriers;
      begin = end;
    }
    return true;
  }
  int n_barriers = 0;

 private:
  bool is_eager_;
  std::unique_ptr<Device> inner_;
};

std::vector<float> run(const olx::gguf::GgufFile& file, EagerDevice& device, int n_tokens) {
  olx::tests::BuiltNetwork network(file, device, olx::gguf::DType::kF32);
  REQUIRE(network.cache.reserve(0, n_tokens));
  std::vector<int32_t> ids;
  std::vector<TokenSlot> slots;
  for (int i = 0; i < n_tokens; ++i) {
    ids.push_back((i * 13 + 5) % 97);
    slots.push_back({0, i});
  }
  const std::vector<int32_t> outputs{n_tokens / 2, n_tokens - 1};
  REQUIRE(network.plan->execute({.ids = ids, .slots = slots, .outputs = outputs}, nullptr));
  std::vector<float> logits;
  for (int64_t i = 0; i < 2; ++i) {
    logits.insert(logits.end(), network.plan->output(i), network.plan->output(i) + network.config.vocab_size);
  }
  return logits;
}

}  // namespace

TEST_CASE("Plan_GivesTheSameResultWhereNothingWaitsThatNeedNot") {
  const olx::tests::TempDir folder;
  for (const auto& row : architectures()) {
    INFO(row.name);
    const std::string path = folder.file("tiny.gguf");
    olx::tests::write_tiny_model(row.name, {.seed = 21}, path);
    const auto file = olx::gguf::GgufFile::open(path);
    for (const int n_tokens : {2, 16}) {
      EagerDevice patient(false);
      EagerDevice eager(true);
      const std::vector<float> expected = run(file, patient, n_tokens);
      const std::vector<float> got = run(file, eager, n_tokens);
      CHECK(std::memcmp(expected.data(), got.data(), expected.size() * sizeof(float)) == 0);
      CHECK(eager.n_barriers * 3 < patient.n_barriers * 2);  // a third of the barriers is gone
    }
  }
}

TEST_CASE("Plan_NamesTheOpTypeAndDeviceThatLackAKernel") {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model("llama", {}, path);
  const auto file = olx::gguf::GgufFile::open(path);
  class NoKernels final : public Device {
   public:
    NoKernels() { info_.backend = info_.name = "toaster"; }
    const DeviceInfo& info() const override { return info_; }
    std::unique_ptr<Buffer> allocate(size_t) override { return nullptr; }
    bool execute(std::span<const BoundNode>, const std::atomic<bool>*) override { return false; }
    void sync() override {}
    void parallel(void (*)(void*, int, int), void*) override {}

   private:
    DeviceInfo info_;
  } device;
  const ModelConfig config = read_model_config(file);
  const Architecture& architecture = *find_architecture(config.architecture);
  const WeightTable table(file, architecture, config);
  GraphBuilder builder(config, table);
  architecture.build(config, builder);
  const Graph graph = builder.take();
  try {
    WeightStore weights(graph, table, device, 16);
    FAIL("found a kernel");
  } catch (const EngineError& error) {
    CHECK(error.code() == ErrorCode::kUnsupported);
    CHECK(std::string(error.what()) == "no kernel for matmul of F32 on toaster (toaster)");
  }
}
