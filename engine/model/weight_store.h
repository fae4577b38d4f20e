#pragma once
// WeightStore: the weights of a model in device memory, packed as the chosen matmul kernels want them. Filled once at
// load, read only afterwards. It chooses the matmul rows, because the row decides the packing.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/model/weight_table.h"
#include "gguf/reader.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"

namespace olx::engine {

// As many rows of a matrix as are within n_bytes of its file, at least as few as its layout takes at once.
int64_t rows_within(int64_t n_bytes, const kernels::WeightView& matrix);

class WeightStore {
 public:
  struct Stored {
    kernels::WeightView view;                    // matrices
    const float* values = nullptr;               // vectors, as f32
    const kernels::KernelRow* matmul = nullptr;  // the row that multiplies by it; nullptr: only looked up
  };

  // Decides rows and layouts for the weights that `graph` uses; nothing is allocated or read yet.
  // n_tokens is the largest batch. EngineError(kUnsupported) names op, type and device of what no kernel can do.
  WeightStore(const Graph& graph, const WeightTable& table, kernels::Device& device, int64_t n_tokens);

  // The memory, one arena: views have their addresses from here on. Throws DeviceError, EngineError(kUnsupported) for a
  // device whose memory the CPU cannot address.
  void allocate(const WeightTable& table);

  enum class Portion : uint8_t {
    kAll,
    kRest,        // what is not only multiplied by: embeddings, norms
    kMultiplied,  // what is_only_multiplied()
  };
  // Fills it, on all threads of the device; after allocate(). Throws EngineError (kCancelled when on_progress returns
  // false), DeviceError, FormatError.
  void load(const gguf::GgufFile& file, const WeightTable& table, Portion portion,
            const std::function<bool(float)>& on_progress);
  // A matrix of matmuls that no other node of the graph reads.
  bool is_only_multiplied(int index) const { return is_only_multiplied_[static_cast<size_t>(index)]; }

  const Stored& operator[](int index) const { return stored_[static_cast<size_t>(index)]; }
  uint64_t size_bytes() const { return size_bytes_; }
  // Of that, what is_only_multiplied().
  uint64_t multiplied_bytes() const { return multiplied_bytes_; }

 private:
  struct Slice;
  std::vector<Slice> make_slices(const WeightTable& table, Portion portion) const;
  void load_slice(const gguf::GgufFile& file, const Weight& weight, const Slice& slice,
                  std::vector<std::byte>& staging);

  kernels::Device& device_;
  std::vector<Stored> stored_;     // by weight index; view.data is null for a weight the graph does not use
  std::vector<int64_t> offsets_;   // in the arena; -1: not used
  std::vector<bool> is_only_multiplied_;
  uint64_t size_bytes_ = 0;
  uint64_t multiplied_bytes_ = 0;
  std::unique_ptr<kernels::Buffer> arena_;
};

}  // namespace olx::engine
