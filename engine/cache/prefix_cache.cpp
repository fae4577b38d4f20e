#include "engine/cache/prefix_cache.h"

#include <algorithm>

#include "gguf/check.h"

namespace olx::engine {
namespace {

constexpr int32_t kRoot = 0;

size_t common_length(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(ends.first - a.begin());
}

}  // namespace

PrefixCache::PrefixCache(BlockTables& tables)
    : tables_(tables), page_tokens_(static_cast<size_t>(tables.page_tokens())), nodes_(1) {}

// In sorted order the sequences most like a given one stand right before and right after it.
PrefixCache::Place PrefixCache::find(const Node& parent, std::span<const int32_t> tokens) const {
  const auto is_before = [&](int32_t child, std::span<const int32_t> wanted) {
    const std::vector<int32_t>& own = nodes_[static_cast<size_t>(child)].tokens;
    return std::lexicographical_compare(own.begin(), own.end(), wanted.begin(), wanted.end());
  };
  const auto at =
      std::lower_bound(parent.children.begin(), parent.children.end(), tokens, is_before);
  Place place{.at = static_cast<size_t>(at - parent.children.begin())};
  for (const size_t i : {place.at, place.at - 1}) {
    if (i >= parent.children.size()) continue;  // also before the first
    const size_t n = common_length(nodes_[static_cast<size_t>(parent.children[i])].tokens, tokens);
    if (n <= place.n_common) continue;
    place.n_common = n;
    place.child = parent.children[i];
  }
  return place;
}

void PrefixCache::touch(int32_t index) {
  Node& touched = node(index);
  if (touched.children.empty()) {
    leaves_.erase({touched.used_at, index});
    leaves_.insert({now_, index});
  }
  touched.used_at = now_;
}

int32_t PrefixCache::add_child(int32_t parent, size_t at, std::span<const int32_t> tokens,
                               int32_t page) {
  if (unused_.empty()) {
    unused_.push_back(static_cast<int32_t>(nodes_.size()));
    nodes_.emplace_back();
  }
  const int32_t index = unused_.back();
  unused_.pop_back();
  tables_.keep(page);
  Node& above = node(parent);
  if (above.children.empty()) leaves_.erase({above.used_at, parent});
  above.children.insert(above.children.begin() + static_cast<std::ptrdiff_t>(at), index);
  node(index) = {.tokens = {tokens.begin(), tokens.end()},
                 .children = {},
                 .parent = parent,
                 .page = page,
                 .used_at = now_};
  leaves_.insert({now_, index});
  ++n_nodes_;
  return index;
}

void PrefixCache::remove_leaf(int32_t index) {
  Node& leaf = node(index);
  OLX_CHECK(index != kRoot && leaf.children.empty());
  tables_.unkeep(leaf.page);
  leaves_.erase({leaf.used_at, index});
  Node& above = node(leaf.parent);
  std::erase(above.children, index);
  if (above.children.empty() && leaf.parent != kRoot) leaves_.insert({above.used_at, leaf.parent});
  leaf = {};
  unused_.push_back(index);
  --n_nodes_;
}

int64_t PrefixCache::attach(int64_t sequence, std::span<const int32_t> tokens) {
  ++now_;
  pages_.clear();
  size_t n_found = 0;
  int32_t at = kRoot;
  while (n_found < tokens.size()) {
    const std::span<const int32_t> block =
        tokens.subspan(n_found, std::min(page_tokens_, tokens.size() - n_found));
    const Place place = find(node(at), block);
    if (place.child < 0) break;
    touch(place.child);
    pages_.push_back(node(place.child).page);
    n_found += place.n_common;
    if (place.n_common < page_tokens_) break;
    at = place.child;
  }
  const auto n = static_cast<int64_t>(n_found);
  tables_.attach(sequence, pages_, n);
  stats_.n_hits += n > 0 ? 1 : 0;
  stats_.n_tokens_saved += n;
  return n;
}

void PrefixCache::insert(int64_t sequence, std::span<const int32_t> tokens, bool is_final) {
  OLX_CHECK(static_cast<int64_t>(tokens.size()) <= tables_.n_used(sequence));
  ++now_;
  int32_t at = kRoot;
  for (size_t from = 0; from < tokens.size(); from += page_tokens_) {
    const std::span<const int32_t> block =
        tokens.subspan(from, std::min(page_tokens_, tokens.size() - from));
    if (block.size() < page_tokens_ && !is_final) return;
    const Place place = find(node(at), block);
    if (place.child >= 0 &&
        place.n_common == block.size()) {  // known, perhaps as the beginning of a longer block
      touch(place.child);
      at = place.child;
      continue;
    }
    const int32_t page = tables_.page_of(sequence, static_cast<int64_t>(from / page_tokens_));
    if (place.child >= 0 && place.n_common == node(place.child).tokens.size()) {
      // The child is the beginning of this block: the longer one takes its place, in the order too.
      Node& child = node(place.child);
      tables_.keep(page);
      tables_.unkeep(child.page);
      child.page = page;
      child.tokens.assign(block.begin(), block.end());
      touch(place.child);
      at = place.child;
      continue;
    }
    at = add_child(at, place.at, block, page);
  }
}

bool PrefixCache::evict_one() {
  if (leaves_.empty()) return false;
  const auto is_idle = [&](const auto& leaf) { return !tables_.is_held(node(leaf.second).page); };
  const auto idle = std::find_if(leaves_.begin(), leaves_.end(), is_idle);
  remove_leaf((idle == leaves_.end() ? leaves_.begin() : idle)->second);
  ++stats_.n_evicted;
  return true;
}

}  // namespace olx::engine
