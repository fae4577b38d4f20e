// The CPU device's execute(): plans of made-up kernels, with more threads than processors, against serial runs.

#include <sched.h>

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "kernels/api/args.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"
#include "tests/support/catch.h"

namespace olx::kernels {
namespace {

// y[u] = mix(y[u], a[source(u)]), with a cost; an AddArgs in front gives the device the number of units.
struct Step {
  AddArgs add;  // only y.n_rows is set
  std::vector<uint32_t>* to = nullptr;
  const std::vector<uint32_t>* from = nullptr;
  int64_t shift = 0;  // unit u reads from[(u + shift) % size]
  std::atomic<bool>* cancel = nullptr;
};

void run_step(const void* args, RowRange range) {
  const Step& step = *static_cast<const Step*>(args);
  const auto size = static_cast<int64_t>(step.from->size());
  for (int64_t u = range.from; u < range.to; ++u) {
    const uint32_t read = (*step.from)[static_cast<size_t>((u + step.shift) % size)];
    uint32_t& value = (*step.to)[static_cast<size_t>(u)];
    value = (value ^ read) * 2654435761u + static_cast<uint32_t>(u);
  }
  if (step.cancel != nullptr && range.from == 0) *step.cancel = true;
}

const KernelRow kStepRow{.op = Op::kAdd, .backend = "cpu", .name = "step", .run = run_step};

std::unique_ptr<Device> cpu(int n_threads) { return find_backend("cpu")->open({.n_threads = n_threads}); }

// A plan over four vectors of 40 units: groups that cross units, independent nodes, chains unit by unit.
struct Plan {
  std::array<std::vector<uint32_t>, 4> vectors;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<BoundNode> nodes;

  Plan() {
    for (size_t i = 0; i < vectors.size(); ++i) vectors[i].assign(40, static_cast<uint32_t>(i) + 1);
  }
  void add(size_t to, size_t from, int64_t n_units, int64_t shift, NodeOrder order) {
    steps.push_back(std::make_unique<Step>());
    Step& step = *steps.back();
    step.add.y.n_rows = n_units;
    step.to = &vectors[to];
    step.from = &vectors[from];
    step.shift = shift;
    nodes.push_back({&kStepRow, &step, order});
  }
  void run_serially() {
    for (const auto& step : steps) run_step(step.get(), {0, step->add.rows()});
  }
};

void fill(Plan& plan, uint32_t seed, int n_groups) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t n) { return static_cast<int64_t>(random() % n); };
  for (int group = 0; group < n_groups; ++group) {
    const int64_t n_units = below(41);  // 0 too
    switch (below(4)) {
      case 0: plan.add(0, 1, n_units, below(40), NodeOrder::kAfterAll); break;
      case 1:  // three that touch nothing of each other but read the same
        plan.add(0, 3, n_units, below(40), NodeOrder::kAfterAll);
        plan.add(1, 3, below(41), below(40), NodeOrder::kIndependent);
        plan.add(2, 3, below(41), below(40), NodeOrder::kIndependent);
        break;
      case 2:  // a chain, and one beside it
        plan.add(1, 0, n_units, 0, NodeOrder::kAfterAll);
        plan.add(2, 1, n_units, 0, NodeOrder::kUnitByUnit);
        plan.add(0, 2, n_units, 0, NodeOrder::kUnitByUnit);
        plan.add(3, 3, below(41), 0, NodeOrder::kIndependent);
        break;
      default: plan.add(3, 0, 1, below(40), NodeOrder::kAfterAll); break;
    }
  }
}

TEST_CASE("CpuDevice_ManyTinyNodesGiveWhatASerialRunGives") {
  for (int n_threads = 1; n_threads <= 8; ++n_threads) {
    const auto device = cpu(n_threads);
    for (uint32_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(n_threads, seed);
      Plan serial, parallel;
      fill(serial, seed, 200);
      fill(parallel, seed, 200);
      for (int round = 0; round < 3; ++round) {
        serial.run_serially();
        REQUIRE(device->execute(parallel.nodes));
      }
      REQUIRE(parallel.vectors == serial.vectors);
    }
  }
}

TEST_CASE("CpuDevice_AGroupOfManyIndependentNodesIsCutWithoutLoss") {
  const auto device = cpu(4);
  std::vector<std::vector<uint32_t>> vectors(100, std::vector<uint32_t>(7, 5));
  const std::vector<uint32_t> source(7, 9);
  std::vector<Step> steps(vectors.size());
  std::vector<BoundNode> nodes;
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].add.y.n_rows = static_cast<int64_t>(i % 8);
    steps[i].to = &vectors[i];
    steps[i].from = &source;
    nodes.push_back({&kStepRow, &steps[i], i == 0 ? NodeOrder::kAfterAll : NodeOrder::kIndependent});
  }
  REQUIRE(device->execute(nodes));
  for (size_t i = 0; i < steps.size(); ++i) {
    std::vector<uint32_t> expected(7, 5);
    for (uint32_t u = 0; u < i % 8; ++u) expected[u] = (5u ^ 9u) * 2654435761u + u;
    CHECK(vectors[i] == expected);
  }
}

TEST_CASE("CpuDevice_CancelStopsBeforeTheNextGroup") {
  for (int n_threads : {1, 2, 5}) {
    CAPTURE(n_threads);
    const auto device = cpu(n_threads);
    std::atomic<bool> cancel = false;
    Plan plan, serial;
    for (int i = 0; i < 50; ++i) plan.add(0, 1, 40, 0, NodeOrder::kAfterAll);
    plan.steps[9]->cancel = &cancel;  // set while the tenth runs
    for (int i = 0; i < 10; ++i) serial.add(0, 1, 40, 0, NodeOrder::kAfterAll);
    serial.run_serially();
    CHECK_FALSE(device->execute(plan.nodes, &cancel));
    CHECK(plan.vectors == serial.vectors);
    CHECK_FALSE(device->execute(plan.nodes, &cancel));  // set before: nothing runs
    CHECK(plan.vectors == serial.vectors);
    cancel = false;
    plan.steps[9]->cancel = nullptr;
    CHECK(device->execute(plan.nodes, &cancel));
  }
}

TEST_CASE("CpuDevice_SaysWhenItTakesAllProcessors") {
  cpu_set_t allowed;
  REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  const int n = CPU_COUNT(&allowed);
  CHECK(cpu(n)->info().takes_all_processors);
  CHECK(cpu(n + 1)->info().takes_all_processors);
  if (n > 1) CHECK_FALSE(cpu(n - 1)->info().takes_all_processors);
}

TEST_CASE("CpuDevice_AnEmptyPlanIsDone") {
  CHECK(cpu(3)->execute({}));
}

// Matmul chunks begin where a packed panel begins.
TEST_CASE("CpuDevice_SharesOfAPackedWeightAreWholePanels") {
  struct Seen {
    MatmulArgs args;
    std::array<std::atomic<int>, 1000> n_times{};
    std::atomic<int> n_askew = 0;
  };
  static constexpr int64_t kMultiple = 16;
  const WeightLayout layout{.name = "test", .row_multiple = kMultiple};
  const KernelRow row{.op = Op::kMatmul, .backend = "cpu", .name = "seen", .layout = &layout,
                      .run = [](const void* args, RowRange range) {
                        Seen& seen = *const_cast<Seen*>(static_cast<const Seen*>(args));
                        if (range.from % kMultiple != 0) ++seen.n_askew;
                        for (int64_t u = range.from; u < range.to; ++u) ++seen.n_times[static_cast<size_t>(u)];
                      }};
  for (int n_threads = 1; n_threads <= 8; ++n_threads) {
    const auto device = cpu(n_threads);
    for (int64_t n_rows : {1, 15, 16, 17, 100, 999}) {
      CAPTURE(n_threads, n_rows);
      Seen seen;
      seen.args.w.n_rows = n_rows;
      seen.args.w.n_cols = 1 << 16;
      seen.args.y.n_rows = 4;
      const BoundNode node{&row, &seen, NodeOrder::kAfterAll};
      REQUIRE(device->execute({&node, 1}));
      CHECK(seen.n_askew == 0);
      for (int64_t u = 0; u < 1000; ++u) REQUIRE(seen.n_times[static_cast<size_t>(u)] == (u < n_rows ? 1 : 0));
    }
  }
}

TEST_CASE("CpuDevice_ParallelRunsEveryPartOnceAndAtTheSameTime") {
  for (int n_threads = 1; n_threads <= 8; ++n_threads) {
    CAPTURE(n_threads);
    const auto device = cpu(n_threads);
    struct Parts {
      std::array<std::atomic<int>, 8> n_times{};
      std::atomic<int> n_arrived = 0;
    } parts;
    device->parallel([](void* context, int part, int n_parts) {
      Parts& parts = *static_cast<Parts*>(context);
      ++parts.n_times[static_cast<size_t>(part)];
      ++parts.n_arrived;
      while (parts.n_arrived < n_parts) std::this_thread::yield();  // parts may wait for each other
    }, &parts);
    for (int part = 0; part < 8; ++part) CHECK(parts.n_times[static_cast<size_t>(part)] == (part < n_threads ? 1 : 0));
  }
}

}  // namespace
}  // namespace olx::kernels
