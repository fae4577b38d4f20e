// forbid_system_calls(): a seccomp filter that lets through what a loaded model needs and refuses
// the rest with EPERM. A list of what is allowed, not of what is forbidden: calls that a later
// kernel adds stay out by themselves.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/worker/sandbox.h"

namespace olx::server {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;  // no filter
#endif

constexpr uint32_t kAllowed[] = {
    // The socket to the server, the model file, messages on standard error.
    SYS_read,
    SYS_readv,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_write,
    SYS_writev,
    SYS_close,
    SYS_lseek,
    SYS_fstat,
    SYS_sendto,
    SYS_sendmsg,
    SYS_recvfrom,
    SYS_shutdown,
    SYS_ppoll,
    // Memory.
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_membarrier,
    SYS_sysinfo,
    // Threads, locks, time.
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_exit,
    SYS_exit_group,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_getcpu,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getrusage,
    SYS_restart_syscall,
    // Signals to itself (which: see below), random numbers.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_getrandom,
#if defined(__x86_64__)
    SYS_poll,
    SYS_time,
    SYS_arch_prctl,
#endif
};

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW, kRefuse = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kDataNumber = offsetof(seccomp_data, nr),
                   kDataArchitecture = offsetof(seccomp_data, arch);

// The low or high half of an argument of the call. Both architectures are little-endian.
constexpr uint32_t low_half(int argument) {
  return offsetof(seccomp_data, args) + static_cast<uint32_t>(argument) * 8;
}
constexpr uint32_t high_half(int argument) { return low_half(argument) + 4; }

class Filter {
 public:
  void load(uint32_t offset) { add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
  void answer(uint32_t action) { add(BPF_RET | BPF_K, action, 0, 0); }
  // What follows, of so many instructions, is only done where the loaded word is (or is not) the
  // value.
  void if_equal(uint32_t value, uint8_t n_instructions) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n_instructions);
  }
  void if_not_equal(uint32_t value, uint8_t n_instructions) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value, n_instructions, 0);
  }
  void if_any_bit(uint32_t bits, uint8_t n_instructions) {
    add(BPF_JMP | BPF_JSET | BPF_K, bits, 0, n_instructions);
  }
  void if_from(uint32_t value, uint8_t n_instructions) {
    add(BPF_JMP | BPF_JGE | BPF_K, value, 0, n_instructions);
  }

  // The call is allowed where an argument has one of these bits, or where it has none of them; else
  // refused.
  void if_call_has_bits(uint32_t call, int argument, uint32_t bits, bool must_have) {
    if_equal(call, 4);
    load(low_half(argument));
    if_any_bit(bits, 1);
    answer(must_have ? kAllow : kRefuse);
    answer(must_have ? kRefuse : kAllow);
  }
  // The call is allowed where an argument is this number.
  void if_call_has(uint32_t call, int argument, uint32_t value) {
    if_equal(call, 6);
    load(high_half(argument));
    if_equal(0, 3);
    load(low_half(argument));
    if_equal(value, 1);
    answer(kAllow);
    answer(kRefuse);
  }

  bool install() {
    sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
  }

 private:
  void add(int code, uint32_t k, uint8_t when_true, uint8_t when_false) {
    code_.push_back({static_cast<uint16_t>(code), when_true, when_false, k});
  }
  std::vector<sock_filter> code_;
};

}  // namespace

bool forbid_system_calls() {
  if (kArchitecture == 0) return false;
  Filter filter;
  filter.load(kDataArchitecture);
  filter.if_not_equal(kArchitecture, 1);
  filter.answer(SECCOMP_RET_KILL_PROCESS);
  filter.load(kDataNumber);
#if defined(__x86_64__)
  filter.if_from(0x40000000, 1);  // the x32 calls, which are others by the same numbers
  filter.answer(SECCOMP_RET_KILL_PROCESS);
#endif
  for (const uint32_t call : kAllowed) {
    filter.if_equal(call, 1);
    filter.answer(kAllow);
  }
  // Threads but no processes. The flags of clone3 lie where a filter cannot see them: glibc then
  // uses clone.
  filter.if_call_has_bits(SYS_clone, 0, CLONE_THREAD, true);
  filter.if_equal(SYS_clone3, 1);
  filter.answer(SECCOMP_RET_ERRNO | ENOSYS);
  // No memory that can be run: what runs was there before.
  filter.if_call_has_bits(SYS_mmap, 2, PROT_EXEC, false);
  filter.if_call_has_bits(SYS_mprotect, 2, PROT_EXEC, false);
  // abort() sends a signal to this process, and to no other.
  filter.if_call_has(SYS_tgkill, 0, static_cast<uint32_t>(::getpid()));
  // What fstat() of several versions of glibc is. Of a path it could say whether it is there, and
  // not open it.
  filter.if_call_has(SYS_newfstatat, 3, AT_EMPTY_PATH);
  // Names of threads; limits can be read (a new thread's stack wants it) and not set.
  filter.if_call_has(SYS_prctl, 0, PR_SET_NAME);
  filter.if_call_has(SYS_prlimit64, 2, 0);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  // What a sanitizer's report asks: whether standard error is a terminal, and whose process it is.
  for (const uint32_t call :
       {SYS_ioctl, SYS_readlinkat, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname}) {
    filter.if_equal(call, 1);
    filter.answer(kAllow);
  }
#endif
  filter.answer(kRefuse);
  return filter.install();
}

}  // namespace olx::server
