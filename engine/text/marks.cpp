#include "engine/text/marks.h"

#include <algorithm>

namespace olx::engine {

MarkTokens::MarkTokens(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.kind(id) == TokenKind::kControl && !tokenizer.text(id).empty())
      controls_.push_back(id);
}

std::vector<int32_t> MarkTokens::of(const std::vector<std::string>& marks) const {
  std::vector<int32_t> ids;
  for (const int32_t id : controls_) {
    const std::string_view spelling = tokenizer_.text(id);
    if (std::any_of(marks.begin(), marks.end(), [&](const std::string& mark) {
          return mark.find(spelling) != std::string::npos;
        }))
      ids.push_back(id);
  }
  return ids;
}

}  // namespace olx::engine
