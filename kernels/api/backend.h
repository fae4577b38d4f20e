#pragma once
// Where things run. A Backend is a row in backends.inc; it makes Devices; a Device owns memory and executes plans.
// Used by the engine. Device sees kernels only as rows of the registry.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/api/op.h"
#include "kernels/api/tensor_view.h"

namespace olx::kernels {

struct KernelRow;

// A device or driver that fails, or memory that cannot be had. what() is one line for the user.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// CPU instruction sets and the like, as bits a row may require.
enum Feature : uint64_t {
  kFeatureNone = 0,
  kFeatureAvx2 = 1 << 0,        // AVX2 + FMA + F16C
  kFeatureAvx512 = 1 << 1,      // F, BW, VL, DQ, VBMI
  kFeatureAvx512Vnni = 1 << 2,
  kFeatureNeonDot = 1 << 3,     // armv8.2-a + dotprod
  kFeatureAvxVnni = 1 << 4,
  kFeatureAmx = 1 << 5,         // tiles of bfloat16 and int8, granted to this process by the system
  kFeatureNeonI8mm = 1 << 6,    // 2 x 8 times 8 x 2 bytes
};
using Features = uint64_t;

struct DeviceInfo {
  std::string backend;  // "cpu", "reference"
  std::string name;     // "AMD EPYC, 2 threads, avx512"
  int index = 0;        // among the devices of its backend: DeviceOptions::index
  Features features = 0;
  int n_threads = 1;
  // While it computes, every processor that this process may use is taken.
  bool takes_all_processors = false;
  uint64_t memory_bytes = 0;  // in all; 0: not known
};

// Device memory, freed with the object. host() is non-null where the CPU can address it. 64-byte aligned at least.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual void* host() = 0;
  virtual size_t size_bytes() const = 0;
};

// What a node must wait for. Its group is the nodes before it, back to and including the last kAfterAll one. A device
// may wait for everything always: the other two only save barriers.
enum class NodeOrder : uint8_t {
  kAfterAll,     // every unit of every node before
  kIndependent,  // nothing: it touches no data that a node of its group writes, and writes none that one reads
  kUnitByUnit,   // all nodes of the group have the same number of units, and unit u touches what unit u of the others
                 // touched and no other: a thread that owns the same units of all of them may go on at once
};

// One step of a plan: a chosen kernel and its arguments, which the caller keeps alive and may change between executions.
struct BoundNode {
  const KernelRow* kernel = nullptr;
  void* args = nullptr;
  NodeOrder order = NodeOrder::kAfterAll;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // Zeroed memory. Throws DeviceError naming the size.
  virtual std::unique_ptr<Buffer> allocate(size_t size_bytes) = 0;
  // What nobody has taken of its own memory; nothing where it works in the system's. Throws DeviceError.
  virtual std::optional<uint64_t> free_bytes() { return std::nullopt; }
  // The most that steps take of its own memory beside what is allocated, for copies of the arrays
  // in the program's memory that their nodes name: token ids, slots, block tables. The sizes are
  // those of a step's arrays, at most.
  virtual uint64_t staging_bytes(std::span<const uint64_t> /*array_bytes*/) const { return 0; }
  // Takes it now, so that no step with such arrays will. Throws DeviceError.
  virtual void reserve_staging(std::span<const uint64_t> /*array_bytes*/) {}
  // Runs the nodes in order, each to its end before the next begins, and returns when all are done (CPU) or enqueued.
  // No allocation, lock or log between nodes. `cancel`, when given, is looked at between nodes; true: returns false.
  virtual bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel = nullptr) = 0;
  virtual void sync() = 0;
  // Runs fn(part, n_parts) once for every part, as many as the pool has threads and at the same time (CPU: packing at
  // load). Others run it once.
  virtual void parallel(void (*fn)(void* context, int part, int n_parts), void* context) = 0;
};

struct DeviceOptions {
  int index = 0;         // which of several devices
  int n_threads = 0;     // 0: physical cores
  std::string cpu_isa;   // "", "portable", "avx2", "avx512", "neon": forces one; DeviceError when it cannot be had
};

// Why a backend is there.
enum class BackendKind : uint8_t {
  kProcessor,    // what everything runs on that nothing faster takes
  kAccelerator,  // takes as many layers as fit, unless told otherwise
  kCheck,        // slow: shows that others are right, and is used by name alone
};

struct Backend {
  const char* name;  // "cpu"
  BackendKind kind;
  const char* unavailable_reason;                                 // nullptr when compiled in
  std::unique_ptr<Device> (*open)(const DeviceOptions& options);  // throws DeviceError
  // What there is to open, at least one; none is opened. Throws DeviceError: none, and why.
  std::vector<DeviceInfo> (*devices)();
};
std::span<const Backend> backends();               // compiled-in rows of backends.inc
const Backend* find_backend(std::string_view name);

}  // namespace olx::kernels
