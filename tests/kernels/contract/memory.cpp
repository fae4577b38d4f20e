#include "tests/kernels/contract/memory.h"

#include <algorithm>
#include <cstring>

#include "gguf/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace olx::kernels::contract {
namespace {
constexpr size_t kAlignBytes = 64;
constexpr size_t kCanaryBytes = 192;
}  // namespace

Memory::~Memory() { guard_canaries(false); }

std::byte* Memory::add(size_t size_bytes, size_t misalign_bytes) {
  Block block;
  const size_t n_bytes = size_bytes + 2 * kCanaryBytes + 2 * kAlignBytes;
  if (device_ != nullptr) {
    block.buffer = device_->allocate(n_bytes);
    OLX_CHECK(block.buffer->host() != nullptr);
    block.bytes = {static_cast<std::byte*>(block.buffer->host()), n_bytes};
  } else {
    block.own.resize(n_bytes);
    block.bytes = block.own;
  }
  std::fill(block.bytes.begin(), block.bytes.end(), std::byte{0xFF});
  const auto address = reinterpret_cast<uintptr_t>(block.bytes.data());
  const size_t to_aligned = (kAlignBytes - address % kAlignBytes) % kAlignBytes;
  block.user_from = to_aligned + kCanaryBytes + misalign_bytes;
  block.user_size = size_bytes;
  block.is_writable.assign(size_bytes, 0);
  blocks_.push_back(std::move(block));  // the heap block, and so the address, stays
  return blocks_.back().bytes.data() + blocks_.back().user_from;
}

MatrixView Memory::add_matrix(int64_t n_rows, int64_t n_cols, int64_t padding, bool is_misaligned) {
  const int64_t stride = n_cols + padding;
  const auto n_elems = static_cast<size_t>((n_rows - 1) * stride + n_cols);
  auto* data = reinterpret_cast<float*>(add(n_elems * sizeof(float), is_misaligned ? sizeof(float) : 0));
  return {data, n_rows, n_cols, stride};
}

void Memory::allow_writes(const void* from, size_t size_bytes, bool is_input) {
  for (Block& block : blocks_) {
    std::byte* user = block.bytes.data() + block.user_from;
    const auto* first = static_cast<const std::byte*>(from);
    if (first < user || first + size_bytes > user + block.user_size) continue;
    const auto offset = static_cast<size_t>(first - user);
    std::fill_n(block.is_writable.begin() + static_cast<std::ptrdiff_t>(offset), size_bytes, 1);
    if (!is_input) std::memset(user + offset, 0xFF, size_bytes);
    return;
  }
  OLX_CHECK(false);
}

void Memory::allow_writes(const MatrixView& matrix, bool is_input) {
  for (int64_t row = 0; row < matrix.n_rows; ++row)
    allow_writes(matrix.row(row), static_cast<size_t>(matrix.n_cols) * sizeof(float), is_input);
}

void Memory::seal() {
  for (Block& block : blocks_) block.start.assign(block.bytes.begin(), block.bytes.end());
}

void Memory::reset() {
  for (Block& block : blocks_) std::copy(block.start.begin(), block.start.end(), block.bytes.begin());
}

std::string Memory::damage() const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (std::equal(block.bytes.begin(), block.bytes.end(), block.start.begin())) continue;
    for (size_t at = 0; at < block.bytes.size(); ++at) {
      if (block.bytes[at] == block.start[at]) continue;
      const bool is_user = at >= block.user_from && at < block.user_from + block.user_size;
      if (is_user && block.is_writable[at - block.user_from] != 0) continue;
      const auto offset = static_cast<std::ptrdiff_t>(at) - static_cast<std::ptrdiff_t>(block.user_from);
      return "writes byte " + std::to_string(offset) + " of buffer " + std::to_string(i) + " (" +
             std::to_string(block.user_size) + " bytes), which it may not";
    }
  }
  return "";
}

std::vector<std::byte> Memory::image() const {
  std::vector<std::byte> all;
  for (const Block& block : blocks_) all.insert(all.end(), block.bytes.begin(), block.bytes.end());
  return all;
}

void Memory::guard_canaries([[maybe_unused]] bool is_on) const {
#ifdef __SANITIZE_ADDRESS__
  for (const Block& block : blocks_) {
    const std::byte* end = block.bytes.data() + block.user_from + block.user_size;
    const auto size = static_cast<size_t>(block.bytes.data() + block.bytes.size() - end);
    const size_t before = block.user_from / 8 * 8;
    if (is_on) {
      __asan_poison_memory_region(end, size);
      __asan_poison_memory_region(block.bytes.data(), before);
    } else {
      __asan_unpoison_memory_region(block.bytes.data(), block.bytes.size());
    }
  }
#endif
}

}  // namespace olx::kernels::contract
