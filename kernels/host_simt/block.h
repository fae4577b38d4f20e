#pragma once
// One block of a SIMT kernel on the CPU: a fiber a lane, run in a fixed order, so that every run is
// the same. Here is what lanes do together (a wave's operations, barriers) and the faults that a
// device does not report; lane.h is the policy that kernels see. A fault throws SimtFault out of
// run(); nothing of the kernel runs on after it.

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/api/backend.h"
#include "kernels/host_simt/fiber.h"
#include "kernels/host_simt/shared_memory.h"
#include "kernels/simt/simt.h"

namespace olx::kernels::host_simt {

// A kernel that no device may run: what() is one line with the kernel, the wave size, the block,
// both lanes and lines.
class SimtFault : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

enum class Together : uint8_t { kShuffle, kBallot, kReduceAdd, kReduceMax, kWaveSync, kMultiply };

constexpr int kMeetingWords = 16;  // what a lane may leave for its wave
static_assert(simt::kMaxReduce <= kMeetingWords);

class Block;

// A lane, as its fiber sees it.
struct LaneState {
  enum class Status : uint8_t { kReady, kInWave, kAtBarrier, kEnded };
  Block* block = nullptr;
  Place place;              // thread, wave
  int lane = 0;             // in its wave
  int64_t block_index = 0;  // in the grid
  Status status = Status::kEnded;
  uint32_t awaited = 0;  // it goes on when the wave's, or the block's, count is another
  Site site;             // where it waits
};

struct Launch {
  const char* kernel = "";
  int wave_size = 32;
  simt::Grid grid;
  void (*body)(const void* context, LaneState& lane) = nullptr;  // one thread of the kernel
  const void* context = nullptr;
};

class Block {
 public:
  // The blocks of a thread of this program are one after the other the same object, whose fibers
  // are kept.
  static Block& of_this_thread();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void run(const Launch& launch);  // all blocks of the grid, in order

  // For lanes. Each returns when every lane that belongs to it has come.
  // Leaves `n` words and returns those of the wave: word i of lane l at [l * kMeetingWords + i],
  // valid until the lane meets its wave the next time but one. The last to come has `reduce`
  // applied to them first.
  uint32_t* meet_wave(LaneState& lane, Together kind, const uint32_t* words, int n,
                      const Site& site,
                      void (*reduce)(uint32_t* words, int n, int wave_size) = nullptr);
  void sync_wave(LaneState& lane, const Site& site);
  void barrier(LaneState& lane, const Site& site);

  SharedMemory& shared() { return shared_; }
  const SharedMemory& shared() const { return shared_; }
  const Launch& launch() const { return *launch_; }
  int n_threads() const { return launch_->grid.n_threads; }
  // Each throws SimtFault out of the lane: "kernel, wave 32, block 3: what". Apart from what they
  // report, so that its path stays free of strings.
  [[noreturn]] void fail_access(bool is_store, const SharedMemory::Array& array, int64_t index,
                                const Place& place, const Site& site) const;
  [[noreturn]] void fail_mask(const LaneState& lane, int mask, const Site& site) const;
  [[noreturn]] void fail_size() const;

 private:
  struct Wave {
    int n_arrived = 0;
    uint32_t count = 0;  // of meetings that are over
    Together kind{};
    Site site;
    int first = 0;  // the thread that came first
    uint32_t words[2][64 * kMeetingWords];
  };
  struct Aborted {};  // thrown in lanes that must end because another had a fault

  Block();
  void add_fibers(int n_lanes);
  void run_lane(LaneState& lane);
  void run_block();
  void end_all_lanes();
  bool is_awake(const LaneState& lane) const;
  void wait(LaneState& lane, LaneState::Status status, uint32_t count, const Site& site);
  void fail_stuck();
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void fail_divided(const LaneState& lane, const Wave& wave, Together kind,
                                 const Site& site) const;
  [[noreturn]] void fail_divided(const LaneState& lane, const Site& site) const;

  const Launch* launch_ = nullptr;
  std::vector<std::unique_ptr<LaneState>> lanes_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Wave> waves_;
  SharedMemory shared_;
  int n_at_barrier_ = 0;
  uint32_t n_barriers_ = 0;
  Site barrier_site_;
  int barrier_first_ = 0;
  std::exception_ptr fault_;
  bool is_aborting_ = false;
};

std::string site_text(const Site& site);  // "attention.h:120"

}  // namespace olx::kernels::host_simt
