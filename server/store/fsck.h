#pragma once
// fsck: whether a models folder holds what it promises, and what can be put right. `ollamax fsck`
// prints what it finds; the tests of faults ask it after each fault. It needs no server, and runs
// beside one: it only looks, unless it is asked to repair.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace olx::server {

struct FsckFinding {
  // What keeps a model from being used, or would give wrong answers, is wrong; the rest is worth
  // knowing.
  bool is_wrong = true;
  bool is_repaired = false;
  std::string what;    // one line, paths relative to the models folder
  std::string advice;  // what to do; empty where nothing has to be done
};

struct FsckReport {
  std::vector<FsckFinding> findings;
  uint64_t n_models = 0;
  uint64_t n_blobs = 0;  // referenced by a manifest, each once
  uint64_t n_bytes_hashed = 0;
  uint64_t n_leftovers =
      0;  // files of killed processes, which the next start removes: among the findings, not wrong

  // What is wrong and was not repaired.
  uint64_t n_wrong() const;
};

struct FsckOptions {
  bool hashes = false;   // read every blob and compare it with its name
  bool repairs = false;  // move what is damaged to .ollamax/quarantine, restore what can be
                         // restored, remove leftovers
  // Bytes hashed so far and to hash.
  std::function<void(uint64_t done, uint64_t total)> on_progress;
};

// Throws std::system_error when the folder cannot be read, and, to repair, when a server is at work
// in it.
FsckReport fsck(const std::filesystem::path& models, const FsckOptions& options = {});

}  // namespace olx::server
