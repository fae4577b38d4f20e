#pragma once
// PrefixCache: which beginnings of texts have their keys and values in pages, as a radix tree over
// blocks of tokens (after Zheng et al. 2023, arXiv:2312.07104). A node is one page and the tokens
// it holds after those of its ancestors; only a leaf may be less than full. It keeps pages in
// BlockTables, where running sequences have them too, and gives them up, the one not used for
// longest first, when somebody needs room. Used by KvCache. It holds no keys and values, and knows
// a page by its tokens alone: what else changes keys and values (another adapter, an image) must
// not be put in.

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/cache/block_tables.h"

namespace olx::engine {

struct PrefixCacheStats {
  int64_t n_hits = 0;          // sequences that began with something cached
  int64_t n_tokens_saved = 0;  // that they did not have to evaluate
  int64_t n_evicted = 0;       // pages given up for room
};

class PrefixCache {
 public:
  // `tables` must outlive it.
  explicit PrefixCache(BlockTables& tables);

  // Makes the sequence (emptied first) begin with the longest cached prefix of `tokens`: how many
  // that are. They may end within a page; BlockTables::reserve() has it copied before the sequence
  // writes on. Copying one page costs less than evaluating one token (SmolLM2: 1.5 MB against a
  // pass over 90 MB of weights), so that a prefix is taken to its last token.
  int64_t attach(int64_t sequence, std::span<const int32_t> tokens);

  // Remembers the first tokens.size() positions of the sequence, which must be these tokens and
  // hold data (OLX_CHECK). With `is_final` the last page too where it is not full: a sequence that
  // goes on would have to copy it to write on. Pages that are known already are not taken again.
  void insert(int64_t sequence, std::span<const int32_t> tokens, bool is_final);

  // Gives up one page: the leaf not used for longest among those no sequence holds; where all are
  // held, the oldest of these, which frees no page but may free its parent or make a page its
  // sequence's own. False when nothing is left.
  bool evict_one();

  int64_t n_pages() const { return n_nodes_; }
  const PrefixCacheStats& stats() const { return stats_; }

 private:
  struct Node {
    std::vector<int32_t> tokens;  // 1 .. page_tokens; the root has none
    std::vector<int32_t>
        children;  // node indices, sorted by tokens; none's tokens begin with all of another's
    int32_t parent = -1;
    int32_t page = -1;
    int64_t used_at = 0;
  };
  struct Place {
    size_t at = 0;       // where tokens would stand among the children
    int32_t child = -1;  // the child that begins most like them, -1: none begins like them
    size_t n_common = 0;
  };
  Node& node(int32_t index) { return nodes_[static_cast<size_t>(index)]; }
  Place find(const Node& parent, std::span<const int32_t> tokens) const;
  void touch(int32_t index);
  int32_t add_child(int32_t parent, size_t at, std::span<const int32_t> tokens, int32_t page);
  void remove_leaf(int32_t index);

  BlockTables& tables_;
  size_t page_tokens_;
  std::vector<Node> nodes_;                       // the first is the root
  std::vector<int32_t> unused_;                   // indices of nodes_
  std::set<std::pair<int64_t, int32_t>> leaves_;  // used_at and index, the root excluded
  std::vector<int32_t> pages_;  // of the prefix being attached; kept to avoid allocation
  int64_t n_nodes_ = 0;         // without the root
  int64_t now_ = 0;             // counts attach() and insert()
  PrefixCacheStats stats_;
};

}  // namespace olx::engine
