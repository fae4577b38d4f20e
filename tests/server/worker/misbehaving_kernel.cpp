// A kernel that does in a worker process what nothing there should do, as a plug-in: the product of
// F32 weights, which is right but where a step has one of the numbers of tokens below.
// OLLAMAX_KERNELS=matmul.f32=misbehaving.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "kernels/api/plugin.h"
#include "kernels/rows.h"
#include "tests/server/worker/misdeeds.h"

namespace olx::kernels {
namespace {

constexpr const char* kBackendName = "cpu";

// One line on standard error: "attempt NAME refused" or "attempt NAME succeeded".
void attempt(const char* name, bool has_succeeded) {
  char line[128];
  const int n = std::snprintf(line, sizeof line, "attempt %s %s\n", name,
                              has_succeeded ? "succeeded" : "refused");
  [[maybe_unused]] const ssize_t written = ::write(2, line, static_cast<size_t>(n));
}

bool opens(const char* path, int flags) { return ::open(path, flags, 0600) >= 0; }

void try_everything() {
  attempt("read-a-file", opens("/etc/passwd", O_RDONLY));
  attempt("read-the-program", opens("/proc/self/exe", O_RDONLY));
  attempt("read-own-memory-map", opens("/proc/self/maps", O_RDONLY));
  attempt("read-the-server", [] {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/environ", ::getppid());
    return opens(path, O_RDONLY);
  }());
  attempt("write-a-file", opens("/tmp/ollamax-worker-was-here", O_WRONLY | O_CREAT));
  attempt("reopen-the-model", opens("/proc/self/fd/4", O_RDWR));
  attempt("list-a-folder", opens("/", O_RDONLY | O_DIRECTORY));
  attempt("remove-a-file", ::unlink("/tmp/ollamax-worker-may-not-remove-this") == 0);
  attempt("make-a-folder", ::mkdir("/tmp/ollamax-worker-folder", 0700) == 0);
  attempt("make-an-internet-socket", ::socket(AF_INET, SOCK_STREAM, 0) >= 0);
  attempt("make-a-local-socket", ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
  attempt("make-a-socket-pair", [] {
    int ends[2];
    return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0;
  }());
  attempt("connect", [] {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(80);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(3, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
           errno == ECONNREFUSED;
  }());
  attempt("make-a-process", [] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    return child > 0;
  }());
  attempt("run-a-program", [] {
    char name[] = "/bin/true";
    char* words[] = {name, nullptr};
    pid_t child = 0;
    return ::posix_spawn(&child, name, nullptr, nullptr, words, nullptr) == 0;
  }());
  attempt("signal-the-server", ::kill(::getppid(), 0) == 0);
  attempt("trace-the-server", ::ptrace(PTRACE_SEIZE, ::getppid(), nullptr, nullptr) == 0);
  attempt("write-into-the-server", [] {
    char byte = 0;
    iovec here{&byte, 1}, there{reinterpret_cast<void*>(0x1000), 1};
    return ::process_vm_writev(::getppid(), &here, 1, &there, 1, 0) >= 0 || errno == EFAULT;
  }());
  attempt("make-memory-that-runs", ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  attempt("load-a-library", ::dlopen("libutil.so.1", RTLD_NOW) != nullptr &&
                                ::dlopen("libcrypt.so.1", RTLD_NOW) != nullptr);
  attempt("raise-its-limits", [] {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    return ::setrlimit(RLIMIT_DATA, &limit) == 0;
  }());
  attempt("become-dumpable", ::prctl(PR_SET_DUMPABLE, 1) == 0);
  attempt("become-another-user", ::setuid(65534) == 0);
  attempt("mount", ::syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, nullptr) == 0);
  attempt("make-a-namespace", ::syscall(SYS_unshare, 0x10000000) == 0);
  attempt("write-the-model", ::write(4, "x", 1) == 1 || ::pwrite(4, "x", 1, 0) == 1);
  // Far more than any model of the test needs.
  attempt("take-64-gib", [] {
    const size_t n_bytes = size_t{64} << 30;
    return ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
  }());
  // The last, since nothing follows where it succeeds.
  attempt("replace-itself", [] {
    char name[] = "/bin/true";
    char* words[] = {name, nullptr};
    ::execv(name, words);
    return false;
  }());
}

void* volatile nowhere = nullptr;

void misbehave(int64_t n_tokens) {
  switch (static_cast<Misdeed>(n_tokens / 10 * 10)) {
    case Misdeed::kSegfault:
      *static_cast<volatile int*>(nowhere) = 1;
      break;
    case Misdeed::kAbort:
      std::abort();
    case Misdeed::kExit:
      ::_exit(3);
    case Misdeed::kHang:
      for (;;) ::pause();
    case Misdeed::kTryEverything: {
      static bool is_done = false;
      if (!is_done) try_everything();
      is_done = true;
      break;
    }
    default:
      break;
  }
}

// Without a system call: a worker may not make any.
void spend(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void matmul_f32_misbehaving(const MatmulArgs& args, RowRange range) {
  if (range.from == 0) misbehave(args.y.n_rows);
  // An answer, or two that are made side by side, last until a further request can meet them, whatever else the machine does.
  if (range.from == 0 && args.y.n_rows <= 2) spend(std::chrono::milliseconds(1));
  const auto* weights = static_cast<const float*>(args.w.data);
  const auto* x = static_cast<const float*>(args.x.data);
  for (int64_t row = range.from; row < range.to; ++row)
    for (int64_t token = 0; token < args.y.n_rows; ++token) {
      float y = 0;
      for (int64_t i = 0; i < args.w.n_cols; ++i)
        y += weights[row * args.w.n_cols + i] * x[token * args.x.row_stride_elems + i];
      if (args.bias != nullptr) y += args.bias[row];
      if (args.residual != nullptr) y += args.residual[token * args.y.row_stride_elems + row];
      args.y.row(token)[row] = y;
    }
}

constexpr KernelRow kRows[] = {OLX_KERNEL_ROW(Matmul, F32, misbehaving, nullptr, nullptr,
                                              kFeatureNone, -1, nullptr, matmul_f32_misbehaving)};
const KernelPlugin kPlugin{kPluginAbi, sizeof(KernelRow), "misbehaving", kRows, 1};

}  // namespace

// For the test that nothing of the list fails by itself.
extern "C" void ollamax_try_everything() { try_everything(); }

extern "C" const KernelPlugin* ollamax_kernel_plugin(const PluginHost* host) {
  return host->abi == kPluginAbi ? &kPlugin : nullptr;
}

}  // namespace olx::kernels
