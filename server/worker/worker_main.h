#pragma once
// The worker's side: one model, in a process that has given up everything it does not need. A door
// of this folder for whoever has a main(): the CLI's hidden command `worker`, and tests.

#include <string>
#include <vector>

namespace olx::server {

// Serves the model whose file and socket lie where process.h says, until the socket ends; `words`
// are the command line's, in which kWorkerHasDriver may be. It ends too, once a request has heard of
// it, when its device is lost: the next one gets a new process. Returns
// the process's exit code: 2 when it was not started by a server.
int run_worker(const std::vector<std::string>& words);

}  // namespace olx::server
