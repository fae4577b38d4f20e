#pragma once
// Models in several files: how the files are called, and one file made of them. Joining the files to read them is
// GgufFile::open() (reader.h). The layout is llama.cpp's (gguf-split): the first file has the model's metadata, each
// has split.no (from 0), split.count and split.tensors.count (of all files together). Names come from the file that was asked
// for; no name is ever taken out of a file.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gguf/reader.h"

namespace olx::gguf {

// "stem-00001-of-00003.gguf".
struct SplitName {
  std::string stem;
  uint64_t number = 0;  // from 1, as in the name
  uint64_t n_parts = 0;

  std::string file_name(uint64_t its_number) const;
};
inline constexpr uint64_t kMaxParts = 1024;
// nullopt when it is another kind of name, or the numbers make no sense. `path` may have folders; they stay in the stem.
std::optional<SplitName> parse_split_name(std::string_view path);

// Which of how many a single file says it is: {0, 1} for one that is whole. FormatError when the keys are no numbers or
// contradict each other.
struct SplitPlace {
  uint64_t number = 0;  // split.no
  uint64_t n_parts = 1;
};
SplitPlace split_place(const GgufFile& file);

// Joined files as one: the first one's metadata without the split keys, then every tensor. `put` gets its bytes in order;
// nothing larger than a piece of 1 MiB and the headers is held in memory.
uint64_t merged_size_bytes(const GgufFile& joined);
void merge(const GgufFile& joined, const std::function<void(std::span<const std::byte>)>& put);

}  // namespace olx::gguf
