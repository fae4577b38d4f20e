#include "server/worker/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <thread>

extern char** environ;

namespace olx::server {
namespace {

// By name or by the beginning of it. Keys of this server, of registries and of proxies are not
// among them.
constexpr std::string_view kEnvironment[] = {
    "OLLAMAX_CPU=",
    "OLLAMAX_KERNEL",
    "OLLAMAX_CUDA_DRIVER=",
    "OLLAMAX_HIP_DRIVER=",
    "OLLAMAX_GPU_GRAPHS=",
    "OLLAMAX_FUSE=",
    "CUDA_",
    "NVIDIA_",
    "HIP_",
    "ROCR_",
    "HSA_",
    "SOURCE_DATE_EPOCH=",
    "TZ=",
    "LANG=",
    "LC_",
    "LD_LIBRARY_PATH=",
    "MALLOC_",
    "GLIBC_TUNABLES=",
    "ASAN_OPTIONS=",
    "TSAN_OPTIONS=",
    "UBSAN_OPTIONS=",
};

std::vector<char*> worker_environment() {
  std::vector<char*> chosen;
  for (char** entry = environ; *entry != nullptr; ++entry)
    for (const std::string_view name : kEnvironment)
      if (std::string_view(*entry).starts_with(name)) {
        chosen.push_back(*entry);
        break;
      }
  chosen.push_back(nullptr);
  return chosen;
}

// What posix_spawn is told, freed in every case.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
};

}  // namespace

WorkerProcess::WorkerProcess(const std::string& program, const std::vector<std::string>& arguments,
                             int socket, int model_fd, int draft_fd) {
  SpawnPlan plan;
  // First out of the way of the places where they belong.
  const int given[] = {socket, model_fd, draft_fd};
  const int aside = std::max({socket, model_fd, draft_fd, kWorkerDraft}) + 1;
  int error = 0;
  const auto then = [&](int result) { error = error != 0 ? error : result; };
  for (int i = 0; i < 3; ++i)
    if (given[i] >= 0) then(::posix_spawn_file_actions_adddup2(&plan.actions, given[i], aside + i));
  for (int i = 0; i < 3; ++i)
    if (given[i] >= 0)
      then(::posix_spawn_file_actions_adddup2(&plan.actions, aside + i, kWorkerSocket + i));
  then(::posix_spawn_file_actions_addopen(&plan.actions, 0, "/dev/null", O_RDONLY, 0));
  then(::posix_spawn_file_actions_addopen(&plan.actions, 1, "/dev/null", O_WRONLY, 0));
  // Everything else of the server goes: connections, the store, whatever a library opened without
  // close-on-exec.
  then(::posix_spawn_file_actions_addclosefrom_np(&plan.actions,
                                                  draft_fd >= 0 ? kWorkerDraft + 1 : kWorkerDraft));
  sigset_t none;
  ::sigemptyset(&none);
  then(::posix_spawnattr_setsigmask(&plan.attributes, &none));
  // A session of its own: a key pressed at the server's terminal is for the server, which lets
  // running answers end.
  then(::posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID));
  std::vector<std::string> words{"ollamax"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> environment = worker_environment();
  if (error == 0)
    error = ::posix_spawn(&pid_, program.c_str(), &plan.actions, &plan.attributes, argv.data(),
                          environment.data());
  if (error != 0)
    throw std::system_error(error, std::generic_category(),
                            "cannot start a process for the model: " + program);
}

WorkerProcess::~WorkerProcess() {
  if (ended_) return;
  kill();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void WorkerProcess::kill() {
  const std::lock_guard lock(mutex_);
  if (!ended_) ::kill(pid_, SIGKILL);
}

std::optional<std::string> WorkerProcess::wait(std::chrono::milliseconds timeout) {
  const auto last = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    std::unique_lock lock(mutex_);
    if (ended_) return ended_;
    int status = 0;
    const pid_t found = ::waitpid(pid_, &status, WNOHANG);
    if (found == pid_ && WIFSIGNALED(status))
      ended_ =
          "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
    else if (found == pid_)
      ended_ = "exit code " + std::to_string(WEXITSTATUS(status));
    else if (found < 0 && errno != EINTR)
      ended_ = "unknown";  // reaped by somebody else
    lock.unlock();
    if (found == 0 && std::chrono::steady_clock::now() >= last) return std::nullopt;
    if (found == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool WorkerProcess::limit_memory([[maybe_unused]] uint64_t n_bytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;  // a sanitizer's shadow of all memory would count
#else
  // The hard limit stays: without privileges it could not be raised again for the next need. The
  // worker cannot raise the soft one, its filter refuses that.
  const std::lock_guard lock(mutex_);
  if (ended_) return false;
  rlimit limit{};
  if (::prlimit(pid_, RLIMIT_DATA, nullptr, &limit) != 0) return false;
  limit.rlim_cur = std::min<rlim_t>(n_bytes, limit.rlim_max);
  return ::prlimit(pid_, RLIMIT_DATA, &limit, nullptr) == 0;
#endif
}

}  // namespace olx::server
