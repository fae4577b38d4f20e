#include "engine/graph/staged_plan.h"

#include <algorithm>

#include "gguf/check.h"

namespace olx::engine {

StagedPlan::StagedPlan(std::span<const Graph> parts, std::span<const Stage> stages,
                       const KvCache& cache, const Plan::Limits& limits, const StagedPlan* lender) {
  OLX_CHECK(!parts.empty() && parts.size() == stages.size());
  Plan::Limits few_limits = limits;
  few_limits.n_tokens = std::min(limits.n_tokens, kFewTokens);
  few_limits.n_outputs = std::min(limits.n_outputs, kFewTokens);
  for (size_t i = 0; i < parts.size(); ++i) {
    Plan* lends = lender != nullptr ? lender->plans_[i].get() : nullptr;
    const auto make = [&](const Plan::Limits& of, Plan* from) {
      return std::make_unique<Plan>(*stages[i].device, parts[i], *stages[i].weights, cache, of,
                                    from);
    };
    plans_.push_back(make(limits, lends));
    many_.push_back(plans_[i].get());
    // Of the same memory: only one of the two runs.
    std::unique_ptr<Plan> few = make(few_limits, plans_[i].get());
    if (few->n_fused() <= plans_[i]->n_fused()) few.reset();
    few_.push_back(few ? few.get() : plans_[i].get());
    few_plans_.push_back(std::move(few));
    if (parts[i].output != kNoValue) output_plan_ = i;
    for (const int value : parts[i].inputs) {
      // The nearest stage before that has it: what made it, or was given it and may have changed
      // it.
      size_t from = i;
      const auto has = [&](const std::vector<int>& values) {
        return std::find(values.begin(), values.end(), value) != values.end();
      };
      do {
        OLX_CHECK(from > 0);
        --from;
      } while (!has(parts[from].kept));
      crossings_.push_back({.from = from, .to = i, .value = value});
    }
  }
}

bool StagedPlan::execute(const Plan::Step& step, const std::atomic<bool>* cancel, FileMatmuls* matmuls) {
  is_few_ = static_cast<int64_t>(step.ids.size()) <= kFewTokens;
  const std::vector<Plan*>& plans = of_step();
  for (size_t i = 0; i < plans.size(); ++i) {
    Plan& plan = *plans[i];
    if (!plan.begin(step)) continue;
    for (const Crossing& crossing : crossings_)
      if (crossing.to == i) plan.take(*plans[crossing.from], crossing.value);
    if (!plan.run(cancel, matmuls)) return false;
  }
  return true;
}

bool StagedPlan::is_fused() const {
  const auto is_fused = [](const auto& plan) { return plan && plan->n_fused() > 0; };
  return std::any_of(plans_.begin(), plans_.end(), is_fused) || std::any_of(few_plans_.begin(), few_plans_.end(), is_fused);
}

uint64_t StagedPlan::scratch_bytes(size_t stage) const {
  return plans_[stage]->scratch_bytes() +
         (few_plans_[stage] ? few_plans_[stage]->scratch_bytes() : 0);
}

std::string StagedPlan::describe() const {
  std::string text;
  for (size_t i = 0; i < plans_.size(); ++i) {
    if (plans_.size() > 1) text += "on " + plans_[i]->device_name() + "\n";
    text += plans_[i]->describe();
    if (few_plans_[i])
      text += "steps of at most " + std::to_string(kFewTokens) + " tokens\n" +
              few_plans_[i]->describe();
  }
  return text;
}

}  // namespace olx::engine
