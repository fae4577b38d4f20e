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

// Steps of so few tokens have a plan of their own where a device makes them of fewer launches
// (fuse.h). Kernels for them read the weights once for all of these.
inline constexpr int64_t kFewTokens = 8;

class StagedPlan {
 public:
  struct Stage {
    kernels::Device* device = nullptr;
    const WeightStore* weights = nullptr;  // of its part of the graph
  };
  // parts: of split_graph(), as many as stages; the cache has the layers of each on its device. All
  // outlive the plan. lender: as Plan's, of the same stages. Throws as Plan does, and
  // EngineError(kUnsupported) for a device whose memory the CPU cannot address.
  StagedPlan(std::span<const Graph> parts, std::span<const Stage> stages, const KvCache& cache,
             const Plan::Limits& limits, const StagedPlan* lender = nullptr);

  // As Plan's.
  bool execute(const Plan::Step& step, const std::atomic<bool>* cancel, FileMatmuls* matmuls = nullptr);
  float* output(int64_t i) const { return of_step()[output_plan_]->output(i); }
  int64_t n_candidates_max() const { return plans_[output_plan_]->n_candidates_max(); }
  CandidateRow candidates(int64_t i) const { return of_step()[output_plan_]->candidates(i); }

  // Whether nodes other than matmuls read what the graph has as weights of matmuls (fuse.h).
  bool is_fused() const;
  uint64_t scratch_bytes(size_t stage) const;  // of its own
  std::string describe() const;  // a line says which stage it is of where there are several

 private:
  struct Crossing {
    size_t from;
    size_t to;
    int value;
  };
  const std::vector<Plan*>& of_step() const { return is_few_ ? few_ : many_; }

  std::vector<std::unique_ptr<Plan>> plans_;      // for steps of any size, by stage
  std::vector<std::unique_ptr<Plan>> few_plans_;  // for few tokens; nullptr where that is the same
  std::vector<Plan*> many_, few_;                 // what runs, by stage
  bool is_few_ = false;                           // the last step was
  std::vector<Crossing> crossings_;               // in the order of their stages
  size_t output_plan_ = 0;
};

}  // namespace olx::engine
