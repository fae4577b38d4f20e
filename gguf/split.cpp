#include "gguf/split.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <vector>

#include "gguf/checked.h"

namespace olx::gguf {
namespace {

constexpr size_t kDigits = 5;
constexpr size_t kPieceBytes = 1 << 20;
constexpr std::string_view kEnding = ".gguf", kOf = "-of-";

std::optional<uint64_t> number_of(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.size() != kDigits || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::string padded(uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%05llu", static_cast<unsigned long long>(number));
  return text;
}

class Header {
 public:
  template <typename T>
  void number(T value) {
    raw(std::as_bytes(std::span(&value, 1)));
  }
  void text(std::string_view value) {
    number(static_cast<uint64_t>(value.size()));
    raw(std::as_bytes(std::span(value)));
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

uint64_t aligned(uint64_t size_bytes, uint64_t alignment, const GgufFile& file) {
  uint64_t sum = 0;
  if (!checked_add(size_bytes, alignment - 1, sum)) throw FormatError(file.path() + ": the parts together do not fit in 64 bits");
  return sum / alignment * alignment;
}

bool is_kept(std::string_view key) { return !key.starts_with("split."); }

// Everything before the tensor data, padded; the data's size is added up in n_data_bytes.
std::vector<std::byte> merged_header(const GgufFile& joined, uint64_t& n_data_bytes) {
  const auto& metadata = joined.metadata();
  Header header;
  header.raw(std::as_bytes(std::span("GGUF", 4)));
  header.number(uint32_t{3});
  header.number(static_cast<uint64_t>(joined.tensors().size()));
  header.number(static_cast<uint64_t>(std::count_if(metadata.begin(), metadata.end(), [](const auto& entry) { return is_kept(entry.key); })));
  for (const GgufFile::Entry& entry : metadata) {
    if (!is_kept(entry.key)) continue;
    header.text(entry.key);
    header.number(static_cast<uint32_t>(entry.value.type()));
    if (entry.value.type() == ValueType::kArray) {
      header.number(static_cast<uint32_t>(entry.value.element_type()));
      header.number(entry.value.n_elems());
    }
    header.raw(entry.value.encoded());
  }
  n_data_bytes = 0;
  for (const TensorInfo& tensor : joined.tensors()) {
    header.text(tensor.name);
    header.number(static_cast<uint32_t>(tensor.n_dims));
    for (int d = tensor.n_dims; d-- > 0;) header.number(static_cast<uint64_t>(tensor.shape[static_cast<size_t>(d)]));
    header.number(static_cast<uint32_t>(tensor.dtype));
    header.number(n_data_bytes);
    uint64_t end = 0;
    if (!checked_add(n_data_bytes, tensor.size_bytes, end)) throw FormatError(joined.path() + ": the parts together do not fit in 64 bits");
    n_data_bytes = aligned(end, joined.alignment(), joined);
  }
  header.bytes().resize(aligned(header.bytes().size(), joined.alignment(), joined));
  return std::move(header.bytes());
}

}  // namespace

std::string SplitName::file_name(uint64_t its_number) const {
  return stem + "-" + padded(its_number) + std::string(kOf) + padded(n_parts) + std::string(kEnding);
}

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits + kEnding.size();
  if (path.size() <= kTail || !path.ends_with(kEnding)) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kTail);
  const auto number = number_of(tail.substr(1, kDigits));
  const auto n_parts = number_of(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || !number || !n_parts) return std::nullopt;
  if (*number < 1 || *number > *n_parts || *n_parts > kMaxParts || path[path.size() - kTail - 1] == '/') return std::nullopt;
  return SplitName{std::string(path.substr(0, path.size() - kTail)), *number, *n_parts};
}

SplitPlace split_place(const GgufFile& file) {
  SplitPlace place;
  if (const Value* count = file.find("split.count")) place.n_parts = std::max<uint64_t>(count->as_uint("split.count"), 1);  // 0: merged again
  if (place.n_parts == 1) return place;
  if (place.n_parts > kMaxParts)
    throw FormatError(file.path() + ": split.count: expected at most " + std::to_string(kMaxParts) + ", got " + std::to_string(place.n_parts));
  place.number = file.get("split.no").as_uint("split.no");
  if (place.number >= place.n_parts)
    throw FormatError(file.path() + ": split.no: expected less than " + std::to_string(place.n_parts) + ", got " + std::to_string(place.number));
  return place;
}

uint64_t merged_size_bytes(const GgufFile& joined) {
  uint64_t n_data_bytes = 0, size_bytes = 0;
  const uint64_t n_header_bytes = merged_header(joined, n_data_bytes).size();
  if (!checked_add(n_header_bytes, n_data_bytes, size_bytes)) throw FormatError(joined.path() + ": the parts together do not fit in 64 bits");
  return size_bytes;
}

void merge(const GgufFile& joined, const std::function<void(std::span<const std::byte>)>& put) {
  uint64_t n_data_bytes = 0;
  put(merged_header(joined, n_data_bytes));
  std::vector<std::byte> piece(kPieceBytes);
  for (const TensorInfo& tensor : joined.tensors()) {
    for (uint64_t at = 0; at < tensor.size_bytes;) {
      const auto bytes = std::span(piece).first(static_cast<size_t>(std::min<uint64_t>(piece.size(), tensor.size_bytes - at)));
      joined.read(tensor, at, bytes);
      put(bytes);
      at += bytes.size();
    }
    const std::vector<std::byte> padding(aligned(tensor.size_bytes, joined.alignment(), joined) - tensor.size_bytes);
    put(padding);
  }
}

}  // namespace olx::gguf
