#pragma once
// KvCache: the keys and values of all layers and sequences, in pages, each layer on its device, with
// the tables that find them. Used by ModelRunner; kernels see it as one KvView per layer.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cache/block_tables.h"
#include "engine/cache/prefix_cache.h"
#include "kernels/api/backend.h"
#include "kernels/api/tensor_view.h"

namespace olx::engine {

// Positions of a page. Small enough that a short chat wastes little, large enough that a kernel's
// inner loop over a page amortises the table look-up.
inline constexpr int64_t kPageTokens = 64;

class KvCache {
 public:
  struct Shape {
    int64_t n_layers = 0;
    int64_t n_kv_heads = 0;
    int64_t head_dim = 0;
    int64_t n_sequences = 1;
    int64_t n_ctx = 0;  // most positions of one sequence
    gguf::DType dtype = gguf::DType::kF16;
    int64_t max_blocks() const { return (n_ctx + kPageTokens - 1) / kPageTokens; }  // of a sequence
  };

  // Layers from the one before's on, as many as the shape has in all.
  struct Part {
    kernels::Device* device = nullptr;
    int64_t n_layers = 0;
  };
  // Throws EngineError(kUnsupported) when head_dim does not fit the type, kernels::DeviceError when
  // memory is short.
  KvCache(std::span<const Part> parts, const Shape& shape);
  KvCache(kernels::Device& device, const Shape& shape);

  const Shape& shape() const { return shape_; }
  uint64_t size_bytes() const;
  kernels::KvView layer(int64_t layer) const;

  // As BlockTables, but what prefixes() remembers makes room, and the page copies are done. A
  // sequence within n_ctx always gets room: there are as many pages as all sequences can hold.
  bool reserve(int64_t sequence, int64_t n_positions);
  BlockTables& tables() { return tables_; }
  const BlockTables& tables() const { return tables_; }
  PrefixCache& prefixes() { return prefixes_; }
  const PrefixCache& prefixes() const { return prefixes_; }

  // Bytes a cache of this shape takes; EngineError(kOutOfMemory) when the product does not fit 63
  // bits.
  static uint64_t needed_bytes(const Shape& shape);

 private:
  void copy_page(int32_t from, int32_t to);

  Shape shape_;
  int64_t page_bytes_ = 0;   // of one of k or v, all heads
  int64_t plane_bytes_ = 0;  // all pages of one of k or v of one layer, a multiple of 64
  BlockTables tables_;
  PrefixCache prefixes_;  // in the pages of tables_ that no sequence holds
  struct Planes {
    int64_t first_layer = 0;
    std::unique_ptr<kernels::Buffer>
        buffer;  // [n_layers][k, v][n_pages][n_kv_heads, page_tokens, head_dim]
  };
  std::vector<Planes> planes_;  // of each part
  std::vector<BlockTables::PageCopy> copies_;
};

}  // namespace olx::engine
