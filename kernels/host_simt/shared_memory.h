#pragma once
// The shared memory of a block, with what each element went through: who wrote it last and who read
// it since. Finds reads of what nobody wrote, indices outside an array, and races: two lanes at one
// element, one of them writing, with no barrier between them (nor, in one wave, a wave_sync).
// Whichever order the lanes ran in, the race is found.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace olx::kernels::host_simt {

// A line of a kernel: default arguments take it from the call.
struct Site {
  const char* file = "";
  int line = 0;
  static constexpr Site current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// A lane in its block.
struct Place {
  int16_t thread = -1;
  int16_t wave = -1;
  uint32_t wave_epoch = 0;  // counts the wave's syncs
};

class SharedMemory {
 public:
  struct Access {
    Place place;
    uint32_t epoch = 0;  // 0: never
    Site site;
  };
  struct Element {
    uint32_t bits = 0;
    uint32_t written_in = 0;  // the block it was written in; 0: never
    Access write;
    // Readers since: the last one, the last one of another lane of its wave, the last one of
    // another wave. A writer who is in conflict with any reader is so with one of these.
    Access read, read_of_lane, read_of_wave;
  };
  struct Array {
    const void* tag;
    int64_t n_elems;
    std::vector<Element> elements;
  };

  void begin_kernel();  // no array
  void begin_block();   // what they hold is nothing
  void pass_barrier() { ++epoch_; }

  // The array of a tag, made when it is first asked for; nullptr when all would exceed limit_bytes.
  Array* find(const void* tag, int64_t n_elems, int64_t limit_bytes);
  int64_t size_bytes() const { return size_bytes_; }

  // Reads or writes an element; false: a fault, and why_not() says which.
  bool load(Array& array, int64_t index, const Place& place, const Site& site,
            uint32_t& bits) const {
    if (index < 0 || index >= array.n_elems) return false;
    Element& element = array.elements[static_cast<size_t>(index)];
    if (element.written_in != block_ || is_race(element.write, place)) return false;
    bits = element.bits;
    const Access& last = element.read;
    if (last.epoch == epoch_ && last.place.thread == place.thread &&
        last.place.wave_epoch == place.wave_epoch)
      return true;
    note_read(element, place, site);
    return true;
  }
  bool store(Array& array, int64_t index, const Place& place, const Site& site,
             uint32_t bits) const {
    if (index < 0 || index >= array.n_elems) return false;
    Element& element = array.elements[static_cast<size_t>(index)];
    if (is_race(element.write, place) || is_race(element.read, place) ||
        is_race(element.read_of_lane, place) || is_race(element.read_of_wave, place))
      return false;
    element.bits = bits;
    element.written_in = block_;
    element.write = {place, epoch_, site};
    return true;
  }
  // One sentence about an access that load() or store() refused, with both lanes and both lines.
  std::string why_not(bool is_store, const Array& array, int64_t index, const Place& place,
                      const Site& site) const;

 private:
  bool is_race(const Access& before, const Place& now) const {
    return before.epoch == epoch_ && before.place.thread != now.thread &&
           (before.place.wave != now.wave || before.place.wave_epoch == now.wave_epoch);
  }
  void note_read(Element& element, const Place& place, const Site& site) const {
    if (element.read.epoch != epoch_) {
      element.read_of_lane.epoch = element.read_of_wave.epoch = 0;
    } else if (element.read.place.wave != place.wave) {
      element.read_of_wave = element.read;
      element.read_of_lane.epoch = 0;
    } else if (element.read.place.thread != place.thread) {
      element.read_of_lane = element.read;
    }
    element.read = {place, epoch_, site};
  }

  std::vector<std::unique_ptr<Array>> arrays_;
  int64_t size_bytes_ = 0;
  uint32_t block_ = 0;  // counts the blocks of the kernel
  uint32_t epoch_ = 0;  // counts its barriers and blocks
};

}  // namespace olx::kernels::host_simt
