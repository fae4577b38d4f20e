// The CPU device: memory on large pages, a team of threads, and plans run node by node with one wake-up.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/backend_rows.h"
#include "kernels/cpu/features.h"
#include "kernels/cpu/thread_pool.h"

namespace olx::kernels::cpu {
namespace {

constexpr size_t kLargePageBytes = 2u << 20;

// Anonymous memory, zero by birth, aligned so that the system may back it with 2 MiB pages. Seen on a Zen 4 guest:
// weights on 4 KiB pages stream at 12.6 GB/s, on 2 MiB pages at 26 GB/s.
class MappedBuffer final : public Buffer {
 public:
  explicit MappedBuffer(size_t size_bytes) : size_bytes_(size_bytes) {
    if (size_bytes > SIZE_MAX - 2 * kLargePageBytes) fail();
    mapped_bytes_ = (std::max<size_t>(size_bytes, 1) + kLargePageBytes - 1) / kLargePageBytes * kLargePageBytes;
    // A small buffer does not need the alignment: what it would waste is address space only, but many of them add up.
    const size_t slack = size_bytes >= kLargePageBytes ? kLargePageBytes : 0;
    if (slack == 0) {
      const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
      mapped_bytes_ = (std::max<size_t>(size_bytes, 1) + page - 1) / page * page;
    }
    mapping_ = ::mmap(nullptr, mapped_bytes_ + slack, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED) fail();
    mapped_bytes_ += slack;
    const auto address = reinterpret_cast<uintptr_t>(mapping_);
    data_ = slack == 0 ? mapping_ : reinterpret_cast<void*>((address + slack - 1) / slack * slack);
    if (slack != 0) ::madvise(data_, mapped_bytes_ - slack, MADV_HUGEPAGE);  // advice: no error to report
  }
  ~MappedBuffer() override { ::munmap(mapping_, mapped_bytes_); }
  MappedBuffer(const MappedBuffer&) = delete;
  MappedBuffer& operator=(const MappedBuffer&) = delete;
  void* data() override { return data_; }
  void* host() override { return data_; }
  size_t size_bytes() const override { return size_bytes_; }

 private:
  [[noreturn]] void fail() const {
    throw DeviceError("cpu: cannot allocate " + std::to_string(size_bytes_) + " bytes of memory");
  }
  void* mapping_ = nullptr;
  void* data_ = nullptr;
  size_t size_bytes_ = 0;
  size_t mapped_bytes_ = 0;
};

// Where a member's share of n_units begins; shares are multiples of `multiple`, the last takes the rest.
int64_t share_begin(int64_t n_units, int64_t multiple, int member, int n_members) {
  const int64_t n_groups = (n_units + multiple - 1) / multiple;
  return std::min(n_units, n_groups * member / n_members * multiple);
}

class CpuDevice final : public Device {
 public:
  CpuDevice(Features features, int n_threads) : pool_(n_threads) {
    info_.backend = "cpu";
    info_.features = features;
    info_.n_threads = n_threads;
    info_.memory_bytes = static_cast<uint64_t>(std::max(0l, ::sysconf(_SC_PHYS_PAGES))) *
                         static_cast<uint64_t>(std::max(0l, ::sysconf(_SC_PAGESIZE)));
    info_.name = processor_name() + ", " + std::to_string(n_threads) + (n_threads == 1 ? " thread, " : " threads, ") +
                 std::string(isa_name(features));
  }

  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override { return std::make_unique<MappedBuffer>(size_bytes); }
  bool execute(std::span<const BoundNode> nodes, const volatile bool* cancel) override;
  void sync() override {}
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override;

 private:
  struct Run {
    CpuDevice* device;
    std::span<const BoundNode> nodes;
    const volatile bool* cancel;
    std::atomic<size_t> last_node = SIZE_MAX;  // the run ends after this node
  };
  void execute_share(Run& run, int member);

  DeviceInfo info_;
  ThreadPool pool_;
};

bool CpuDevice::execute(std::span<const BoundNode> nodes, const volatile bool* cancel) {
  Run run{.device = this, .nodes = nodes, .cancel = cancel};
  pool_.run([](void* context, int member) {
    Run& run = *static_cast<Run*>(context);
    run.device->execute_share(run, member);
  }, &run);
  return run.last_node == SIZE_MAX;
}

// Every member walks the same list and waits where a group of nodes ends (NodeOrder). A node too small to share is run
// by one while the others wait for it.
void CpuDevice::execute_share(Run& run, int member) {
  const int n_members = pool_.n_threads();
  for (size_t i = 0; i < run.nodes.size(); ++i) {
    // Only member 0 looks at the flag, and names the node after which all stop: a member that is still behind the
    // barrier of an earlier node then does not stop too soon.
    if (member == 0 && run.cancel != nullptr && *run.cancel && run.last_node == SIZE_MAX) run.last_node = i;
    const BoundNode& node = run.nodes[i];
    const KernelRow& kernel = *node.kernel;
    const int64_t n_units = n_work_units(kernel.op, node.args);
    const int64_t multiple = kernel.op == Op::kMatmul && kernel.layout != nullptr ? kernel.layout->row_multiple : 1;
    const int64_t from = share_begin(n_units, multiple, member, n_members);
    const int64_t to = member + 1 == n_members ? n_units : share_begin(n_units, multiple, member + 1, n_members);
    if (from < to) kernel.run(node.args, {from, to});
    // Shares of nodes with as many units are the same, which is what kUnitByUnit asks for.
    const bool ends_group = i + 1 == run.nodes.size() || run.nodes[i + 1].order == NodeOrder::kAfterAll;
    if (!ends_group) continue;
    pool_.barrier();
    if (i >= run.last_node.load(std::memory_order_relaxed)) return;
  }
}

void CpuDevice::parallel(void (*fn)(void* context, int part, int n_parts), void* context) {
  struct Call {
    void (*fn)(void*, int, int);
    void* context;
    int n_parts;
  } call{fn, context, pool_.n_threads()};
  pool_.run([](void* data, int member) {
    const Call& call = *static_cast<Call*>(data);
    call.fn(call.context, member, call.n_parts);
  }, &call);
}

}  // namespace

std::unique_ptr<Device> open(const DeviceOptions& options) {
  Features features = detect_features();
  std::string isa = options.cpu_isa;
  if (const char* forced = std::getenv("OLLAMAX_CPU"); isa.empty() && forced != nullptr) isa = forced;
  if (!isa.empty()) features = force_isa(isa, features);
  if (options.n_threads < 0 || options.n_threads > 1024)
    throw DeviceError("cpu: expected 0 to 1024 threads, got " + std::to_string(options.n_threads));
  return std::make_unique<CpuDevice>(features, options.n_threads > 0 ? options.n_threads : n_physical_cores());
}

}  // namespace olx::kernels::cpu
