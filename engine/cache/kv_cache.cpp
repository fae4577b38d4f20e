#include "engine/cache/kv_cache.h"

#include <array>
#include <cstring>

#include "engine/error.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

int64_t n_pages_of(const KvCache::Shape& shape) { return shape.max_blocks() * shape.n_sequences; }

int64_t checked_product(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw EngineError(ErrorCode::kOutOfMemory,
                      "KV cache: " + std::to_string(a) + " x " + std::to_string(b) +
                          " bytes do not fit any memory; lower the context length");
  }
  return product;
}

int64_t page_size_bytes(const KvCache::Shape& shape) {
  const auto& type = gguf::dtype_info(shape.dtype);
  if (shape.head_dim % type.block_elems != 0) {
    throw EngineError(ErrorCode::kUnsupported,
                      "KV cache type " + std::string(type.name) +
                          ": needs a head size divisible by " + std::to_string(type.block_elems) +
                          ", the model has " + std::to_string(shape.head_dim));
  }
  const int64_t row_bytes = gguf::row_size_bytes(shape.dtype, shape.head_dim);
  return checked_product(row_bytes, checked_product(shape.n_kv_heads, kPageTokens));
}

int64_t plane_size_bytes(const KvCache::Shape& shape) {
  const int64_t bytes = checked_product(page_size_bytes(shape), n_pages_of(shape));
  return (bytes + 63) / 64 * 64;
}

}  // namespace

uint64_t KvCache::needed_bytes(const Shape& shape) {
  return static_cast<uint64_t>(
      checked_product(plane_size_bytes(shape), checked_product(2, shape.n_layers)));
}

KvCache::KvCache(kernels::Device& device, const Shape& shape)
    : KvCache(std::array{Part{&device, shape.n_layers}}, shape) {}

KvCache::KvCache(std::span<const Part> parts, const Shape& shape)
    : shape_(shape),
      page_bytes_(page_size_bytes(shape)),
      plane_bytes_(plane_size_bytes(shape)),
      tables_(n_pages_of(shape), kPageTokens, shape.n_sequences, shape.max_blocks()),
      prefixes_(tables_) {
  int64_t first_layer = 0;
  for (const Part& part : parts) {
    if (part.n_layers > 0) {
      Shape own = shape;
      own.n_layers = part.n_layers;
      planes_.push_back({first_layer, part.device->allocate(needed_bytes(own))});
    }
    first_layer += part.n_layers;
  }
  OLX_CHECK(first_layer == shape.n_layers);
}

uint64_t KvCache::size_bytes() const {
  uint64_t n_bytes = 0;
  for (const Planes& part : planes_) n_bytes += part.buffer->size_bytes();
  return n_bytes;
}

kernels::KvView KvCache::layer(int64_t layer) const {
  OLX_CHECK(layer >= 0 && layer < shape_.n_layers);
  size_t part = planes_.size() - 1;
  while (planes_[part].first_layer > layer) --part;
  auto* base = static_cast<std::byte*>(planes_[part].buffer->data()) +
               (layer - planes_[part].first_layer) * 2 * plane_bytes_;
  return {.k = base,
          .v = base + plane_bytes_,
          .dtype = shape_.dtype,
          .n_kv_heads = shape_.n_kv_heads,
          .head_dim = shape_.head_dim,
          .page_tokens = kPageTokens,
          .block_table = tables_.table(),
          .max_blocks = tables_.max_blocks()};
}

void KvCache::copy_page(int32_t from, int32_t to) {
  // A device whose memory the CPU cannot address needs a copy through its own queue; there is none
  // yet, and the loader refuses such devices.
  for (const Planes& part : planes_) {
    auto* base = static_cast<std::byte*>(part.buffer->host());
    OLX_CHECK(base != nullptr);
    const auto n_planes = static_cast<int64_t>(part.buffer->size_bytes()) / plane_bytes_;
    for (int64_t plane = 0; plane < n_planes; ++plane) {
      std::byte* pages = base + plane * plane_bytes_;
      std::memcpy(pages + to * page_bytes_, pages + from * page_bytes_,
                  static_cast<size_t>(page_bytes_));
    }
  }
}

bool KvCache::reserve(int64_t sequence, int64_t n_positions) {
  if (n_positions > shape_.n_ctx) return false;
  copies_.clear();
  while (!tables_.reserve(sequence, n_positions, copies_))
    if (!prefixes_.evict_one()) return false;
  for (const BlockTables::PageCopy& copy : copies_) copy_page(copy.from, copy.to);
  return true;
}

}  // namespace olx::engine
