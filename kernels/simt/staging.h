#pragma once
// A plan's small arrays (token ids, slots, block tables) lie in the program's own memory, which a
// device cannot read. Staging copies them to where it can, and a copy of a kernel's arguments
// points there. Used by a device while it enqueues the nodes of a step.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/api/args.h"
#include "kernels/api/backend.h"

namespace olx::kernels::simt {

// Any op's arguments, as bytes that a launch copies.
struct StagedArgs {
  alignas(16) std::array<std::byte, 384> bytes;
  const void* data() const { return bytes.data(); }
};

class Staging {
 public:
  // Takes its memory from the device, in blocks that it keeps.
  explicit Staging(Device& device) : device_(device) {}

  // The nodes that read what was staged are done: it may be written over.
  void begin();
  // Takes what a step with arrays of these sizes, or smaller, needs, unless it has it in one block.
  // What was staged is forgotten. Throws DeviceError when there is no memory.
  void reserve(std::span<const uint64_t> array_bytes);
  // A copy of args of `op` whose host arrays are staged; an array that is there already in this
  // step is not copied again. Throws DeviceError when there is no memory.
  StagedArgs stage(Op op, const void* args, size_t args_bytes);
  // The most that is ever taken when the arrays of a step are of these sizes, or smaller.
  static uint64_t most_bytes(std::span<const uint64_t> array_bytes);

 private:
  struct Copier;
  const void* copy(const void* from, size_t size_bytes);

  Device& device_;
  std::vector<std::unique_ptr<Buffer>> blocks_;
  size_t block_ = 0;                                              // the one that is being filled
  size_t used_bytes_ = 0;                                         // of it
  std::map<std::pair<const void*, size_t>, const void*> copies_;  // of this step
};

}  // namespace olx::kernels::simt
