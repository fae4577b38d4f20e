#include "kernels/gpu/step_graphs.h"

#include <algorithm>
#include <cstring>

namespace olx::kernels::gpu {
namespace {

bool is_set(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load(std::memory_order_relaxed);
}

}  // namespace

bool Launch::operator==(const Launch& other) const {
  return function == other.function && n_blocks == other.n_blocks && n_threads == other.n_threads &&
         range.from == other.range.from && range.to == other.range.to &&
         args_bytes == other.args_bytes &&
         std::memcmp(args.bytes.data(), other.args.bytes.data(), args_bytes) == 0;
}

StepGraphs::Entry* StepGraphs::find(std::span<const Launch> step) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return std::equal(entry.step.begin(), entry.step.end(), step.begin(), step.end());
  });
  if (found == entries_.end()) return nullptr;
  found->last_use = ++n_steps_;
  return &*found;
}

// In the place of the step that was used longest ago.
void StepGraphs::remember(std::span<const Launch> step) {
  if (entries_.size() < kMaxSteps) entries_.emplace_back();
  Entry& entry =
      *std::min_element(entries_.begin(), entries_.end(),
                        [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
  forget(entry);
  entry.step.assign(step.begin(), step.end());
  entry.last_use = ++n_steps_;
}

void StepGraphs::forget(Entry& entry) {
  if (entry.executable != nullptr) api_.destroy_executable(entry.executable);
  entry.executable = nullptr;
}

void StepGraphs::turn_off() {
  is_off_ = true;
  for (Entry& entry : entries_) forget(entry);
  entries_.clear();
}

Result StepGraphs::start(const Launch& launch) const {
  void* parameters[] = {const_cast<std::byte*>(launch.args.bytes.data()),
                        const_cast<RowRange*>(&launch.range)};  // which the driver copies
  return api_.launch(launch.function, launch.n_blocks, 1, 1, launch.n_threads, 1, 1, 0, stream_,
                     parameters, nullptr);
}

// Records the launches, which runs none of them. False: it cannot be done.
bool StepGraphs::make(Entry& entry) {
  if (api_.begin_capture(stream_, kCaptureThreadLocal) != kSuccess) return false;
  const bool is_recorded =
      std::all_of(entry.step.begin(), entry.step.end(),
                  [&](const Launch& launch) { return start(launch) == kSuccess; });
  Handle graph = nullptr;  // the stream is one that runs again, whatever this returns
  const bool is_ended = api_.end_capture(stream_, &graph) == kSuccess && graph != nullptr;
  const bool is_made =
      is_recorded && is_ended && api_.instantiate_graph(&entry.executable, graph, 0) == kSuccess;
  if (!is_made) entry.executable = nullptr;
  if (graph != nullptr) api_.destroy_graph(graph);
  return is_made;
}

bool StepGraphs::run(std::span<const Launch> step, const std::atomic<bool>* cancel) {
  if (!is_off_) {
    Entry* entry = find(step);
    if (entry == nullptr) {
      remember(step);
    } else if (entry->executable == nullptr && !make(*entry)) {
      turn_off();
    } else {
      if (is_set(cancel)) return false;
      const Result result = api_.launch_graph(entry->executable, stream_);
      if (result != kSuccess) turn_off();  // another step may go without
      check(api_, result, api_.launch_graph.name);
      return true;
    }
  }
  for (const Launch& launch : step) {
    if (is_set(cancel)) return false;
    check(api_, start(launch), std::string(api_.launch.name) + " " + launch.name);
  }
  return true;
}

}  // namespace olx::kernels::gpu
