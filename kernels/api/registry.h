#pragma once
// The table of kernels: what exists, what it needs, and which one a plan takes. One row = one kernel.
// Rows come from the kernels.inc of each backend folder and from plugins; tests and benchmarks walk the same rows.

#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/api/args.h"
#include "kernels/api/backend.h"

namespace olx::kernels {

// Serial code for a slice of work units. `args` is the op's Args struct.
using KernelFn = void (*)(const void* args, RowRange range);
// Whether the row can take these arguments at all (shapes, strides); nullptr: always. n_tokens is the planned maximum.
using AcceptsFn = bool (*)(const void* args);

struct KernelRow {  // written as a line of a kernels.inc: see kernels/rows.h
  Op op = Op::kAdd;
  const char* backend = "";  // "cpu", "reference"
  const char* name = "";     // "matmul_q4_k_avx512"
  const char* variant = "";  // "avx512": what OLLAMAX_KERNELS and OLLAMAX_CPU name
  DType dtype = DType::kF32;  // of the weight (kEmbed, kMatmul) or the cache (kKvStore, kAttention); otherwise kF32
  const ActivationFormat* activation = &kActivationF32;  // kMatmul, kQuantize
  const WeightLayout* layout = nullptr;                  // kMatmul: the packing it reads (nullptr: native); kEmbed: the only one it reads (nullptr: any)
  Features features = 0;
  int rank = 0;  // highest accepted rank wins; negative: available, never default
  AcceptsFn accepts = nullptr;
  KernelFn run = nullptr;  // nullptr: its device starts it by its name
};

class KernelRegistry {
 public:
  // All compiled-in rows plus those of loaded plugins. Built on first use; thread-safe.
  static const KernelRegistry& instance();

  std::span<const KernelRow> rows() const { return rows_; }

  struct Query {
    Op op = Op::kAdd;
    DType dtype = DType::kF32;
    const ActivationFormat* activation = nullptr;  // kQuantize: must match; nullptr: any
    const WeightLayout* layout = nullptr;          // kEmbed: of the table; ignored for kMatmul
    const void* args = nullptr;                    // for accepts(); may be nullptr
    double max_step = 1.0;                         // kMatmul: the coarsest ActivationFormat::step that will do
  };
  // The best row the device can run, honouring overrides; nullptr when there is none.
  const KernelRow* select(const Query& query, const DeviceInfo& device) const;

 private:
  friend void set_kernel_overrides(std::string_view spec);
  struct Override {
    Op op;
    bool any_dtype;
    DType dtype;
    std::string value;  // a variant or a row's full name
  };
  KernelRegistry();
  std::vector<Override> parse_overrides(std::string_view spec) const;
  const Override* find_override(Op op, DType dtype) const;  // the caller holds mutex_

  std::vector<KernelRow> rows_;
  mutable std::mutex mutex_;
  std::vector<Override> overrides_;
};

// Overrides of the default choice: "matmul.q4_k=avx2,attention=portable" (also from OLLAMAX_KERNELS, when the registry
// is built). They replace earlier ones. A row named this way is taken or nothing is: select() returns nullptr where the
// device cannot run it. Throws std::invalid_argument whose text lists the valid names.
void set_kernel_overrides(std::string_view spec);

// The work units of an op's arguments: the end of the RowRange that covers them all.
int64_t n_work_units(Op op, const void* args);

// Refuses arguments that break the contract: returns "" or one line naming op, expected and got. Called when a plan is built.
std::string validate(Op op, const void* args);

}  // namespace olx::kernels
