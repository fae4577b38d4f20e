#pragma once
// DiskModel: what a disk may hold after the power went off. From a recording of fault_script.h it
// makes the folder as it would be found after the first n events: what was synced is there; of what
// was not, a policy takes nothing, everything, names without their data (what journalling file
// systems leave), data without their names, or a draw. Real disks do each of them.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "tests/support/faults/fault_script.h"

namespace olx::tests::faults {

struct PowerLoss {
  enum class Kind { kNothing, kEverything, kNamesOnly, kDataOnly, kDraw } kind = Kind::kNothing;
  uint32_t seed = 0;  // of kDraw, which also tears writes
};

// Writes the folder to `to`, which must be empty or missing.
void write_disk_after(const std::vector<DiskEvent>& events, size_t n_events, const PowerLoss& loss,
                      const std::filesystem::path& to);

}  // namespace olx::tests::faults
