#pragma once
// WorkerProcess: this program, started again as `ollamax worker` with a socket and the model's
// files and nothing else of the server's. Used by worker_host.cpp. Any thread may call it.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace olx::server {

// Descriptors as the worker finds them.
inline constexpr int kWorkerSocket = 3, kWorkerModel = 4, kWorkerDraft = 5;

// The argument of a worker whose model runs on a GPU.
inline constexpr const char* kWorkerHasDriver = "--driver";

class WorkerProcess {
 public:
  // Starts `program` with these arguments. The worker gets the socket, the files (-1: none) and
  // standard error; of the environment what concerns computing, no keys. It dies with the thread
  // that calls this. Throws std::system_error.
  WorkerProcess(const std::string& program, const std::vector<std::string>& arguments, int socket,
                int model_fd, int draft_fd);
  ~WorkerProcess();  // kills it and waits
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  pid_t pid() const { return pid_; }
  void kill();
  // How it ended, as a text: "signal 11 (Segmentation fault)", "exit code 1"; nullopt while it
  // runs.
  std::optional<std::string> wait(std::chrono::milliseconds timeout);
  // The most memory that it may have in data; false when the system refuses.
  bool limit_memory(uint64_t n_bytes);

 private:
  pid_t pid_ = -1;
  std::mutex mutex_;  // a number that was reaped may be another's already
  std::optional<std::string> ended_;
};

}  // namespace olx::server
