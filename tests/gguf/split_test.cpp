// Models in several files: joined when they are read, and made into one.
#include "gguf/split.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "gguf/writer.h"
#include "tests/support/catch.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/test_paths.h"

using namespace olx::gguf;

namespace {

constexpr int kTensors = 5;

void set_metadata(GgufWriter& writer) {
  writer.set_string("general.architecture", "llama");
  const std::string words[] = {"x", "", "\xc3\xa4"};
  writer.set_strings("a.words", words);
  const int32_t numbers[] = {1, -2, 3};
  writer.set_int32s("a.numbers", numbers);
  writer.set_bool("a.bool", true);
}

std::vector<std::byte> tensor_bytes(int i) { return std::vector<std::byte>(static_cast<size_t>(4 * (3 + i)), std::byte(i + 1)); }

void add_tensor(GgufWriter& writer, int i) {
  const int64_t shape[] = {3 + i};
  writer.add_tensor("t" + std::to_string(i), DType::kF32, shape, tensor_bytes(i));
}

// What the parts say of themselves, to be made wrong by a test.
struct Said {
  uint32_t number, n_parts, n_tensors;
};

// Tensors 0-1, 2-3 and 4 in three files. Returns the first one's path.
std::string write_parts(const olx::tests::TempDir& dir, const std::function<void(int part, Said&)>& change = {}, bool is_twice = false) {
  for (int part = 0; part < 3; ++part) {
    GgufWriter writer;
    if (part == 0) set_metadata(writer);
    Said said{static_cast<uint32_t>(part), 3, kTensors};
    if (change) change(part, said);
    writer.set_uint32("split.no", said.number);
    writer.set_uint32("split.count", said.n_parts);
    writer.set_int32("split.tensors.count", static_cast<int32_t>(said.n_tensors));
    writer.set_string("split.prefix", "../../etc/passwd");  // nobody's key; no name is read out of a file
    for (int i = 2 * part; i < std::min(2 * part + 2, kTensors); ++i) add_tensor(writer, is_twice && i == 4 ? 0 : i);
    writer.write(dir.file(SplitName{"m", 1, 3}.file_name(static_cast<uint64_t>(part) + 1)));
  }
  return dir.file("m-00001-of-00003.gguf");
}

std::string error_of(const std::string& path) {
  try {
    GgufFile::open(path);
  } catch (const FormatError& error) {
    return error.what();
  } catch (const std::system_error& error) {
    return error.what();
  }
  return "";
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("Split_NamesAreReadStrictly") {
  const auto name = parse_split_name("/a/b-c/model-Q4_K_M-00002-of-00011.gguf");
  REQUIRE(name);
  CHECK(name->stem == "/a/b-c/model-Q4_K_M");
  CHECK((name->number == 2 && name->n_parts == 11));
  CHECK(name->file_name(11) == "/a/b-c/model-Q4_K_M-00011-of-00011.gguf");
  for (const char* other : {"model.gguf", "m-0001-of-0002.gguf", "m-00000-of-00002.gguf", "m-00003-of-00002.gguf", "m-00001-of-00002.GGUF",
                            "m-00001-of-00002", "m00001-of-00002.gguf", "m-00001-of-99999.gguf", "m-+0001-of-00002.gguf", "m- 0001-of-00002.gguf",
                            "m-00001_of-00002.gguf", "-00001-of-00002.gguf", "a/-00001-of-00002.gguf", ""}) {
    INFO(other);
    CHECK_FALSE(parse_split_name(other));
  }
}

TEST_CASE("Split_PartsAreReadAsOneModel", "[T-12]") {
  const olx::tests::TempDir dir;
  const GgufFile file = GgufFile::open(write_parts(dir));
  REQUIRE(file.tensors().size() == kTensors);
  CHECK(file.get("general.architecture").as_string("general.architecture") == "llama");
  uint64_t file_bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) file_bytes += entry.file_size();
  CHECK(file.file_size_bytes() == file_bytes);
  for (int i = 0; i < kTensors; ++i) {
    const TensorInfo* tensor = file.find_tensor("t" + std::to_string(i));
    REQUIRE(tensor != nullptr);
    CHECK(tensor->part == static_cast<uint32_t>(i / 2));
    std::vector<std::byte> bytes(tensor->size_bytes);
    file.read(*tensor, 0, bytes);
    CHECK(bytes == tensor_bytes(i));
  }
  std::filesystem::resize_file(dir.file("m-00003-of-00003.gguf"), 64);
  std::vector<std::byte> bytes(4);
  try {
    file.read(file.tensors().back(), 0, bytes);
    FAIL("a part that became shorter was read");
  } catch (const FormatError& error) {
    CHECK(std::string(error.what()).find("m-00003-of-00003.gguf") != std::string::npos);
  }
}

TEST_CASE("Split_MergedPartsAreTheFileThatWasNeverSplit", "[T-06]") {
  const olx::tests::TempDir dir;
  const GgufFile joined = GgufFile::open(write_parts(dir));
  std::string merged;
  merge(joined, [&](std::span<const std::byte> bytes) { merged.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); });
  CHECK(merged.size() == merged_size_bytes(joined));
  GgufWriter whole;
  set_metadata(whole);
  for (int i = 0; i < kTensors; ++i) add_tensor(whole, i);
  whole.write(dir.file("whole.gguf"));
  CHECK(merged == read_file(dir.file("whole.gguf")));
}

TEST_CASE("Split_PartsThatDoNotFitAreRefused", "[T-12]") {
  const olx::tests::TempDir dir;
  const auto refused = [&](const std::function<void(int, Said&)>& change) { return error_of(write_parts(dir, change)); };
  const auto has = [](const std::string& message, const char* part) {
    INFO(message);
    CHECK(message.find(part) != std::string::npos);
  };
  has(refused([](int part, Said& said) { said.number = static_cast<uint32_t>(2 - part); }), "expected part 1 of 3, got part 3 of 3");
  has(refused([](int part, Said& said) { said.number = part == 1 ? 2 : said.number; }), "expected part 2 of 3, got part 3 of 3");
  has(refused([](int part, Said& said) { said.n_parts = part == 2 ? 4 : 3; }), "expected part 3 of 3, got part 3 of 4");
  has(refused([](int part, Said& said) { said.n_parts = part == 2 ? 1 : 3; }), "got part 1 of 1");
  has(refused([](int, Said& said) { said.n_parts = 2; }), "expected to be given the first");
  has(refused([](int, Said& said) { said.n_parts = UINT32_MAX; }), "split.count: expected at most 1024");
  has(refused([](int, Said& said) { said.number += 3; }), "split.no: expected less than 3");
  has(refused([](int, Said& said) { said.n_tensors = 6; }), "split.tensors.count");
  has(refused([](int, Said& said) { said.n_tensors = UINT32_MAX; }), "split.tensors.count");
  has(error_of(write_parts(dir, {}, true)), "t0 is in more than one part");
  const std::string first = write_parts(dir);
  CHECK(error_of(first) == "");
  has(error_of(dir.file("m-00002-of-00003.gguf")), "part 2 of 3 of a split model: expected to be given the first");
  CHECK(GgufFile::open_part(dir.file("m-00002-of-00003.gguf")).tensors().size() == 2);
  std::filesystem::rename(dir.file("m-00002-of-00003.gguf"), dir.file("gone"));
  has(error_of(first), "m-00002-of-00003.gguf");
  std::filesystem::rename(first, dir.file("other.gguf"));
  has(error_of(dir.file("other.gguf")), "called NAME-00001-of-00003.gguf");
}

TEST_CASE("Split_AFileThatSaysItIsWholeIsWhole") {
  const olx::tests::TempDir dir;
  for (const uint32_t count : {0u, 1u}) {
    GgufWriter writer;
    writer.set_uint32("split.count", count);
    add_tensor(writer, 0);
    writer.write(dir.file("one.gguf"));
    CHECK(GgufFile::open(dir.file("one.gguf")).tensors().size() == 1);
  }
  GgufWriter writer;
  writer.set_string("split.count", "2");
  add_tensor(writer, 0);
  writer.write(dir.file("text.gguf"));
  CHECK(error_of(dir.file("text.gguf")).find("split.count") != std::string::npos);
}
