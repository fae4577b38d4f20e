#include "kernels/host_simt/block.h"

#include <cstring>
#include <utility>

#include "gguf/check.h"

namespace olx::kernels::host_simt {
namespace {

bool is_same(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

const char* name_of(Together kind) {
  switch (kind) {
    case Together::kShuffle:
      return "a shuffle";
    case Together::kBallot:
      return "a ballot";
    case Together::kReduceAdd:
      return "a sum of the wave";
    case Together::kReduceMax:
      return "a maximum of the wave";
    case Together::kWaveSync:
      return "a sync of the wave";
    case Together::kMultiply:
      return "a product of tiles";
  }
  return "";
}

struct FiberStart {
  Block* block;
  LaneState* lane;
};

}  // namespace

std::string site_text(const Site& site) {
  const char* slash = std::strrchr(site.file, '/');
  return std::string(slash != nullptr ? slash + 1 : site.file) + ":" + std::to_string(site.line);
}

Block& Block::of_this_thread() {
  static thread_local Block block;
  return block;
}

Block::Block() = default;

// The fibers stand still at the end of their loop; this lets them leave it.
Block::~Block() {
  launch_ = nullptr;
  for (const auto& fiber : fibers_) fiber->resume();
}

void Block::add_fibers(int n_lanes) {
  while (static_cast<int>(fibers_.size()) < n_lanes) {
    auto lane = std::make_unique<LaneState>();
    lane->block = this;
    lane->place.thread = static_cast<int16_t>(lanes_.size());
    fibers_.push_back(std::make_unique<Fiber>(
        [](void* context) {
          auto& state = *static_cast<LaneState*>(context);
          state.block->run_lane(state);
        },
        lane.get()));
    lanes_.push_back(std::move(lane));
  }
}

// A fiber's whole life: one thread of one block after the other. No switch happens inside a catch
// clause, whose exception belongs to the thread and not to the fiber.
void Block::run_lane(LaneState& lane) {
  while (launch_ != nullptr) {
    std::exception_ptr fault;
    try {
      launch_->body(launch_->context, lane);
    } catch (const Aborted&) {
    } catch (...) {
      fault = std::current_exception();
    }
    if (fault != nullptr && fault_ == nullptr) fault_ = std::move(fault);
    lane.status = LaneState::Status::kEnded;
    fibers_[static_cast<size_t>(lane.place.thread)]->suspend();
  }
}

void Block::run(const Launch& launch) {
  const int n_threads = launch.grid.n_threads;
  OLX_CHECK(launch_ == nullptr);
  OLX_CHECK(n_threads > 0 && n_threads <= simt::kMaxThreads && n_threads % launch.wave_size == 0);
  add_fibers(n_threads);
  launch_ = &launch;
  shared_.begin_kernel();
  waves_.assign(static_cast<size_t>(n_threads / launch.wave_size), Wave{});
  n_at_barrier_ = 0;
  for (int i = 0; i < n_threads; ++i) {
    lanes_[static_cast<size_t>(i)]->lane = i % launch.wave_size;
    lanes_[static_cast<size_t>(i)]->place.wave = static_cast<int16_t>(i / launch.wave_size);
    lanes_[static_cast<size_t>(i)]->place.wave_epoch = 0;  // a fault may have left them apart
  }
  for (int64_t block = 0; block < launch.grid.n_blocks && fault_ == nullptr; ++block) {
    shared_.begin_block();
    for (int i = 0; i < n_threads; ++i) {
      lanes_[static_cast<size_t>(i)]->block_index = block;
      lanes_[static_cast<size_t>(i)]->status = LaneState::Status::kReady;
    }
    run_block();
  }
  launch_ = nullptr;
  if (fault_ != nullptr) std::rethrow_exception(std::exchange(fault_, nullptr));
}

void Block::run_block() {
  const auto n_threads = static_cast<size_t>(launch_->grid.n_threads);
  for (bool is_done = false, has_moved = true; !is_done;) {
    if (!has_moved) {
      fail_stuck();
      return end_all_lanes();
    }
    is_done = true, has_moved = false;
    for (size_t i = 0; i < n_threads; ++i) {
      LaneState& lane = *lanes_[i];
      if (lane.status == LaneState::Status::kEnded) continue;
      is_done = false;
      if (!is_awake(lane)) continue;
      has_moved = true;
      lane.status = LaneState::Status::kReady;
      fibers_[i]->resume();
      if (fault_ != nullptr) return end_all_lanes();
    }
  }
}

bool Block::is_awake(const LaneState& lane) const {
  switch (lane.status) {
    case LaneState::Status::kReady:
      return true;
    case LaneState::Status::kInWave:
      return waves_[static_cast<size_t>(lane.place.wave)].count != lane.awaited;
    case LaneState::Status::kAtBarrier:
      return n_barriers_ != lane.awaited;
    case LaneState::Status::kEnded:
      break;
  }
  return false;
}

// Lanes that stand still inside the kernel leave it by an exception; those that have not begun
// never do.
void Block::end_all_lanes() {
  is_aborting_ = true;
  for (int i = 0; i < launch_->grid.n_threads; ++i) {
    LaneState& lane = *lanes_[static_cast<size_t>(i)];
    const bool is_inside =
        lane.status == LaneState::Status::kInWave || lane.status == LaneState::Status::kAtBarrier;
    if (is_inside) fibers_[static_cast<size_t>(i)]->resume();
    lane.status = LaneState::Status::kEnded;
  }
  is_aborting_ = false;
}

void Block::wait(LaneState& lane, LaneState::Status status, uint32_t count, const Site& site) {
  lane.status = status;
  lane.awaited = count;
  lane.site = site;
  fibers_[static_cast<size_t>(lane.place.thread)]->suspend();
  if (is_aborting_) throw Aborted{};
}

uint32_t* Block::meet_wave(LaneState& lane, Together kind, const uint32_t* words, int n,
                           const Site& site,
                           void (*reduce)(uint32_t* words, int n, int wave_size)) {
  Wave& wave = waves_[static_cast<size_t>(lane.place.wave)];
  uint32_t* all = wave.words[wave.count % 2];
  if (wave.n_arrived == 0) {
    wave.kind = kind;
    wave.site = site;
    wave.first = lane.place.thread;
  } else if (wave.kind != kind || !is_same(wave.site, site)) {
    fail_divided(lane, wave, kind, site);
  }
  for (int i = 0; i < n; ++i) all[lane.lane * kMeetingWords + i] = words[i];
  if (++wave.n_arrived < launch_->wave_size) {
    wait(lane, LaneState::Status::kInWave, wave.count, site);
    return all;
  }
  if (reduce != nullptr) reduce(all, n, launch_->wave_size);
  wave.n_arrived = 0;
  ++wave.count;
  return all;
}

void Block::sync_wave(LaneState& lane, const Site& site) {
  meet_wave(lane, Together::kWaveSync, nullptr, 0, site);
  ++lane.place.wave_epoch;
}

void Block::barrier(LaneState& lane, const Site& site) {
  if (n_at_barrier_ == 0) {
    barrier_site_ = site;
    barrier_first_ = lane.place.thread;
  } else if (!is_same(barrier_site_, site)) {
    fail_divided(lane, site);
  }
  if (++n_at_barrier_ < launch_->grid.n_threads) {
    wait(lane, LaneState::Status::kAtBarrier, n_barriers_, site);
    return;
  }
  n_at_barrier_ = 0;
  ++n_barriers_;
  shared_.pass_barrier();
}

void Block::fail_divided(const LaneState& lane, const Wave& wave, Together kind,
                         const Site& site) const {
  fail("the wave is divided: lane " + std::to_string(lane.place.thread) + " comes to " +
       name_of(kind) + " at " + site_text(site) + ", lane " + std::to_string(wave.first) +
       " waits in " + name_of(wave.kind) + " at " + site_text(wave.site));
}

void Block::fail_divided(const LaneState& lane, const Site& site) const {
  fail("the block is divided: lane " + std::to_string(lane.place.thread) +
       " comes to the barrier at " + site_text(site) + ", lane " + std::to_string(barrier_first_) +
       " waits in the one at " + site_text(barrier_site_));
}

void Block::fail_access(bool is_store, const SharedMemory::Array& array, int64_t index,
                        const Place& place, const Site& site) const {
  fail(shared_.why_not(is_store, array, index, place, site));
}

void Block::fail_mask(const LaneState& lane, int mask, const Site& site) const {
  fail("lane " + std::to_string(lane.place.thread) + " shuffles with mask " + std::to_string(mask) +
       " at " + site_text(site));
}

void Block::fail_size() const {
  fail("shared memory: expected at most " + std::to_string(simt::kMaxSharedBytes) + " bytes, got " +
       std::to_string(shared_.size_bytes()));
}

// No lane can go on: some wait for others that never come.
void Block::fail_stuck() {
  const LaneState* waiting = nullptr;
  for (int i = 0; i < launch_->grid.n_threads && waiting == nullptr; ++i)
    if (lanes_[static_cast<size_t>(i)]->status != LaneState::Status::kEnded)
      waiting = lanes_[static_cast<size_t>(i)].get();
  const bool is_barrier = waiting->status == LaneState::Status::kAtBarrier;
  int n_there = 0, n_expected = 0;
  const LaneState* missing = nullptr;
  for (int i = 0; i < launch_->grid.n_threads; ++i) {
    const LaneState& lane = *lanes_[static_cast<size_t>(i)];
    if (!is_barrier && lane.place.wave != waiting->place.wave) continue;
    ++n_expected;
    if (lane.status == waiting->status)
      ++n_there;
    else if (missing == nullptr)
      missing = &lane;
  }
  const Wave& wave = waves_[static_cast<size_t>(waiting->place.wave)];
  std::string text = std::string(is_barrier ? "the barrier" : name_of(wave.kind)) + " at " +
                     site_text(waiting->site) + " is reached by " + std::to_string(n_there) +
                     " of " + std::to_string(n_expected) + " lanes";
  if (missing != nullptr) {
    text += ": lane " + std::to_string(missing->place.thread);
    text += missing->status == LaneState::Status::kEnded ? " has ended"
                                                         : " waits at " + site_text(missing->site);
  }
  try {
    fail(text);
  } catch (const SimtFault&) {
    fault_ = std::current_exception();
  }
}

void Block::fail(const std::string& what) const {
  throw SimtFault(std::string(launch_->kernel) + ", wave " + std::to_string(launch_->wave_size) +
                  ", block " + std::to_string(lanes_[0]->block_index) + ": " + what);
}

}  // namespace olx::kernels::host_simt
