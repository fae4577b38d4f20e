// Files that change, end early or are no files: an error, quickly, and without a large allocation.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <new>
#include <sstream>
#include <system_error>
#include <thread>

#include "gguf/reader.h"
#include "gguf/writer.h"
#include "tests/support/catch.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/test_paths.h"

namespace {

// The largest single allocation of this program, seen through operator new.
std::atomic<size_t> g_largest_allocation{0};

void* allocate(size_t size) {
  size_t seen = g_largest_allocation.load(std::memory_order_relaxed);
  while (size > seen && !g_largest_allocation.compare_exchange_weak(seen, size)) {
  }
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return std::malloc(size ? size : 1); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return std::malloc(size ? size : 1); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

using namespace olx::gguf;

namespace {

enum class Outcome { kOpened, kRefused };

Outcome try_open(const std::string& path) {
  try {
    const GgufFile file = GgufFile::open(path);
    // Touch every value and every tensor: what opens must also be readable.
    for (const GgufFile::Entry& entry : file.metadata()) {
      if (entry.value.type() == ValueType::kString) (void)entry.value.as_string(entry.key).size();
      if (entry.value.type() == ValueType::kArray && entry.value.element_type() == ValueType::kString)
        (void)entry.value.as_strings(entry.key).size();
    }
    return Outcome::kOpened;
  } catch (const FormatError&) {
    return Outcome::kRefused;
  } catch (const std::system_error&) {
    return Outcome::kRefused;
  }
}

std::string small_model() {
  static const olx::tests::TempDir dir;
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_uint32("llama.block_count", 2);
  std::vector<std::string> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back("token" + std::to_string(i));
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  const std::vector<float> scores(40, 0.5f);
  writer.set_float32s("tokenizer.ggml.scores", scores);
  const std::vector<float> values(64, 1.0f);
  const int64_t shape[] = {2, 32};
  writer.add_tensor("a.weight", DType::kF32, shape, std::as_bytes(std::span(values)));
  writer.add_tensor("b.weight", DType::kF32, shape, std::as_bytes(std::span(values)));
  writer.write(dir.file("small.gguf"));
  std::ifstream in(dir.file("small.gguf"), std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

}  // namespace

TEST_CASE("Hostile_TruncationAtEveryByteIsRefused", "[T-01]") {
  const olx::tests::TempDir dir;
  const std::string whole = small_model();
  for (size_t length = 0; length < whole.size(); ++length) {
    olx::tests::write_file(dir.file("cut.gguf"), std::string_view(whole).substr(0, length));
    if (try_open(dir.file("cut.gguf")) != Outcome::kRefused) {
      // Only the padding after the last tensor may be missing.
      if (length + 32 <= whole.size()) FAIL("opened at length " << length);
    }
  }
}

TEST_CASE("Hostile_EveryFlippedBitOpensOrIsRefusedWithoutALargeAllocation") {
  const olx::tests::TempDir dir;
  const std::string whole = small_model();
  for (size_t i = 0; i < whole.size() * 8; ++i) {
    std::string bytes = whole;
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
    olx::tests::write_file(dir.file("flip.gguf"), bytes);
    g_largest_allocation = 0;
    try_open(dir.file("flip.gguf"));
    if (g_largest_allocation > 2 * whole.size() + 65'536) FAIL("bit " << i << ": " << g_largest_allocation);
  }
}

TEST_CASE("Hostile_LyingCountsNeverAllocateMoreThanTheFileHas", "[T-02]") {
  const olx::tests::TempDir dir;
  const std::string whole = small_model();
  // Every aligned-to-one 8-byte window of the header replaced by each boundary value.
  const uint64_t values[] = {0, 1, 0x7f, 0xffff, 1ull << 31, 1ull << 32, 1ull << 61, (1ull << 63) - 1, UINT64_MAX};
  for (size_t at = 8; at + 8 < std::min<size_t>(whole.size(), 400); ++at)
    for (uint64_t value : values) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + at, &value, 8);
      olx::tests::write_file(dir.file("lie.gguf"), bytes);
      g_largest_allocation = 0;
      const auto start = std::chrono::steady_clock::now();
      try_open(dir.file("lie.gguf"));
      if (g_largest_allocation > 2 * whole.size() + 65'536) FAIL("offset " << at << ": " << g_largest_allocation);
      if (std::chrono::steady_clock::now() - start > std::chrono::seconds(2)) FAIL("slow at offset " << at);
    }
}

TEST_CASE("Hostile_ThingsThatAreNotFilesAreRefusedAtOnce", "[T-15]") {
  const olx::tests::TempDir dir;
  const std::string fifo = dir.file("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  std::filesystem::create_symlink("loop", dir.path() / "loop");
  for (const std::string& path : {std::string("/dev/zero"), std::string("/dev/null"), fifo, dir.path().string(),
                                  std::string("/proc/self/mem"), dir.file("loop"), dir.file("absent"), std::string()}) {
    INFO(path);
    CHECK(try_open(path) == Outcome::kRefused);
  }
}

TEST_CASE("Hostile_FileCutShortAfterOpeningIsAnErrorAndNotASignal", "[T-09]") {
  const olx::tests::TempDir dir;
  const std::string path = dir.file("shrinks.gguf");
  const std::string whole = small_model();
  for (int round = 0; round < 100; ++round) {
    olx::tests::write_file(path, whole);
    const GgufFile file = GgufFile::open(path);
    std::filesystem::resize_file(path, whole.size() / 2);
    std::vector<std::byte> bytes(file.tensors().back().size_bytes);
    REQUIRE_THROWS_AS(file.read(file.tensors().back(), 0, bytes), FormatError);
  }
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    for (size_t i = 0; !stop; ++i) {
      std::error_code ignored;
      std::filesystem::resize_file(path, whole.size() * (i % 5) / 4, ignored);
    }
  });
  for (int round = 0; round < 500; ++round) try_open(path);
  stop = true;
}

TEST_CASE("Hostile_AMillionTinyValuesParseInTime", "[T-18]") {
  const olx::tests::TempDir dir;
  olx::tests::GgufBytes file;
  file.header(0, 1).text("k").u32(9).u32(8).u64(1'000'000);
  for (int i = 0; i < 1'000'000; ++i) file.u64(0);
  olx::tests::write_file(dir.file("many.gguf"), file.bytes());
  const auto start = std::chrono::steady_clock::now();
  CHECK(try_open(dir.file("many.gguf")) == Outcome::kOpened);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

TEST_CASE("Hostile_MetadataLimitsHoldAtTheLimitAndOneMore", "[T-02][T-18]") {
  const olx::tests::TempDir dir;
  const auto with_text = [&](size_t length) {
    olx::tests::write_file(dir.file("limit.gguf"),
                           olx::tests::GgufBytes().header(0, 1).kv_text("k", std::string(length, 'x')).bytes());
    Limits limits;
    limits.max_string_bytes = 1000;
    try {
      GgufFile::open(dir.file("limit.gguf"), limits);
      return true;
    } catch (const FormatError&) {
      return false;
    }
  };
  CHECK(with_text(1000));
  CHECK_FALSE(with_text(1001));
  const auto with_total = [&](uint64_t max_metadata_bytes) {
    olx::tests::write_file(dir.file("limit.gguf"), olx::tests::GgufBytes().header(0, 1).kv_u32("k", 1).bytes());
    Limits limits;
    limits.max_metadata_bytes = max_metadata_bytes;
    try {
      GgufFile::open(dir.file("limit.gguf"), limits);
      return true;
    } catch (const FormatError&) {
      return false;
    }
  };
  const uint64_t size_bytes = 24 + 8 + 1 + 4 + 4;
  CHECK(with_total(size_bytes));
  CHECK_FALSE(with_total(size_bytes - 1));
}
