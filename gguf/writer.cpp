#include "gguf/writer.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "gguf/check.h"
#include "gguf/value.h"

namespace olx::gguf {
namespace {

struct Tensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

void append(std::vector<std::byte>& out, const void* bytes, size_t size_bytes) {
  const auto* from = static_cast<const std::byte*>(bytes);
  out.insert(out.end(), from, from + size_bytes);
}

template <typename T>
void append_number(std::vector<std::byte>& out, T value) {
  append(out, &value, sizeof value);
}

void append_string(std::vector<std::byte>& out, std::string_view text) {
  append_number(out, static_cast<uint64_t>(text.size()));
  append(out, text.data(), text.size());
}

void pad(std::vector<std::byte>& out, size_t alignment) {
  out.resize((out.size() + alignment - 1) / alignment * alignment);
}

}  // namespace

struct GgufWriter::Impl {
  uint32_t alignment = 32;
  uint64_t n_kv = 0;
  std::vector<std::byte> kv;
  std::vector<Tensor> tensors;

  void key(std::string_view key, ValueType type) {
    ++n_kv;
    append_string(kv, key);
    append_number(kv, static_cast<uint32_t>(type));
  }
  void array(std::string_view name, ValueType type, size_t n_elems) {
    key(name, ValueType::kArray);
    append_number(kv, static_cast<uint32_t>(type));
    append_number(kv, static_cast<uint64_t>(n_elems));
  }
};

GgufWriter::GgufWriter(uint32_t alignment) : impl_(std::make_unique<Impl>()) {
  OLX_CHECK(alignment > 0 && (alignment & (alignment - 1)) == 0);
  impl_->alignment = alignment;
  if (alignment != 32) set_uint32("general.alignment", alignment);
}
GgufWriter::~GgufWriter() = default;

void GgufWriter::set_uint32(std::string_view key, uint32_t value) {
  impl_->key(key, ValueType::kUint32);
  append_number(impl_->kv, value);
}
void GgufWriter::set_uint64(std::string_view key, uint64_t value) {
  impl_->key(key, ValueType::kUint64);
  append_number(impl_->kv, value);
}
void GgufWriter::set_int32(std::string_view key, int32_t value) {
  impl_->key(key, ValueType::kInt32);
  append_number(impl_->kv, value);
}
void GgufWriter::set_float32(std::string_view key, float value) {
  impl_->key(key, ValueType::kFloat32);
  append_number(impl_->kv, value);
}
void GgufWriter::set_bool(std::string_view key, bool value) {
  impl_->key(key, ValueType::kBool);
  append_number(impl_->kv, static_cast<uint8_t>(value));
}
void GgufWriter::set_string(std::string_view key, std::string_view value) {
  impl_->key(key, ValueType::kString);
  append_string(impl_->kv, value);
}
void GgufWriter::set_strings(std::string_view key, std::span<const std::string> values) {
  impl_->array(key, ValueType::kString, values.size());
  for (const std::string& value : values) append_string(impl_->kv, value);
}
void GgufWriter::set_int32s(std::string_view key, std::span<const int32_t> values) {
  impl_->array(key, ValueType::kInt32, values.size());
  append(impl_->kv, values.data(), values.size_bytes());
}
void GgufWriter::set_float32s(std::string_view key, std::span<const float> values) {
  impl_->array(key, ValueType::kFloat32, values.size());
  append(impl_->kv, values.data(), values.size_bytes());
}

void GgufWriter::add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape,
                            std::span<const std::byte> bytes) {
  OLX_CHECK(!shape.empty() && shape.size() <= 4);
  int64_t n_rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) n_rows *= shape[i];
  OLX_CHECK(static_cast<int64_t>(bytes.size()) == n_rows * row_size_bytes(dtype, shape.back()));
  impl_->tensors.push_back({std::string(name), dtype, {shape.begin(), shape.end()}, {bytes.begin(), bytes.end()}});
}

void GgufWriter::write(const std::string& path) const {
  std::vector<std::byte> header;
  append(header, "GGUF", 4);
  append_number(header, uint32_t{3});
  append_number(header, static_cast<uint64_t>(impl_->tensors.size()));
  append_number(header, impl_->n_kv);
  append(header, impl_->kv.data(), impl_->kv.size());
  uint64_t offset = 0;
  for (const Tensor& tensor : impl_->tensors) {
    append_string(header, tensor.name);
    append_number(header, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t d = tensor.shape.size(); d-- > 0;) append_number(header, static_cast<uint64_t>(tensor.shape[d]));
    append_number(header, static_cast<uint32_t>(tensor.dtype));
    append_number(header, offset);
    offset += (tensor.bytes.size() + impl_->alignment - 1) / impl_->alignment * impl_->alignment;
  }
  pad(header, impl_->alignment);

  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "wb"));
  if (!file) throw std::system_error(errno, std::generic_category(), path);
  const auto put = [&](const std::vector<std::byte>& bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
      throw std::system_error(errno, std::generic_category(), path);
  };
  put(header);
  for (const Tensor& tensor : impl_->tensors) {
    std::vector<std::byte> padded = tensor.bytes;
    pad(padded, impl_->alignment);
    put(padded);
  }
  if (std::fflush(file.get()) != 0) throw std::system_error(errno, std::generic_category(), path);
}

}  // namespace olx::gguf
