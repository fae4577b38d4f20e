#include "engine/graph/staged_plan.h"

#include <algorithm>

#include "gguf/check.h"

namespace olx::engine {

StagedPlan::StagedPlan(std::span<const Graph> parts, std::span<const Stage> stages,
                       const KvCache& cache, const Plan::Limits& limits) {
  OLX_CHECK(!parts.empty() && parts.size() == stages.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    plans_.push_back(
        std::make_unique<Plan>(*stages[i].device, parts[i], *stages[i].weights, cache, limits));
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

bool StagedPlan::execute(const Plan::Step& step, const std::atomic<bool>* cancel) {
  for (size_t i = 0; i < plans_.size(); ++i) {
    Plan& plan = *plans_[i];
    if (!plan.begin(step)) continue;
    for (const Crossing& crossing : crossings_)
      if (crossing.to == i) plan.take(*plans_[crossing.from], crossing.value);
    if (!plan.run(cancel)) return false;
  }
  return true;
}

std::string StagedPlan::describe() const {
  if (plans_.size() == 1) return plans_[0]->describe();
  std::string text;
  for (const auto& plan : plans_) text += "on " + plan->device_name() + "\n" + plan->describe();
  return text;
}

}  // namespace olx::engine
