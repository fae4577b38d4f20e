#pragma once
// TokenTrie: the bytes of a vocabulary's tokens as a tree, so that tokens with a common beginning are tried together. Built
// once a model, at the first constrained request; never changed, so any thread may read it. Control tokens are not in it.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"

namespace olx::engine {

class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);

  // Nodes in preorder: a node's subtree lies behind it, up to `end`.
  struct Node {
    uint32_t end;
    uint32_t first_token;  // of tokens(); those of this node go up to the next node's first
    uint16_t depth;        // 1: the first byte
    uint8_t byte;
  };
  const std::vector<Node>& nodes() const { return nodes_; }  // one more than there are, as an end
  const std::vector<int32_t>& tokens() const { return tokens_; }
  size_t max_depth() const { return max_depth_; }
  int32_t vocab_size() const { return vocab_size_; }
  const std::vector<int32_t>& ends() const { return ends_; }  // the tokens that end a generation

 private:
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> ends_;
  size_t max_depth_ = 0;
  int32_t vocab_size_ = 0;
};

// Tokens longer than this are never used under a constraint.
inline constexpr size_t kMaxConstrainedTokenBytes = 1024;

}  // namespace olx::engine
