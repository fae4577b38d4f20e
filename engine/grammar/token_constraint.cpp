#include "engine/grammar/token_constraint.h"

#include <algorithm>
#include <cmath>

namespace olx::engine {
namespace {

constexpr size_t kMaxMaskBytes = 4 << 20;  // of masks kept for one sequence

}  // namespace

TokenConstraint::TokenConstraint(std::shared_ptr<const Network> network, const TokenTrie& trie, const Tokenizer& tokenizer,
                                 const MatcherLimits& limits)
    : matcher_(std::move(network), limits), trie_(trie), tokenizer_(tokenizer), state_(matcher_.start()), path_(trie.max_depth() + 1) {
  if (state_ == Matcher::kDead) refuse_grammar(dead_end());
}

void TokenConstraint::set_marks(std::span<const int32_t> marks) {
  marks_.assign(marks.begin(), marks.end());
  std::erase_if(marks_, [&](int32_t id) { return tokenizer_.is_end_of_generation(id); });
  std::sort(marks_.begin(), marks_.end());
  masks_.clear();
}

std::string TokenConstraint::bytes_of(int32_t token) const {
  return tokenizer_.token_bytes(token, std::binary_search(marks_.begin(), marks_.end(), token));
}

Matcher::State TokenConstraint::walk(Matcher::State state, std::string_view bytes) {
  for (char c : bytes) state = matcher_.next(state, static_cast<uint8_t>(c));
  return state;
}

bool TokenConstraint::allows(int32_t token) {
  if (tokenizer_.is_end_of_generation(token)) return matcher_.may_end(state_);
  const std::string bytes = bytes_of(token);
  return !bytes.empty() && bytes.size() <= kMaxConstrainedTokenBytes && walk(state_, bytes) != Matcher::kDead;
}

// The tree is walked in preorder; where no text goes on, a whole subtree is skipped.
const TokenConstraint::Mask& TokenConstraint::mask_of_state() {
  const auto found = masks_.find(state_);
  if (found != masks_.end()) return found->second;
  Mask mask(static_cast<size_t>(trie_.vocab_size() + 63) / 64, 0);
  const auto set = [&](int32_t id) { mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64); };
  const std::vector<TokenTrie::Node>& nodes = trie_.nodes();
  path_[0] = state_;
  for (uint32_t i = 0; i + 1 < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const Matcher::State to = matcher_.next(path_[node.depth - 1], node.byte);
    if (to == Matcher::kDead) {
      i = node.end;
      continue;
    }
    path_[node.depth] = to;
    for (uint32_t k = node.first_token; k < nodes[i + 1].first_token; ++k) set(trie_.tokens()[k]);
    ++i;
  }
  for (int32_t id : marks_)
    if (allows(id)) set(id);
  if (matcher_.may_end(state_))
    for (int32_t id : trie_.ends()) set(id);
  if (masks_.size() * mask.size() * sizeof(uint64_t) > kMaxMaskBytes) masks_.clear();
  return masks_.emplace(state_, std::move(mask)).first->second;
}

bool TokenConstraint::mask(std::span<float> logits) {
  const Mask& mask = mask_of_state();
  if (std::all_of(mask.begin(), mask.end(), [](uint64_t word) { return word == 0; })) return false;
  for (size_t word = 0; word * 64 < logits.size(); ++word) {
    const uint64_t bits = word < mask.size() ? mask[word] : 0;
    if (bits == ~uint64_t{0}) continue;
    const size_t end = std::min(logits.size(), word * 64 + 64);
    for (size_t i = word * 64; i < end; ++i)
      if ((bits >> (i % 64) & 1) == 0) logits[i] = -INFINITY;
  }
  return true;
}

void TokenConstraint::accept(int32_t token) {
  if (tokenizer_.is_end_of_generation(token)) return;
  state_ = walk(state_, bytes_of(token));
  if (matcher_.was_cut()) masks_.clear();  // they lack what a limit cut off
  if (matcher_.begin_token(state_)) masks_.clear();
}

const char* TokenConstraint::dead_end() const {
  return matcher_.was_cut() ? "the grammar is too ambiguous: there are more ways to read the answer than are followed"
                            : "no token of the model continues the answer as the grammar asks";
}

}  // namespace olx::engine
