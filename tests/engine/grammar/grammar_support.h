#pragma once
// What the tests of engine/grammar share: whether a grammar matches a text, why one is refused, and a vocabulary of any texts.

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/grammar/compile.h"
#include "engine/grammar/matcher.h"
#include "engine/grammar/token_constraint.h"
#include "tests/support/json_value.h"

namespace olx::tests {

inline engine::OutputConstraint gbnf(std::string text) {
  engine::OutputConstraint constraint;
  constraint.grammar = std::move(text);
  return constraint;
}

inline engine::OutputConstraint schema(std::string_view json) {
  engine::OutputConstraint constraint = gbnf("root ::= answer");
  constraint.schemas.emplace_back("answer", to_value(boost::json::parse(json)));
  return constraint;
}

inline bool matches(engine::Matcher& matcher, std::string_view text) {
  engine::Matcher::State state = matcher.start();
  for (char c : text) {
    matcher.begin_token(state);
    state = matcher.next(state, static_cast<uint8_t>(c));
  }
  return matcher.may_end(state);
}

inline bool matches(const engine::OutputConstraint& constraint, std::string_view text) {
  engine::Matcher matcher(engine::compile_constraint(constraint));
  return matches(matcher, text);
}

// What compiling says, "" where it succeeds.
inline std::string refusal(const engine::OutputConstraint& constraint, const engine::GrammarLimits& limits = {}) {
  try {
    (void)engine::compile_constraint(constraint, limits);
  } catch (const engine::EngineError& error) {
    return error.code() == engine::ErrorCode::kInvalidRequest ? error.what() : "wrong code: " + std::string(error.what());
  }
  return "";
}

// Tokens are what the test says; the last two are a control token "<mark>" and the end of generation.
class ListedTokens final : public engine::Tokenizer {
 public:
  explicit ListedTokens(std::vector<std::string> texts) : texts_(std::move(texts)) {
    texts_.insert(texts_.end(), {"<mark>", "</s>"});
  }
  // All bytes, and these.
  static ListedTokens with_bytes(const std::vector<std::string>& more = {}) {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    texts.insert(texts.end(), more.begin(), more.end());
    return ListedTokens(std::move(texts));
  }
  int32_t mark() const { return vocab_size() - 2; }
  int32_t end() const { return vocab_size() - 1; }

  std::vector<int32_t> encode(std::string_view, const engine::EncodeOptions&) const override { return {}; }
  std::string token_bytes(int32_t id, bool with_special) const override {
    if (id < 0 || id >= vocab_size()) return "";
    return id >= mark() && !with_special ? "" : texts_[static_cast<size_t>(id)];
  }
  std::string decode(std::span<const int32_t>) const override { return ""; }
  int32_t vocab_size() const override { return static_cast<int32_t>(texts_.size()); }
  engine::TokenKind kind(int32_t id) const override { return id >= mark() ? engine::TokenKind::kControl : engine::TokenKind::kNormal; }
  std::string_view text(int32_t id) const override { return texts_[static_cast<size_t>(id)]; }
  std::optional<int32_t> find(std::string_view text) const override {
    for (size_t i = 0; i < texts_.size(); ++i)
      if (texts_[i] == text) return static_cast<int32_t>(i);
    return std::nullopt;
  }
  std::optional<int32_t> bos() const override { return std::nullopt; }
  std::optional<int32_t> eos() const override { return end(); }
  bool adds_bos() const override { return false; }
  bool is_end_of_generation(int32_t id) const override { return id == end(); }

 private:
  std::vector<std::string> texts_;
};

}  // namespace olx::tests
