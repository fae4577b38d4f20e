#include "server/registry/journal.h"

#include <zlib.h>

#include <algorithm>

namespace olx::server {
namespace fs = std::filesystem;
namespace {

constexpr uint32_t kJournalMagic = 0x4a584c4f;  // "OLXJ"
// A record for each 64 KiB of a blob of 1 TiB; a longer journal starts anew.
constexpr uint64_t kMaxJournalBytes = 512 << 20;

void put(std::string& out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

uint64_t take(std::string_view text, size_t at, int n_bytes) {
  uint64_t value = 0;
  for (int i = 0; i < n_bytes; ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>(text[at + static_cast<size_t>(i)])) << (8 * i);
  return value;
}

}  // namespace

uint32_t checksum(std::string_view bytes) {
  return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string encode_record(const JournalRecord& record) {
  std::string out;
  put(out, kJournalMagic, 4);
  put(out, record.crc, 4);
  put(out, record.offset, 8);
  put(out, record.size_bytes, 8);
  put(out, 0, 4);
  put(out, checksum(out), 4);
  return out;
}

std::vector<JournalRecord> replay_journal(std::string_view text, uint64_t total_bytes) {
  std::vector<JournalRecord> records;
  for (; text.size() >= kJournalRecordBytes; text.remove_prefix(kJournalRecordBytes)) {
    if (take(text, 0, 4) != kJournalMagic || take(text, 28, 4) != checksum(text.substr(0, 28))) break;
    const JournalRecord record{take(text, 8, 8), take(text, 16, 8), static_cast<uint32_t>(take(text, 4, 4))};
    if (record.size_bytes == 0 || record.offset > total_bytes || record.size_bytes > total_bytes - record.offset) break;
    records.push_back(record);
  }
  return records;
}

std::vector<ByteRange> missing_ranges(std::vector<JournalRecord> records, uint64_t total_bytes) {
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::vector<ByteRange> missing;
  uint64_t end = 0;
  for (const JournalRecord& record : records) {
    if (record.offset > end) missing.push_back({end, record.offset});
    end = std::max(end, record.offset + record.size_bytes);
  }
  if (end < total_bytes) missing.push_back({end, total_bytes});
  return missing;
}

Journal::Journal(fs::path path, const File& part, uint64_t total_bytes) : path_(std::move(path)), file_(File::open_for_update(path_, 0644)) {
  std::string text(file_.size() <= kMaxJournalBytes ? file_.size() : 0, '\0');
  text.resize(file_.read_at(text, 0));
  std::string bytes, kept;
  for (const JournalRecord& record : replay_journal(text, std::min(total_bytes, part.size()))) {
    if (record.size_bytes > (64 << 20)) break;  // never written by us
    bytes.resize(record.size_bytes);
    if (part.read_at(bytes, record.offset) != bytes.size() || checksum(bytes) != record.crc) continue;
    records_.push_back(record);
    kept += encode_record(record);
  }
  size_bytes_ = kept.size();
  if (kept == text && text.size() == file_.size()) return;
  // Not mended in place: a crash meanwhile would lose what was good.
  fs::path fresh = path_;
  fresh += ".new";
  remove_quietly(fresh);
  File file = File::create_exclusively(fresh, 0644);
  file.write_all(kept);
  file.sync();
  file.close();
  publish(fresh, path_);
  file_ = File::open_for_update(path_, 0644);
}

void Journal::add(const JournalRecord& record) {
  file_.write_at(encode_record(record), size_bytes_);
  size_bytes_ += kJournalRecordBytes;
  records_.push_back(record);
}

void Journal::sync() { file_.sync_data(); }

}  // namespace olx::server
