#include "kernels/host_simt/shared_memory.h"

#include "kernels/host_simt/block.h"

namespace olx::kernels::host_simt {

void SharedMemory::begin_kernel() {
  arrays_.clear();
  size_bytes_ = 0;
  block_ = epoch_ = 0;
}

void SharedMemory::begin_block() {
  ++block_;
  ++epoch_;
}

SharedMemory::Array* SharedMemory::find(const void* tag, int64_t n_elems, int64_t limit_bytes) {
  for (const auto& array : arrays_)
    if (array->tag == tag) return array.get();
  size_bytes_ += n_elems * static_cast<int64_t>(sizeof(Element::bits));
  if (size_bytes_ > limit_bytes) return nullptr;
  arrays_.push_back(std::make_unique<Array>(
      Array{tag, n_elems, std::vector<Element>(static_cast<size_t>(n_elems))}));
  return arrays_.back().get();
}

std::string SharedMemory::why_not(bool is_store, const Array& array, int64_t index,
                                  const Place& place, const Site& site) const {
  const std::string what = "lane " + std::to_string(place.thread) +
                           (is_store ? " writes" : " reads") + " element " + std::to_string(index) +
                           " of " + std::to_string(array.n_elems) + " of shared memory at " +
                           site_text(site);
  if (index < 0 || index >= array.n_elems) return what + ", which is outside";
  const Element& element = array.elements[static_cast<size_t>(index)];
  const auto race = [&](const Access& other, const char* verb) {
    return "race: " + what + ", which lane " + std::to_string(other.place.thread) + verb +
           site_text(other.site) + " with no barrier between";
  };
  if (!is_store && element.written_in != block_)
    return what + ", which no lane of the block has written by then";
  if (is_race(element.write, place)) return race(element.write, " wrote at ");
  for (const Access* read : {&element.read, &element.read_of_lane, &element.read_of_wave})
    if (is_race(*read, place)) return race(*read, " read at ");
  return what;
}

}  // namespace olx::kernels::host_simt
