#pragma once
// The other side of the seam of server/store/sys.h: the same calls, with a script. A test program
// that is linked with olx_fault_script makes one chosen call fail, be cut short, wait, or be the
// last thing its process does; and it can record what reaches the disk, for DiskModel. Without a
// script every call goes through.

#include <cerrno>
#include <string>
#include <vector>

namespace olx::tests::faults {

// pread counts as read, pwrite as write, fdatasync as fsync.
enum class Call {
  kAny,
  kOpen,
  kClose,
  kRead,
  kWrite,
  kFsync,
  kFtruncate,
  kFallocate,
  kClone,
  kFchmod,
  kFlock,
  kFstat,
  kLstat,
  kStat,
  kRename,
  kLink,
  kUnlink,
  kMkdir,
  kRmdir,
  kTouch,
  kListFolder,
  kFreeBytes,
  kConnect,
  kSend,
  kRecv,
};
const char* name_of(Call call);

struct Fault {
  enum class Kind {
    kError,       // nothing is done; -1 and `error`
    kShortWrite,  // a write, or a read, of half of its bytes
    kKill,        // SIGKILL before the call
    kTornKill,    // half of a write, then SIGKILL
    kDelay,
  };
  Kind kind = Kind::kError;
  Call call = Call::kAny;
  int n = 1;              // which of these calls, counted from 1
  bool for_ever = false;  // this one and all after it
  int error = EIO;
  int delay_ms = 1;
};

// From now on, for calls of any thread. One fault at a time; counts from zero.
void arm(const Fault& fault);
void disarm();
// Calls of the armed kind since arm(), and whether the fault was met.
int n_calls();
bool is_met();

// What reached the kernel, in order, for files below one folder. Paths are relative to it.
struct DiskEvent {
  enum class Kind {
    kCreate,
    kWrite,
    kResize,
    kSyncFile,
    kSyncFolder,
    kRename,
    kLink,
    kUnlink,
    kMakeFolder,
    kRemoveFolder,
    kMark
  };
  Kind kind;
  int file = -1;     // which file it is about, whatever its name
  std::string path;  // of a mark its text
  std::string to;    // of a rename and a link
  uint64_t offset = 0;
  std::string bytes;
};

// What is there when the recording begins counts as on disk for good.
void start_recording(const std::string& folder);
std::vector<DiskEvent> stop_recording();
void mark(const std::string& text);
// A disk that says yes and does nothing: no sync is recorded from now on.
void lie_about_syncs(bool is_lying);

}  // namespace olx::tests::faults
