#pragma once
// A model in a worker process, as a ModelHost. The process is this program again; it gets the open
// model file and a socket and has given up everything else before it reads the file (sandbox.h).
// Used by server.cpp, which hands it to EngineHost.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "server/models/model_host.h"

namespace olx::server {

struct WorkerOptions {
  std::string program = "/proc/self/exe";
  std::vector<std::string> arguments{"worker"};
  // A worker that has a request and gets on with nothing for so long hangs, and is ended. A step of
  // a prompt, or a tensor while loading, must take less.
  std::chrono::milliseconds stall{900'000};
};

// Throws what Engine::open throws; EngineError(kProcessDied) when the process dies while it loads.
std::unique_ptr<ModelHost> open_in_worker(const engine::EngineOptions& options,
                                          const WorkerOptions& worker);

}  // namespace olx::server
