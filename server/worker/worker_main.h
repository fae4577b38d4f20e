#pragma once
// The worker's side: one model, in a process that has given up everything it does not need. A door
// of this folder for whoever has a main(): the CLI's hidden command `worker`, and tests.

namespace olx::server {

// Serves the model whose file and socket lie where process.h says, until the socket ends. Returns
// the process's exit code: 2 when it was not started by a server.
int run_worker();

}  // namespace olx::server
