#pragma once
// A vocabulary for tiny models that has every character of ASCII.

#include <string>
#include <utility>
#include <vector>

#include "gguf/writer.h"
#include "tests/support/tiny_model.h"

namespace olx::tests {

// GPT-2's spelling of printable ASCII, a blank, a newline, and an end token.
// `controls`: control tokens in the places of single characters.
inline void write_ascii_vocabulary_with(gguf::GgufWriter& writer, const std::vector<std::pair<char, std::string>>& controls) {
  std::vector<std::string> tokens;
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), {"\u0120", "\u010a", "<eos>"});
  std::vector<int32_t> kinds(tokens.size(), 1);
  kinds.back() = 3;
  for (const auto& [character, spelling] : controls) {
    tokens[static_cast<size_t>(character - '!')] = spelling;
    kinds[static_cast<size_t>(character - '!')] = 3;
  }
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "gpt-2");
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  writer.set_int32s("tokenizer.ggml.token_type", kinds);
  writer.set_strings("tokenizer.ggml.merges", {});
  writer.set_uint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(tokens.size() - 1));
}

inline void write_ascii_vocabulary(gguf::GgufWriter& writer) { write_ascii_vocabulary_with(writer, {}); }

}  // namespace olx::tests
