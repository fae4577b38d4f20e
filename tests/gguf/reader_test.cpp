#include "gguf/reader.h"

#include <random>

#include "gguf/writer.h"
#include "tests/support/catch.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/test_paths.h"

using namespace olx::gguf;
using olx::tests::GgufBytes;

namespace {

// "" when the bytes open; otherwise the message.
std::string open_bytes(std::string_view bytes) {
  static const olx::tests::TempDir dir;
  const std::string path = dir.file("case.gguf");
  olx::tests::write_file(path, bytes);
  try {
    GgufFile::open(path);
    return "";
  } catch (const FormatError& error) {
    return error.what();
  }
}

void check_refused(const GgufBytes& file, const std::string& expected_part) {
  const std::string message = open_bytes(file.bytes());
  INFO(message);
  CHECK(message.find(expected_part) != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

}  // namespace

TEST_CASE("Reader_WrittenFileComesBackWhole") {
  const olx::tests::TempDir dir;
  for (uint32_t alignment : {1u, 8u, 32u, 4096u}) {
    GgufWriter writer(alignment);
    writer.set_string("general.architecture", "llama");
    writer.set_uint32("a.u32", 7);
    writer.set_int32("a.i32", -7);
    writer.set_uint64("a.u64", UINT64_MAX);
    writer.set_float32("a.f32", 0.5f);
    writer.set_bool("a.bool", true);
    const std::string words[] = {"x", "", "\xc3\xa4"};
    writer.set_strings("a.words", words);
    const int32_t numbers[] = {1, -2, 3};
    writer.set_int32s("a.numbers", numbers);
    const float reals[] = {1.5f, -2.0f};
    writer.set_float32s("a.reals", reals);
    const float first[] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[] = {2, 3};
    writer.add_tensor("first", DType::kF32, shape, std::as_bytes(std::span(first)));
    const uint8_t block[18] = {9, 8, 7};
    const int64_t row[] = {32};
    writer.add_tensor("second", DType::kQ4_0, row, std::as_bytes(std::span(block)));
    const std::string path = dir.file("round.gguf");
    writer.write(path);

    const GgufFile file = GgufFile::open(path);
    CHECK(file.version() == 3);
    CHECK(file.alignment() == alignment);
    CHECK(file.get("a.u32").as_uint("a.u32") == 7);
    CHECK(file.get("a.i32").as_int("a.i32") == -7);
    CHECK(file.get("a.u64").as_uint("a.u64") == UINT64_MAX);
    CHECK_THROWS_AS(file.get("a.u64").as_int("a.u64"), FormatError);
    CHECK(file.get("a.f32").as_float("a.f32") == 0.5);
    CHECK(file.get("a.bool").as_bool("a.bool"));
    CHECK(file.get("a.words").as_strings("a.words") == std::vector<std::string_view>{"x", "", "\xc3\xa4"});
    CHECK(file.get("a.numbers").as_ints("a.numbers") == std::vector<int64_t>{1, -2, 3});
    CHECK(file.get("a.reals").as_floats("a.reals") == std::vector<float>{1.5f, -2.0f});
    const TensorInfo* tensor = file.find_tensor("first");
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape_text() == "[2, 3]");
    CHECK(tensor->n_rows() == 2);
    float back[6] = {};
    file.read(*tensor, 0, std::as_writable_bytes(std::span(back)));
    CHECK(std::equal(back, back + 6, first));
    CHECK_THROWS_AS(file.read(*tensor, 4, std::as_writable_bytes(std::span(back))), FormatError);
    CHECK_THROWS_AS(file.read(*tensor, UINT64_MAX, std::as_writable_bytes(std::span(back))), FormatError);
  }
}

TEST_CASE("Reader_MissingAndMistypedKeysAreNamed", "[T-07]") {
  const olx::tests::TempDir dir;
  GgufWriter writer;
  writer.set_string("general.name", "x");
  writer.write(dir.file("x.gguf"));
  const GgufFile file = GgufFile::open(dir.file("x.gguf"));
  CHECK_THROWS_WITH(file.get("llama.block_count"), Catch::Matchers::Contains("llama.block_count"));
  const Value& name = file.get("general.name");
  CHECK_THROWS_WITH(name.as_uint("general.name"), Catch::Matchers::Contains("expected unsigned integer, got string"));
  CHECK_THROWS_AS(name.as_float("k"), FormatError);
  CHECK_THROWS_AS(name.as_bool("k"), FormatError);
  CHECK_THROWS_AS(name.as_ints("k"), FormatError);
  CHECK_THROWS_AS(name.as_strings("k"), FormatError);
}

TEST_CASE("Reader_RefusesWrongHeaders") {
  check_refused(GgufBytes().raw("GGUX").u32(3).u64(0).u64(0), "magic");
  check_refused(GgufBytes().raw("FUGG").u32(3).u64(0).u64(0), "big-endian");
  check_refused(GgufBytes().raw("GGUF").u32(0x03000000).u64(0).u64(0), "big-endian");
  for (uint32_t version : {0u, 1u, 4u, 0xffffffffu}) check_refused(GgufBytes().header(0, 0, version), "version");
  for (uint64_t count : {uint64_t{1}, uint64_t{65'537}, uint64_t{1} << 32, UINT64_MAX}) {
    check_refused(GgufBytes().header(0, count), "metadata count");
    check_refused(GgufBytes().header(count, 0), "tensor count");
  }
  CHECK(open_bytes(GgufBytes().header(0, 0).bytes()) == "");
  CHECK(open_bytes(GgufBytes().header(0, 0, 2).bytes()) == "");
  check_refused(GgufBytes().raw("GGUF"), "24 bytes");
  check_refused(GgufBytes(), "24 bytes");
}

TEST_CASE("Reader_RefusesWrongMetadata", "[T-02][T-11]") {
  const std::string room(64, '\0');
  check_refused(GgufBytes().header(0, 1).u64(UINT64_MAX).raw(room), "length");
  check_refused(GgufBytes().header(0, 1).text("").u32(4).u32(1).raw(room), "1 to 65535");
  check_refused(GgufBytes().header(0, 1).kv_u32("a key", 1).raw(room), "letters");
  check_refused(GgufBytes().header(0, 1).kv_u32(std::string_view("a\0b", 3), 1).raw(room), "letters");
  check_refused(GgufBytes().header(0, 1).text("k").u32(13).raw(room), "value type");
  check_refused(GgufBytes().header(0, 1).text("k").u32(8).u64(1 << 20).raw(room), "expected 1048576 bytes");
  check_refused(GgufBytes().header(0, 1).text("k").u32(8).u64(1ull << 40).raw(room), "length");
  check_refused(GgufBytes().header(0, 1).text("k").u32(9).u32(9).u64(1).raw(room), "arrays of arrays");
  check_refused(GgufBytes().header(0, 1).text("k").u32(9).u32(99).u64(1).raw(room), "element type");
  check_refused(GgufBytes().header(0, 2).kv_u32("k", 1).kv_u32("k", 1), "twice");
  for (uint32_t alignment : {0u, 3u, 13u, 65'537u, 131'072u})
    check_refused(GgufBytes().header(0, 1).kv_u32("general.alignment", alignment), "power of two");
  check_refused(GgufBytes().header(0, 1).kv_text("general.alignment", "32"), "expected u32");
  // Lengths that multiply past 64 bits, or to more than the file has.
  for (uint32_t type : {0u, 5u, 8u, 10u, 12u})
    for (uint64_t n : {uint64_t{1000}, uint64_t{1} << 40, uint64_t{1} << 61, (uint64_t{1} << 61) + 1, UINT64_MAX})
      check_refused(GgufBytes().header(0, 1).text("k").u32(9).u32(type).u64(n).raw(room), "elements");
}

TEST_CASE("Reader_RefusesWrongTensors", "[T-03][T-04][T-11]") {
  const auto one = [](auto&&... arguments) {
    return GgufBytes().header(1, 0).tensor(arguments...).align().data(4096);
  };
  using Dims = std::initializer_list<uint64_t>;
  CHECK(open_bytes(one("t", Dims{8, 4}, 0, 0).bytes()) == "");
  CHECK(open_bytes(one("t", Dims{1024}, 0, 0).bytes()) == "");   // ends exactly at the end of the file
  check_refused(one("t", Dims{1025}, 0, 0), "the file ends at");  // one element past it
  check_refused(one("", Dims{8}, 0, 0), "1 to 127");
  CHECK(open_bytes(one(std::string(127, 'n'), Dims{8}, 0, 0).bytes()) == "");
  check_refused(one(std::string(128, 'n'), Dims{8}, 0, 0), "at most 127");
  check_refused(one("t\n", Dims{8}, 0, 0), "control");
  check_refused(one("t", Dims{}, 0, 0), "1 to 4 dimensions");
  check_refused(one("t", Dims{1, 1, 1, 1, 1}, 0, 0), "1 to 4 dimensions");
  check_refused(one("t", Dims{0}, 0, 0), "dimension 0");
  check_refused(one("t", Dims{8, 0, 2}, 0, 0), "dimension 1");
  check_refused(one("t", Dims{UINT64_MAX}, 0, 0), "dimension 0");
  check_refused(one("t", Dims{(1ull << 40) + 1}, 0, 0), "dimension 0");
  check_refused(one("t", Dims{1ull << 40, 1ull << 40}, 0, 0), "63 bits");
  check_refused(one("t", Dims{1ull << 31, 1ull << 30}, 0, 0), "the file ends at");
  check_refused(one("t", Dims{1ull << 22, 1ull << 20, 1ull << 20}, 0, 0), "64 bits");
  for (uint32_t type : {4u, 5u, 9u, 15u, 31u, 36u, 43u, 0xffffffffu}) check_refused(one("t", Dims{256}, type, 0), "not supported");
  for (uint32_t type : {2u, 3u, 6u, 7u, 8u, 20u, 39u})
    for (uint64_t n : {31u, 33u, 48u}) check_refused(one("t", Dims{n}, type, 0), "multiple of 32");
  for (uint32_t type : {10u, 11u, 12u, 13u, 14u, 23u})
    for (uint64_t n : {32u, 255u, 257u}) check_refused(one("t", Dims{n}, type, 0), "multiple of 256");
  check_refused(one("t", Dims{8}, 0, 16), "multiple of 32");
  check_refused(one("t", Dims{8}, 0, 8192), "the file ends at");
  check_refused(one("t", Dims{8}, 0, UINT64_MAX - 31), "the file ends at");
  check_refused(GgufBytes().header(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).align().data(64), "twice");
  check_refused(GgufBytes().header(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).align().data(96), "overlaps");
  // Out of order and with a gap: allowed.
  CHECK(open_bytes(GgufBytes().header(2, 0).tensor("a", {8}, 0, 64).tensor("b", {8}, 0, 0).align().data(96).bytes()) == "");
}

TEST_CASE("Reader_SizesAgreeWith128BitArithmetic", "[T-03]") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 3000; ++round) {
    const int n_dims = 1 + static_cast<int>(random() % 4);
    uint64_t dims[4] = {1, 1, 1, 1};
    unsigned __int128 n_elems = 1;
    for (int d = 0; d < n_dims; ++d) {
      dims[d] = 1 + (random() >> (24 + random() % 40));
      n_elems *= dims[d];
      if (n_elems >> 100) n_elems = static_cast<unsigned __int128>(1) << 100;
    }
    GgufBytes file;
    file.header(1, 0).text("t").u32(static_cast<uint32_t>(n_dims));
    for (int d = 0; d < n_dims; ++d) file.u64(dims[d]);
    file.u32(0).u64(0).align().data(1 << 12);
    bool in_range = true;
    for (int d = 0; d < n_dims; ++d) in_range = in_range && dims[d] <= (1ull << 40);
    const bool fits = in_range && n_elems * 4 <= 4096;
    if ((open_bytes(file.bytes()) == "") != fits) FAIL("round " << round);
  }
}

TEST_CASE("Reader_RandomLayoutsAgreeWithAnIntervalOracle", "[T-05]") {
  std::mt19937 random(5);
  for (int round = 0; round < 1000; ++round) {
    const size_t n = 1 + random() % 4;
    struct Part { uint64_t from, size; };
    std::vector<Part> parts;
    GgufBytes file;
    file.header(n, 0);
    bool fits = true;
    for (size_t i = 0; i < n; ++i) {
      const Part part{random() % 16 * (random() % 8 ? 32 : 16), 4 * (1 + random() % 40)};
      fits = fits && part.from % 32 == 0 && part.from + part.size <= 512;
      for (const Part& other : parts)
        fits = fits && (part.from + part.size <= other.from || other.from + other.size <= part.from);
      parts.push_back(part);
      file.tensor(std::string(1, static_cast<char>('a' + i)), {part.size / 4}, 0, part.from);
    }
    file.align().data(512);
    if ((open_bytes(file.bytes()) == "") != fits) FAIL("round " << round);
  }
}
