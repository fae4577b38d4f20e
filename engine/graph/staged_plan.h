#pragma once
// StagedPlan: a network on one device after another: a Plan for the layers of each, and the values
// that cross a border copied from one to the next. With one stage it is that plan and nothing more.
// Used by ModelRunner.

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/graph/plan.h"

namespace olx::engine {

class StagedPlan {
 public:
  struct Stage {
    kernels::Device* device = nullptr;
    const WeightStore* weights = nullptr;  // of its part of the graph
  };
  // parts: of split_graph(), as many as stages; the cache has the layers of each on its device. All
  // outlive the plan. Throws as Plan does, and EngineError(kUnsupported) for a device whose memory
  // the CPU cannot address.
  StagedPlan(std::span<const Graph> parts, std::span<const Stage> stages, const KvCache& cache,
             const Plan::Limits& limits);

  // As Plan's.
  bool execute(const Plan::Step& step, const std::atomic<bool>* cancel);
  float* output(int64_t i) const { return plans_[output_plan_]->output(i); }

  uint64_t scratch_bytes(size_t stage) const { return plans_[stage]->scratch_bytes(); }
  std::string describe() const;  // a line says which stage it is of where there are several

 private:
  struct Crossing {
    size_t from;
    size_t to;
    int value;
  };
  std::vector<std::unique_ptr<Plan>> plans_;
  std::vector<Crossing> crossings_;  // in the order of their stages
  size_t output_plan_ = 0;
};

}  // namespace olx::engine
