#include "engine/grammar/token_trie.h"

#include <algorithm>
#include <numeric>

namespace olx::engine {

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : vocab_size_(tokenizer.vocab_size()) {
  std::vector<std::pair<std::string, int32_t>> texts;
  for (int32_t id = 0; id < vocab_size_; ++id) {
    if (tokenizer.is_end_of_generation(id)) {
      ends_.push_back(id);
      continue;
    }
    // Without bytes: control tokens, and those that would never bring the answer further.
    std::string bytes = tokenizer.token_bytes(id);
    if (!bytes.empty() && bytes.size() <= kMaxConstrainedTokenBytes) texts.emplace_back(std::move(bytes), id);
  }
  std::sort(texts.begin(), texts.end());
  std::vector<uint32_t> path;  // the nodes from the root to the last one
  const auto pop_to = [&](size_t depth) {
    while (path.size() > depth) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
      path.pop_back();
    }
  };
  std::string_view last;
  for (const auto& [text, id] : texts) {
    size_t common = 0;
    while (common < last.size() && common < text.size() && last[common] == text[common]) ++common;
    pop_to(common);
    for (size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(i + 1), static_cast<uint8_t>(text[i])});
    }
    max_depth_ = std::max(max_depth_, text.size());
    tokens_.push_back(id);
    last = text;
  }
  pop_to(0);
  nodes_.push_back({static_cast<uint32_t>(nodes_.size()) + 1, static_cast<uint32_t>(tokens_.size()), 0, 0});
}

}  // namespace olx::engine
