#pragma once
// A server whose models run in workers, with a kernel that can be asked to misbehave, and a look at
// its processes.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/api/server_fixture.h"
#include "tests/server/worker/misdeeds.h"

namespace olx::tests {

template <class Condition>
bool comes_true(const Condition& condition, int n_ms = 20'000) {
  for (int i = 0; i < n_ms / 5; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// The value of a line of /proc/PID/status; "" when the process is gone.
inline std::string status_of(pid_t pid, const std::string& name) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":"))
      return line.substr(std::min(line.find_first_not_of(" \t", name.size() + 1), line.size()));
  return "";
}

// Children of this process, the dead that nobody has waited for among them.
inline std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (status_of(pid, "PPid") == std::to_string(::getpid())) found.push_back(pid);
  }
  return found;
}

inline size_t n_descriptors() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++n;
  return n;
}

// Standard error into a file, while it lives; workers write there too.
class CapturedErrors {
 public:
  CapturedErrors() : path_(dir_.file("stderr")), before_(::dup(2)) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(file, 2);
    ::close(file);
  }
  ~CapturedErrors() {
    ::dup2(before_, 2);
    ::close(before_);
  }
  std::string text() const { return file_bytes(path_); }
  bool has(const std::string& words) const { return text().find(words) != std::string::npos; }

 private:
  TempDir dir_;
  std::string path_;
  int before_;
};

class WorkerFixture {
 public:
  explicit WorkerFixture(int n_parallel = 1, int stall_ms = 60'000)
      : settings_(set_environment()), server(n_parallel, 256, [&](server::ServerOptions& options) {
          options.isolates = true;
          options.worker_program = OLLAMAX_TEST_WORKER;
          options.worker_stall_ms = stall_ms;
        }) {}

  // A prompt of so many tokens: a character is one.
  static std::string prompt(Misdeed misdeed) {
    return std::string(static_cast<size_t>(misdeed), 'x');
  }
  static std::string body(const std::string& prompt, bool is_streaming, int n_predict) {
    return R"({"model":"m","raw":true,"prompt":")" + prompt + R"(","stream":)" +
           (is_streaming ? "true" : "false") + R"(,"options":{"temperature":0,"num_predict":)" +
           std::to_string(n_predict) + R"(,"stop":[]}})";
  }
  HttpAnswer generate(const std::string& prompt, bool is_streaming = false, int n_predict = 4) {
    return server.post("/api/generate", body(prompt, is_streaming, n_predict));
  }

 private:
  static bool set_environment() {
    ::setenv("OLLAMAX_KERNEL_PLUGINS", OLLAMAX_TEST_PLUGIN, 1);
    ::setenv("OLLAMAX_KERNELS", "matmul.f32=misbehaving", 1);
    ::setenv("OLLAMAX_API_KEYS", "a secret of the server", 1);
    return true;
  }
  bool settings_;

 public:
  ServerFixture server;
};

}  // namespace olx::tests
