#pragma once
// What the tests of the model store have in common: tiny GGUF files, uploads, requests.

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/writer.h"
#include "server/store/model_store.h"
#include "tests/support/test_paths.h"

namespace olx::server::testing {

inline ModelName name(std::string_view text) { return ModelName::parse(text).value(); }

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no file " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The bytes of a GGUF with 96 parameters, different for each seed.
inline std::string tiny_gguf(const olx::tests::TempDir& temp, uint32_t seed, std::string_view type = "model") {
  gguf::GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_string("general.type", type);
  writer.set_uint32("general.file_type", 3);
  writer.set_uint32("test.seed", seed);
  const std::vector<int64_t> shape = {3, 32};
  const std::vector<std::byte> bytes(96 * 4);
  writer.add_tensor("weights", gguf::DType::kF32, shape, bytes);
  const std::string path = temp.file("made.gguf");
  writer.write(path);
  return read_file(path);
}

inline Digest upload(ModelStore& store, std::string_view bytes) {
  BlobWriter blob = store.new_blob();
  blob.write(bytes);
  return blob.commit();
}

inline CreateRequest from_file(std::string_view model_name, const Digest& weights) {
  return CreateRequest{name(model_name), {}, {{"tiny.gguf", weights.text()}}, {}, {}, {}, {}, {}, {}};
}

inline std::vector<std::string> create(ModelStore& store, const CreateRequest& request) {
  std::vector<std::string> lines;
  store.create(request, [&](const std::string& line) { lines.push_back(line); });
  return lines;
}

// The kind of the StoreError that f throws; fails when it throws none.
template <class F>
StoreError::Kind kind_of(F f) {
  try {
    f();
  } catch (const StoreError& error) {
    return error.kind();
  }
  throw std::logic_error("no StoreError");
}

}  // namespace olx::server::testing
