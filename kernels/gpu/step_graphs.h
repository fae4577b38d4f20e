#pragma once
// Steps as graphs of the driver. Making a token starts hundreds of small kernels, and starting each
// costs the processor more than some take to run; a step that has come before is started by one
// call. Used by device.cpp.

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api/tensor_view.h"
#include "kernels/gpu/driver.h"
#include "kernels/simt/staging.h"

namespace olx::kernels::gpu {

// A kernel to be started: all that the driver is told of it.
struct Launch {
  Handle function = nullptr;
  const char* name = "";  // of the kernel
  unsigned n_blocks = 0;
  unsigned n_threads = 0;  // of a block
  size_t args_bytes = 0;   // of `args`; the rest of it is anything
  simt::StagedArgs args;
  RowRange range;

  bool operator==(const Launch& other) const;
};

// Enqueues steps. A graph holds copies of what the driver is told of its kernels and nothing else:
// token ids, positions, block tables and activations lie in the device's memory and are read when
// the kernels run. So it does what a step's own launches would do if and only if these are equal,
// and that is compared, to the last byte. A step that differs, in the number of tokens or of the
// splits of attention, is another graph. None is ever updated: hipGraphExecUpdate may report
// success and keep old arguments (https://github.com/ROCm/rocm-systems/pull/10714).
//
// A step is made a graph when it comes for the second time: one that comes once, as most of a
// prompt, would pay for nothing, and a driver that loads kernels at their first use may not do so
// while it records.
//
// Without these functions in the driver every kernel is started by itself, and so it is for good
// after one of them has failed: while a graph is made that is no error, for nothing was started.
class StepGraphs {
 public:
  static constexpr size_t kMaxSteps = 8;  // remembered, those used last

  // All of these outlive it.
  StepGraphs(const DriverApi& api, Handle stream) : api_(api), stream_(stream) {
    is_off_ = !api.has_graphs();
  }
  // As run().
  ~StepGraphs() { turn_off(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  void turn_off();
  // The stream is at rest and the context the thread's. False: `cancel`, which is looked at before
  // whatever is started, became true; kernels may have been started before. Throws DeviceError:
  // one cannot be.
  bool run(std::span<const Launch> step, const std::atomic<bool>* cancel);

 private:
  struct Entry {
    std::vector<Launch> step;
    Handle executable = nullptr;
    uint64_t last_use = 0;
  };
  Entry* find(std::span<const Launch> step);
  void remember(std::span<const Launch> step);
  bool make(Entry& entry);
  Result start(const Launch& launch) const;
  void forget(Entry& entry);

  const DriverApi& api_;
  Handle stream_;
  bool is_off_ = false;
  uint64_t n_steps_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace olx::kernels::gpu
