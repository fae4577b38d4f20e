// Weights and caches of more than 2^31 elements: what lies behind that has the same bits in it, or
// gives the same, as the same thing in a small buffer. For every row of this machine that has a
// function. The memory is mapped and not there but for the pages that are touched.

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/api/registry.h"
#include "kernels/reference/kv.h"
#include "tests/kernels/contract/check_row.h"
#include "tests/support/catch.h"

namespace olx::kernels::contract {
namespace {

constexpr int64_t kCols = 1024, kRows = 64;               // of what is looked at
constexpr int64_t kFarRows = (int64_t{1} << 21) + kRows;  // kRows of them behind 2^31 elements

class Mapping {
 public:
  explicit Mapping(int64_t size_bytes) : size_bytes_(static_cast<size_t>(size_bytes)) {
    data_ = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data_ != MAP_FAILED) madvise(data_, size_bytes_, MADV_NOHUGEPAGE);
  }
  ~Mapping() {
    if (data_ != MAP_FAILED) munmap(data_, size_bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  // nullptr: a limit of the process or the system does not allow that much.
  std::byte* data() const { return data_ == MAP_FAILED ? nullptr : static_cast<std::byte*>(data_); }

 private:
  size_t size_bytes_;
  void* data_ = nullptr;
};

// fn for each row of an op that this machine can run.
template <typename Fn>
void each_row(Op op, Fn fn) {
  const Features features = find_backend("cpu")->open({.n_threads = 1})->info().features;
  int n_rows = 0, n_without_memory = 0;
  for (const KernelRow& row : KernelRegistry::instance().rows()) {
    const bool is_cpu = std::string_view(row.backend) == "cpu";
    if (row.op != op || row.run == nullptr || (is_cpu && (row.features & ~features) != 0)) continue;
    INFO(describe(row));
    ++n_rows;
    if (!fn(row, CaseContext{test_seed(), false, KernelRegistry::instance().rows(), features}))
      ++n_without_memory;
  }
  if (n_without_memory > 0)
    std::printf("skipped: %d of %d rows: no addresses for 2^31 elements\n", n_without_memory,
                n_rows);
  CHECK(n_rows > 0);
}

template <typename Args>
void run_units(const KernelRow& row, Args& args, RowRange range) {
  REQUIRE(validate(row.op, &args) == "");
  row.run(&args, range);
}

int64_t weight_bytes(const KernelRow& row, int64_t n_rows) {
  return row.layout != nullptr ? row.layout->size_bytes(row.dtype, n_rows, kCols)
                               : n_rows * gguf::row_size_bytes(row.dtype, kCols);
}

// The last kRows rows of n_rows at `to`, as the row's layout wants them.
WeightView put_weights(const KernelRow& row, const std::vector<std::byte>& native, int64_t n_rows,
                       std::byte* to) {
  if (row.layout == nullptr)
    std::memcpy(to + (n_rows - kRows) * gguf::row_size_bytes(row.dtype, kCols), native.data(),
                native.size());
  else
    row.layout->pack(row.dtype, n_rows, kCols, native.data(), to, {n_rows - kRows, n_rows});
  return {to, row.dtype, row.layout, n_rows, kCols};
}

std::vector<float> embedded(const KernelRow& row, const WeightView& table) {
  const auto last = static_cast<int32_t>(table.n_rows - 1);
  const std::vector<int32_t> ids{last, last + 1 - static_cast<int32_t>(kRows), last - 5};
  std::vector<float> y(ids.size() * kCols);
  const auto n = static_cast<int64_t>(ids.size());
  EmbedArgs args{.y = {y.data(), n, kCols, kCols}, .table = table, .ids = ids.data(), .scale = 3};
  run_units(row, args, {0, n});
  return y;
}

// y [2, kRows] of the last rows of w.
std::vector<float> product(const KernelRow& row, const CaseContext& context, const WeightView& w) {
  Memory memory;
  Rng rng(context.seed, "far memory");
  const MatrixView x = memory.add_matrix(2, kCols, 0, false);
  fill(x, Values::kRandom, 1, rng);
  const Mapping y(2 * w.n_rows * 4);
  REQUIRE(y.data() != nullptr);
  MatmulArgs args;
  args.y = {reinterpret_cast<float*>(y.data()), 2, w.n_rows, w.n_rows};
  args.x = {x.data, &kActivationF32, 2, kCols, kCols};
  args.x.format = is_rows(*row.activation) ? row.activation : &kActivationF32;
  if (!is_rows(*row.activation)) {
    args.x = {memory.add(static_cast<size_t>(row.activation->size_bytes(2, kCols))), row.activation,
              2, kCols};
    QuantizeArgs quantize{args.x, x};
    run_row(quantize_row_for(row, context.rows, context.features), &quantize, {0, 2}, context);
  }
  args.w = w;
  run_units(row, args, {w.n_rows - kRows, w.n_rows});
  std::vector<float> last;
  for (int64_t token : {0, 1})
    last.insert(last.end(), args.y.row(token) + w.n_rows - kRows, args.y.row(token) + w.n_rows);
  return last;
}

// A sequence of one page, which is `page` of a plane.
constexpr int64_t kKvHeads = 4, kHeadDim = 128, kPage = 64;
constexpr int32_t kFarPage = (int64_t{1} << 31) / (kKvHeads * kHeadDim * kPage) + 1;

struct Cache {
  Cache(DType dtype, int32_t n)
      : page(n),
        page_bytes(kKvHeads * kPage * gguf::row_size_bytes(dtype, kHeadDim)),
        k((n + 1) * page_bytes),
        v((n + 1) * page_bytes),
        view{k.data(), v.data(), dtype, kKvHeads, kHeadDim, kPage, &page, 1} {}
  bool is_there() const { return k.data() != nullptr && v.data() != nullptr; }
  std::byte* page_of(const Mapping& plane) const { return plane.data() + page * page_bytes; }

  int32_t page;
  int64_t page_bytes;
  Mapping k, v;
  KvView view;
};

const std::vector<TokenSlot> kSlots{{0, 0}, {0, 17}, {0, kPage - 1}};
constexpr int64_t kWidth = kKvHeads * kHeadDim;

std::vector<float> random_rows(const char* name) {
  Rng rng(test_seed(), name);
  std::vector<float> x(kSlots.size() * kWidth);
  for (float& value : x) value = rng.uniform();
  return x;
}

MatrixView matrix(std::vector<float>& x) {
  return {x.data(), static_cast<int64_t>(kSlots.size()), kWidth, kWidth};
}

void store(const KernelRow& row, const Cache& cache) {
  std::vector<float> k = random_rows("k"), v = random_rows("v");
  KvStoreArgs args{.kv = cache.view, .k = matrix(k), .v = matrix(v), .tokens = kSlots.data()};
  run_units(row, args, {0, args.rows()});
}

std::vector<float> attended(const KernelRow& row, const Cache& cache) {
  Rng rng(test_seed(), "cache");
  for (const Mapping* plane : {&cache.k, &cache.v}) {
    const auto rows =
        random_weights(cache.view.dtype, kKvHeads * kPage, kHeadDim, Values::kRandom, rng);
    std::memcpy(cache.page_of(*plane), rows.data(), rows.size());
  }
  std::vector<float> q = random_rows("q"), y(q.size());
  AttentionArgs args;
  args.y = matrix(y);
  args.q = matrix(q);
  args.kv = cache.view;
  args.tokens = kSlots.data();
  args.n_heads = kKvHeads;
  args.scale = 0.1f;
  run_units(row, args, {0, args.rows()});
  return y;
}

bool have_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("FarMemory_RowsOfATableBehind31BitsOfElementsAreFound", "[T-103]") {
  each_row(Op::kEmbed, [](const KernelRow& row, const CaseContext& context) {
    Rng rng(context.seed, "far memory");
    const auto native = random_weights(row.dtype, kRows, kCols, Values::kRandom, rng);
    const Mapping near(weight_bytes(row, kRows)), far(weight_bytes(row, kFarRows));
    if (near.data() == nullptr || far.data() == nullptr) return false;
    CHECK(have_same_bits(embedded(row, put_weights(row, native, kFarRows, far.data())),
                         embedded(row, put_weights(row, native, kRows, near.data()))));
    return true;
  });
}

TEST_CASE("FarMemory_WeightsBehind31BitsOfElementsAreMultiplied", "[T-103]") {
  each_row(Op::kMatmul, [](const KernelRow& row, const CaseContext& context) {
    Rng rng(context.seed, "far memory");
    const auto native = random_weights(row.dtype, kRows, kCols, Values::kRandom, rng);
    const Mapping near(weight_bytes(row, kRows)), far(weight_bytes(row, kFarRows));
    if (near.data() == nullptr || far.data() == nullptr) return false;
    CHECK(have_same_bits(product(row, context, put_weights(row, native, kFarRows, far.data())),
                         product(row, context, put_weights(row, native, kRows, near.data()))));
    return true;
  });
}

TEST_CASE("FarMemory_PagesBehind31BitsOfElementsAreWritten", "[T-103]") {
  each_row(Op::kKvStore, [](const KernelRow& row, const CaseContext&) {
    const Cache near(row.dtype, 0), far(row.dtype, kFarPage);
    if (!near.is_there() || !far.is_there()) return false;
    store(row, near);
    store(row, far);
    const auto n_bytes = static_cast<size_t>(near.page_bytes);
    CHECK(std::memcmp(far.page_of(far.k), near.page_of(near.k), n_bytes) == 0);
    CHECK(std::memcmp(far.page_of(far.v), near.page_of(near.v), n_bytes) == 0);
    return true;
  });
}

TEST_CASE("FarMemory_PagesBehind31BitsOfElementsAreRead", "[T-103]") {
  each_row(Op::kAttention, [](const KernelRow& row, const CaseContext&) {
    const Cache near(row.dtype, 0), far(row.dtype, kFarPage);
    if (!near.is_there() || !far.is_there()) return false;
    CHECK(have_same_bits(attended(row, far), attended(row, near)));
    return true;
  });
}

}  // namespace olx::kernels::contract
