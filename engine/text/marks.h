#pragma once
// MarkTokens: which control tokens belong to the text of an answer because the format of the
// model's answers is made of them
// (<tool_call>, <|channel|>). Built once a vocabulary, asked once a request. That a token ends the
// answer is not changed by it.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"

namespace olx::engine {

class MarkTokens {
 public:
  // The tokenizer must outlive this.
  explicit MarkTokens(const Tokenizer& tokenizer);

  // The control tokens that are spelled as one of the marks or as a part of one (a mark may be a
  // token and some text), sorted.
  std::vector<int32_t> of(const std::vector<std::string>& marks) const;

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> controls_;
};

}  // namespace olx::engine
