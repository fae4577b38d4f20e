#pragma once
// The memory of one contract case: every buffer lies between canaries, everything not declared writable must come back
// unchanged, and what is writable starts as NaN unless it is also an input.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/api/backend.h"
#include "kernels/api/tensor_view.h"

namespace olx::kernels::contract {

class Memory {
 public:
  // In the memory of a device that the processor sees too; nullptr: in the program's own.
  explicit Memory(Device* device = nullptr) : device_(device) {}
  Memory(Memory&&) = default;
  Memory& operator=(Memory&&) = default;
  ~Memory();

  // size bytes of 0xFF (NaN in f32, f16 and bf16), aligned to 64 bytes plus `misalign_bytes`.
  std::byte* add(size_t size_bytes, size_t misalign_bytes = 0);
  // An f32 matrix with `padding` unused columns between rows, aligned to 4 bytes only when asked.
  MatrixView add_matrix(int64_t n_rows, int64_t n_cols, int64_t padding, bool is_misaligned);

  // The kernel may write here; is_input: it starts with the bytes it holds when seal() is called.
  void allow_writes(const void* from, size_t size_bytes, bool is_input = false);
  void allow_writes(const MatrixView& matrix, bool is_input = false);

  void seal();                             // the present contents become the start of every run
  void reset();                            // back to it
  std::string damage() const;              // "" or which buffer was written where it may not be
  std::vector<std::byte> image() const;    // all bytes, to compare two runs
  void guard_canaries(bool is_on) const;   // AddressSanitizer refuses even reads of canaries while on

 private:
  struct Block {
    std::unique_ptr<Buffer> buffer;   // of a device, or
    std::vector<std::byte> own;       // the program's
    std::span<std::byte> bytes;       // of either: slack, canary, user, canary
    size_t user_from = 0;             // index into bytes
    size_t user_size = 0;
    std::vector<std::byte> start;     // image after seal()
    std::vector<uint8_t> is_writable; // per user byte
  };
  Device* device_;
  std::vector<Block> blocks_;
};

}  // namespace olx::kernels::contract
