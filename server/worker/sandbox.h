#pragma once
// What a worker process gives up before it reads a byte of a model file. Used by worker_main.cpp
// and by the test that tries each of these things inside a worker. Nothing here can be taken back.

#include <cstdint>
#include <string>

namespace olx::server {

// What could not be given up: bits, 0 when all was.
enum SandboxLack : uint32_t {
  kLacksCoreLimit = 1,
  kLacksNoNewPrivileges = 2,
  kLacksCapabilityDrop = 4,
  kLacksLandlock = 8,
  kLacksSeccomp = 16
};

// Call it while the process has one thread: a thread that is there already would stay outside.
//   files     none can be opened by its name (Landlock, and the system calls are refused)
//   network   no socket can be made, connected or bound
//   programs  none can be run, no process be made; no privilege gained (no_new_privs, no
//   capabilities) others    no signal, trace or look into another process; none of the same user
//   may look into this one remains   no core file
// has_driver: with a GPU's driver, which opens device files and makes system calls of its own at any
// time, only the limit of core files, the capabilities and further privileges can be given up.
uint32_t enter_sandbox(bool has_driver = false);
// "Landlock, seccomp": for one line on standard error.
std::string lack_text(uint32_t lacks);

// Of it, the parts on their own. False: the kernel does not have it.
bool forbid_paths();         // Landlock with no rule
bool forbid_system_calls();  // seccomp with the list of what a running model needs

}  // namespace olx::server
