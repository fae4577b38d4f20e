// The CPU device: memory on large pages, a team of threads, and plans run group by group with one wake-up.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <utility>

#include "gguf/check.h"
#include "kernels/api/args.h"
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

// Chunks of a node: enough that a member which loses its CPU leaves the others something to do, and each worth more than
// the claim (about 0.1 us). A multiply-add takes 0.02 to 0.1 ns.
constexpr int64_t kMaxChunksPerMember = 4;
constexpr int64_t kMultiplyAddsOfChunk = 1 << 20;
constexpr int64_t kRowsOfChunk = 16;
// As many tokens of attention, or fewer, stay in one chunk: a draft reads the cache once.
constexpr int64_t kTokensTogether = 16;
// Each chunk of a prompt unpacks all keys and values that its tokens see, or those of its split.
constexpr int64_t kPromptTokensTogether = 32;

// Nodes [begin, end) that are divided alike: a chunk runs the same units of each, in order.
struct Bundle {
  size_t begin = 0;
  size_t end = 0;
  int64_t n_units = 0;
  int64_t multiple = 1;  // chunks begin at multiples of it
  int n_chunks = 0;
  int first_chunk = 0;  // in the group
};

// One execute(): its nodes, cut into groups as the team reaches them.
struct Execution {
  // Bundles of a group; a longer group is cut in two, which is always allowed.
  static constexpr size_t kMaxBundles = 16;

  std::span<const BoundNode> nodes;
  const std::atomic<bool>* cancel = nullptr;
  int n_members = 1;
  size_t next_node = 0;
  bool is_cancelled = false;
  std::array<Bundle, kMaxBundles> bundles;
  size_t n_bundles = 0;

  int next_group();
  void run_chunk(int chunk) const;

 private:
  int add_bundle(size_t end, int first_chunk);
};

int64_t wanted_chunks(const BoundNode& node, int64_t n_units, int64_t n_members) {
  const int64_t most = n_members * kMaxChunksPerMember;
  switch (node.kernel->op) {
    case Op::kMatmul: {
      const auto& args = *static_cast<const MatmulArgs*>(node.args);
      return std::clamp(n_units * args.w.n_cols * args.y.n_rows / kMultiplyAddsOfChunk, n_members, most);
    }
    case Op::kAttention: {
      const auto& args = *static_cast<const AttentionArgs*>(node.args);
      if (args.n_prompt > 0 && (args.n_splits == 1 || args.kv.n_kv_heads * args.n_splits < n_members))
        return std::clamp(n_units / kPromptTokensTogether, n_members, 4 * most);
      return n_units > kTokensTogether * n_members ? 4 * most
                                                   : most;  // later tokens of a prompt cost more
    }
    default: return std::clamp(n_units / kRowsOfChunk, n_members, most);
  }
}

// The nodes from next_node to `end` as one bundle; returns the number of its chunks.
int Execution::add_bundle(size_t end, int first_chunk) {
  Bundle bundle{.begin = next_node, .end = end, .first_chunk = first_chunk};
  int64_t n_wanted = 1;
  for (const BoundNode& node : nodes.subspan(bundle.begin, end - bundle.begin)) {
    const KernelRow& kernel = *node.kernel;
    const int64_t n_units = n_work_units(kernel.op, node.args);
    OLX_CHECK(bundle.n_units == 0 || bundle.n_units == n_units);  // kUnitByUnit
    bundle.n_units = n_units;
    n_wanted = std::max(n_wanted, wanted_chunks(node, n_units, n_members));
    if (kernel.op == Op::kMatmul && kernel.layout != nullptr)
      bundle.multiple = std::lcm(bundle.multiple, kernel.layout->row_multiple);
    if (kernel.op == Op::kQuantize)
      bundle.multiple = std::lcm(bundle.multiple, static_cast<const QuantizeArgs*>(node.args)->y.format->tokens_together);
    if (kernel.op == Op::kAttention) {
      const auto& args = *static_cast<const AttentionArgs*>(node.args);
      const int64_t n_lines = args.kv.n_kv_heads * args.n_splits;
      if (args.n_prompt > 0 && args.n_splits > 1 ? n_lines >= n_members
                                                 : args.q.n_rows <= kTokensTogether && n_lines > n_members)
        bundle.multiple = args.q.n_rows;
    }
  }
  next_node = end;
  const int64_t n_pieces = (bundle.n_units + bundle.multiple - 1) / bundle.multiple;
  constexpr int64_t kMost = ThreadPool::kMaxChunks / kMaxBundles;
  bundle.n_chunks = static_cast<int>(std::min({n_pieces, n_wanted, kMost}));
  bundles[n_bundles++] = bundle;
  return bundle.n_chunks;
}

// A group is the nodes up to the next kAfterAll one (NodeOrder). Returns the number of its chunks, 0 at the end.
int Execution::next_group() {
  while (next_node < nodes.size()) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      is_cancelled = true;
      return 0;
    }
    size_t end = next_node + 1;        // of the group
    size_t end_alike = next_node + 1;  // behind its last kUnitByUnit node: all up to there are divided alike
    for (; end < nodes.size() && nodes[end].order != NodeOrder::kAfterAll; ++end)
      if (nodes[end].order == NodeOrder::kUnitByUnit) end_alike = end + 1;
    n_bundles = 0;
    int n_chunks = add_bundle(end_alike, 0);
    while (next_node < end && n_bundles < kMaxBundles) n_chunks += add_bundle(next_node + 1, n_chunks);
    if (n_chunks > 0) return n_chunks;
  }
  return 0;
}

void Execution::run_chunk(int chunk) const {
  size_t i = n_bundles - 1;
  while (bundles[i].first_chunk > chunk) --i;
  const Bundle& bundle = bundles[i];
  const int64_t n_pieces = (bundle.n_units + bundle.multiple - 1) / bundle.multiple;
  const int64_t index = chunk - bundle.first_chunk;
  const int64_t from = n_pieces * index / bundle.n_chunks * bundle.multiple;
  const int64_t to = std::min(bundle.n_units, n_pieces * (index + 1) / bundle.n_chunks * bundle.multiple);
  for (const BoundNode& node : nodes.subspan(bundle.begin, bundle.end - bundle.begin))
    node.kernel->run(node.args, {from, to});
}

class CpuDevice final : public Device {
 public:
  CpuDevice(Features features, int n_threads) : pool_(n_threads) {
    info_.backend = "cpu";
    info_.features = features;
    info_.n_threads = n_threads;
    info_.takes_all_processors = n_threads >= n_logical_cpus();
    info_.memory_bytes = static_cast<uint64_t>(std::max(0l, ::sysconf(_SC_PHYS_PAGES))) *
                         static_cast<uint64_t>(std::max(0l, ::sysconf(_SC_PAGESIZE)));
    info_.name = processor_name() + ", " + std::to_string(n_threads) + (n_threads == 1 ? " thread, " : " threads, ") +
                 std::string(isa_name(features));
  }

  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(size_t size_bytes) override { return std::make_unique<MappedBuffer>(size_bytes); }
  bool execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel) override;
  void sync() override {}
  void parallel(void (*fn)(void* context, int part, int n_parts), void* context) override;

 private:
  DeviceInfo info_;
  ThreadPool pool_;
};

bool CpuDevice::execute(std::span<const BoundNode> nodes, const std::atomic<bool>* cancel) {
  Execution execution{.nodes = nodes, .cancel = cancel, .n_members = pool_.n_threads()};
  pool_.run({.next_group = [](void* context) { return static_cast<Execution*>(context)->next_group(); },
             .run_chunk = [](void* context, int chunk) { static_cast<Execution*>(context)->run_chunk(chunk); },
             .context = &execution});
  return !execution.is_cancelled;
}

// One group with a chunk per thread. Parts that wait for each other are all begun: a thread that waits inside its part
// claims no second one.
void CpuDevice::parallel(void (*fn)(void* context, int part, int n_parts), void* context) {
  struct Call {
    void (*fn)(void*, int, int);
    void* context;
    int n_parts;
    bool is_begun = false;
  } call{fn, context, pool_.n_threads()};
  pool_.run({.next_group = [](void* data) {
               Call& call = *static_cast<Call*>(data);
               return std::exchange(call.is_begun, true) ? 0 : call.n_parts;
             },
             .run_chunk = [](void* data, int part) {
               const Call& call = *static_cast<Call*>(data);
               call.fn(call.context, part, call.n_parts);
             },
             .context = &call});
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

std::vector<DeviceInfo> devices() { return {open({})->info()}; }

}  // namespace olx::kernels::cpu
