#pragma once
// What this machine can compute on: the backends of this program and their devices. A door for the
// CLI and the server.

#include <cstdint>
#include <string>
#include <vector>

namespace olx::engine {

struct ListedDevice {
  std::string backend;  // "cuda": EngineOptions::device
  std::string name;
  int index = 0;              // among its backend's: EngineOptions::main_gpu
  uint64_t memory_bytes = 0;  // 0: not known
  std::string fault;          // why the backend has no device; the fields above are then empty
  bool is_accelerator = false;
};

// Every device of every backend, and a line with a fault for each backend without one. Opens none.
std::vector<ListedDevice> list_devices();

// The backend for a model that names none: the first accelerator that has a device, else "cpu".
std::string default_device(const std::vector<ListedDevice>& devices);

}  // namespace olx::engine
