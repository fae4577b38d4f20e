#pragma once
// FileMatmuls: the matmuls of a step while the matrices are still in the model file. Each reads its rows, packs them into
// what stays in a cache, and multiplies with them, some rows at a time. Kernels, and the bytes they see, are those of
// weights that were loaded, so the bits of the results are too. For the first step of a model: most of what loading
// costs is filling memory that the process has not used before.

#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/model/weight_store.h"
#include "engine/model/weight_table.h"
#include "gguf/reader.h"
#include "kernels/api/args.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::engine {

class FileMatmuls {
 public:
  // All outlive it. For a device whose kernels are functions of the processor.
  FileMatmuls(const gguf::GgufFile& file, const WeightTable& table, const WeightStore& weights);

  // What to run in the place of a node of a step, whose arguments are set. `weight`: the one that it multiplies by. The
  // node itself where that was loaded. Lives until the next end_step().
  kernels::BoundNode instead_of(const kernels::BoundNode& node, int weight);
  // Behind every step. Throws what reading has thrown in it, a FormatError for example: the step is lost.
  void end_step();

 private:
  // The arguments come first: a device that looks at those of a matmul finds them.
  struct Matmul {
    kernels::MatmulArgs args;
    kernels::KernelRow stand_in;  // as the kernel, but for its function
    const kernels::KernelRow* kernel = nullptr;
    const gguf::TensorInfo* tensor = nullptr;
    FileMatmuls* owner = nullptr;
  };
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  // What a thread reads and packs rows in.
  struct Space {
    std::vector<Line> native, packed;
  };
  static void run(const void* args, kernels::RowRange range);
  void multiply(const Matmul& matmul, kernels::RowRange range, Space& space) const;
  std::unique_ptr<Space> take_space();
  void give_back(std::unique_ptr<Space> space);

  const gguf::GgufFile& file_;
  const WeightTable& table_;
  const WeightStore& weights_;
  std::deque<Matmul> matmuls_;  // of the step
  std::mutex mutex_;            // for what follows
  std::vector<std::unique_ptr<Space>> spaces_;
  std::exception_ptr error_;  // the first one
};

}  // namespace olx::engine
