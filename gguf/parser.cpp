// The order of validation is the one a hostile file cannot profit from: sizes before allocation, structure before
// meaning. Steps 1 (fstat) is in reader.cpp; steps 10 and 11 (architecture, tokenizer) belong to the engine.
#include "gguf/parser.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "gguf/ascii.h"
#include "gguf/bytes.h"
#include "gguf/checked.h"

namespace olx::gguf {
namespace {

constexpr uint32_t kMagic = 0x46554747;         // "GGUF"
constexpr uint32_t kMagicSwapped = 0x47475546;  // a big-endian writer's
constexpr uint64_t kMinKvBytes = 14;      // key length, 1 byte of key, type, 1 byte of value
constexpr uint64_t kMinTensorBytes = 33;  // name length, 1 byte, n_dims, one dim, type, offset
constexpr uint64_t kReadStepBytes = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 65'535;
constexpr uint64_t kMaxTensorNameBytes = 127;
constexpr uint64_t kMaxDim = 1ull << 40;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

size_t scalar_size(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool: return 1;
    case ValueType::kUint16:
    case ValueType::kInt16: return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32: return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64: return 8;
    default: return 0;
  }
}

bool is_key_char(char c) {
  return ascii::is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
}

// For messages: what came from the file, made printable and short.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 80)) out += (c >= 32 && c < 127) ? c : '?';
  if (text.size() > 80) out += "...";
  return out + "'";
}

}  // namespace

void GgufParser::fail(uint64_t offset, const std::string& what) const {
  throw FormatError(file_.path + " @ " + hex(offset) + ": " + what);
}

const std::byte* GgufParser::take(uint64_t size_bytes, std::string_view what) {
  if (size_bytes > remaining())
    fail(offset_, std::string(what) + ": expected " + std::to_string(size_bytes) + " bytes, the file has " +
                      std::to_string(remaining()) + " left");
  const uint64_t end = offset_ + size_bytes;  // cannot overflow: both are within the file
  if (end > limits_.max_metadata_bytes)
    fail(offset_, "metadata: expected at most " + std::to_string(limits_.max_metadata_bytes) + " bytes, got more");
  while (file_.header.size() < end) {
    const uint64_t have = file_.header.size();
    const uint64_t want = std::min(std::max(end - have, kReadStepBytes), file_.file_size_bytes - have);
    file_.header.resize(have + want);
    const ssize_t n = ::pread(file_.fd, file_.header.data() + have, want, static_cast<off_t>(have));
    if (n < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), file_.path);
    file_.header.resize(have + static_cast<uint64_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) fail(have, std::string(what) + ": the file became shorter while it was read");
  }
  const std::byte* bytes = file_.header.data() + offset_;
  offset_ = end;
  return bytes;
}

template <typename T>
T GgufParser::take_number(std::string_view what) {
  return load<T>(take(sizeof(T), what));
}

std::string_view GgufParser::take_string(uint64_t max_bytes, std::string_view what) {
  const uint64_t at = offset_;
  const auto length = take_number<uint64_t>(what);
  if (length > max_bytes)
    fail(at, std::string(what) + ": expected a length of at most " + std::to_string(max_bytes) + " bytes, got " +
                 std::to_string(length));
  const std::byte* bytes = take(length, what);
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)};
}

void GgufParser::parse() {
  if (file_.file_size_bytes < 24)
    fail(0, "expected a GGUF file of at least 24 bytes, got " + std::to_string(file_.file_size_bytes));
  const auto magic = take_number<uint32_t>("magic");
  if (magic == kMagicSwapped) fail(0, "expected a little-endian GGUF file, got a big-endian one");
  if (magic != kMagic) fail(0, "expected the magic 'GGUF', got " + hex(magic));
  file_.version = take_number<uint32_t>("version");
  if (file_.version != 2 && file_.version != 3) {
    const bool is_swapped = __builtin_bswap32(file_.version) <= 3 && file_.version != 0 && file_.version != 1;
    fail(4, is_swapped ? "expected a little-endian GGUF file, got a big-endian one"
                       : "expected GGUF version 2 or 3, got " + std::to_string(file_.version));
  }
  const auto n_tensors = take_number<uint64_t>("tensor count");
  const auto n_kv = take_number<uint64_t>("metadata count");
  if (n_kv > limits_.max_kv || n_kv > remaining() / kMinKvBytes)
    fail(16, "metadata count: expected at most " +
                 std::to_string(std::min(limits_.max_kv, remaining() / kMinKvBytes)) + ", got " + std::to_string(n_kv));
  if (n_tensors > limits_.max_tensors || n_tensors > remaining() / kMinTensorBytes)
    fail(8, "tensor count: expected at most " +
                std::to_string(std::min(limits_.max_tensors, remaining() / kMinTensorBytes)) + ", got " +
                std::to_string(n_tensors));
  read_metadata(n_kv);
  read_tensors(n_tensors);

  // The header buffer has its final address now: point the views into it.
  file_.header.resize(offset_);
  file_.header.shrink_to_fit();
  for (size_t i = 0; i < file_.metadata.size(); ++i) {
    GgufFile::Entry& entry = file_.metadata[i];
    entry.key = {reinterpret_cast<const char*>(file_.header.data() + keys_[i].from),
                 static_cast<size_t>(keys_[i].size_bytes)};
    entry.value.bytes_ = {file_.header.data() + payloads_[i].from, static_cast<size_t>(payloads_[i].size_bytes)};
    if (!file_.metadata_index.emplace(entry.key, i).second)
      fail(keys_[i].from, "metadata key " + quoted(entry.key) + " occurs twice");
  }
  if (const auto it = file_.metadata_index.find("general.alignment"); it != file_.metadata_index.end()) {
    const Value& value = file_.metadata[it->second].value;
    const uint64_t at = payloads_[it->second].from;
    if (value.type() != ValueType::kUint32)
      fail(at, "general.alignment: expected u32, got " + std::string(value_type_name(value.type())));
    file_.alignment = load<uint32_t>(value.bytes_.data());
    // 1, 2 and 4 are odd but harmless (some writers use 1): every read here is unaligned anyway.
    if (file_.alignment == 0 || file_.alignment > 65'536 || (file_.alignment & (file_.alignment - 1)) != 0)
      fail(at, "general.alignment: expected a power of two from 1 to 65536, got " + std::to_string(file_.alignment));
  }
  check_layout();
}

void GgufParser::read_metadata(uint64_t n_kv) {
  for (uint64_t i = 0; i < n_kv; ++i) {
    const uint64_t at = offset_;
    const std::string_view key_view = take_string(kMaxKeyBytes, "metadata key");
    if (key_view.empty()) fail(at, "metadata key: expected 1 to 65535 bytes, got 0");
    if (!std::all_of(key_view.begin(), key_view.end(), is_key_char))
      fail(at, "metadata key " + quoted(key_view) + ": expected letters, digits and . _ - only");
    const std::string key(key_view);  // the buffer may move while the value is read
    keys_.push_back({at + 8, key.size()});
    GgufFile::Entry entry;
    take_value(entry.value, key);
    file_.metadata.push_back(entry);
  }
}

void GgufParser::take_value(Value& value, std::string_view key) {
  const uint64_t at = offset_;
  const auto type = take_number<uint32_t>("metadata type");
  if (type > static_cast<uint32_t>(ValueType::kFloat64))
    fail(at, "metadata key '" + std::string(key) + "': expected a value type from 0 to 12, got " + std::to_string(type));
  value.type_ = value.element_type_ = static_cast<ValueType>(type);
  value.n_elems_ = 1;
  if (value.type_ == ValueType::kArray) return take_array(value, key);
  const uint64_t from = offset_;
  if (value.type_ == ValueType::kString)
    take_string(limits_.max_string_bytes, key);
  else
    take(scalar_size(value.type_), key);
  payloads_.push_back({from, offset_ - from});
}

void GgufParser::take_array(Value& value, std::string_view key) {
  const uint64_t at = offset_;
  const auto element_type = take_number<uint32_t>("array type");
  if (element_type > static_cast<uint32_t>(ValueType::kFloat64))
    fail(at, "metadata key '" + std::string(key) + "': expected an element type from 0 to 12, got " +
                 std::to_string(element_type));
  value.element_type_ = static_cast<ValueType>(element_type);
  if (value.element_type_ == ValueType::kArray)
    fail(at, "metadata key '" + std::string(key) + "': arrays of arrays are not supported");
  value.n_elems_ = take_number<uint64_t>("array length");
  const uint64_t from = offset_;
  const bool is_text = value.element_type_ == ValueType::kString;
  const uint64_t element_bytes = is_text ? 8 : scalar_size(value.element_type_);  // a string takes 8 at the least
  uint64_t size_bytes = 0;
  if (!checked_mul(value.n_elems_, element_bytes, size_bytes) || size_bytes > remaining())
    fail(at, "metadata key '" + std::string(key) + "': expected an array that fits in the " +
                 std::to_string(remaining()) + " bytes left, got " + std::to_string(value.n_elems_) + " elements");
  if (is_text) {
    for (uint64_t i = 0; i < value.n_elems_; ++i) take_string(limits_.max_string_bytes, key);
  } else {
    take(size_bytes, key);
  }
  payloads_.push_back({from, offset_ - from});
}

void GgufParser::read_tensors(uint64_t n_tensors) {
  for (uint64_t i = 0; i < n_tensors; ++i) {
    const uint64_t at = offset_;
    TensorInfo tensor;
    tensor.name = take_string(kMaxTensorNameBytes, "tensor name");
    if (tensor.name.empty()) fail(at, "tensor name: expected 1 to 127 bytes, got 0");
    for (char c : tensor.name)
      if (static_cast<unsigned char>(c) < 32 || c == 127)
        fail(at, "tensor name " + quoted(tensor.name) + ": control characters are not allowed");
    const auto n_dims = take_number<uint32_t>("tensor dimensions");
    if (n_dims < 1 || n_dims > 4)
      fail(at, tensor.name + ": expected 1 to 4 dimensions, got " + std::to_string(n_dims));
    tensor.n_dims = static_cast<int>(n_dims);
    uint64_t n_elems = 1;
    for (uint32_t d = 0; d < n_dims; ++d) {
      const auto dim = take_number<uint64_t>("tensor dimension");
      if (dim < 1 || dim > kMaxDim)
        fail(at, tensor.name + ": dimension " + std::to_string(d) + ": expected 1 to 2^40, got " + std::to_string(dim));
      if (!checked_mul(n_elems, dim, n_elems) || n_elems > static_cast<uint64_t>(INT64_MAX))
        fail(at, tensor.name + ": the number of elements does not fit in 63 bits");
      // The file has the fastest dimension first; shape has it last. This is the one place that turns it.
      tensor.shape[n_dims - 1 - d] = static_cast<int64_t>(dim);
    }
    const uint64_t type_at = offset_;
    const auto type = take_number<uint32_t>("tensor type");
    const DTypeInfo* info = find_dtype(type);
    if (info == nullptr)
      fail(type_at, tensor.name + ": tensor type " + std::to_string(type) + " is not supported");
    tensor.dtype = info->dtype;
    if (tensor.n_cols() % info->block_elems != 0)
      fail(at, tensor.name + ": expected rows of a multiple of " + std::to_string(info->block_elems) +
                   " elements for " + std::string(info->name) + ", got " + std::to_string(tensor.n_cols()));
    if (!checked_mul(n_elems / static_cast<uint64_t>(info->block_elems), static_cast<uint64_t>(info->block_bytes),
                     tensor.size_bytes))
      fail(at, tensor.name + ": the size in bytes does not fit in 64 bits");
    tensor.offset_bytes = take_number<uint64_t>("tensor offset");
    file_.tensors.push_back(std::move(tensor));
  }
}

void GgufParser::check_layout() {
  const uint64_t alignment = file_.alignment;
  const uint64_t padding = (alignment - offset_ % alignment) % alignment;
  if (!checked_add(offset_, padding, file_.data_offset_bytes)) fail(offset_, "the data offset does not fit in 64 bits");
  if (file_.tensors.empty()) return;  // a vocabulary file may end right after its metadata
  std::vector<size_t> order(file_.tensors.size());
  file_.tensor_index.reserve(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    TensorInfo& tensor = file_.tensors[i];
    if (!file_.tensor_index.emplace(tensor.name, i).second)
      fail(offset_, "tensor " + quoted(tensor.name) + " occurs twice");
    if (tensor.offset_bytes % alignment != 0)
      fail(offset_, tensor.name + ": expected an offset that is a multiple of " + std::to_string(alignment) + ", got " +
                        std::to_string(tensor.offset_bytes));
    uint64_t end = 0;
    if (!checked_add(file_.data_offset_bytes, tensor.offset_bytes, tensor.offset_bytes) ||
        !checked_add(tensor.offset_bytes, tensor.size_bytes, end) || end > file_.file_size_bytes)
      fail(tensor.offset_bytes, tensor.name + ": expected " + std::to_string(tensor.size_bytes) +
                                    " bytes of data, the file ends at " + std::to_string(file_.file_size_bytes));
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return file_.tensors[a].offset_bytes < file_.tensors[b].offset_bytes;
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorInfo& before = file_.tensors[order[i - 1]];
    const TensorInfo& after = file_.tensors[order[i]];
    if (before.offset_bytes + before.size_bytes > after.offset_bytes)
      fail(after.offset_bytes, after.name + ": its data overlaps that of " + before.name);
  }
}

}  // namespace olx::gguf
