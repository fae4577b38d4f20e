#pragma once
// The journal of a download: which parts of the file are on disk, with a checksum of each. A file beside the part file,
// of records that are only ever appended; what a crash left half-written is dropped. Pure functions, but for Journal.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/files.h"

namespace olx::server {

struct JournalRecord {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  uint32_t crc = 0;  // of those bytes of the file
  bool operator==(const JournalRecord&) const = default;
};

inline constexpr size_t kJournalRecordBytes = 32;

std::string encode_record(const JournalRecord& record);
// The records up to the first that is torn, damaged or outside a file of total_bytes.
std::vector<JournalRecord> replay_journal(std::string_view text, uint64_t total_bytes);

struct ByteRange {
  uint64_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};
// What the records leave out of a file of total_bytes, in order.
std::vector<ByteRange> missing_ranges(std::vector<JournalRecord> records, uint64_t total_bytes);

uint32_t checksum(std::string_view bytes);

// The open journal of one download.
class Journal {
 public:
  // Takes over what is there and still true of `part`: every record is held against the bytes on disk, so that a power
  // failure that lost some of them costs those only.
  Journal(std::filesystem::path path, const File& part, uint64_t total_bytes);
  const std::vector<JournalRecord>& records() const { return records_; }
  // The bytes must be in the file, but need not be on the disk: a record that a power failure made untrue is seen when the journal
  // is opened again.
  void add(const JournalRecord& record);
  void sync();

 private:
  std::filesystem::path path_;
  std::vector<JournalRecord> records_;
  File file_;
  uint64_t size_bytes_ = 0;  // a record that was written in part, on a full disk, is written over by the next
};

}  // namespace olx::server
