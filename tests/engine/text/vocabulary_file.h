#pragma once
// A GGUF file that holds nothing but a vocabulary, as the test wants it. Used by the tests of the
// tokenizers.

#include <string>
#include <vector>

#include "engine/text/pretokenize/unicode.h"
#include "engine/text/tokenizer.h"
#include "gguf/writer.h"
#include "tests/support/test_paths.h"

namespace olx::tests {

struct VocabularyFile {
  std::string model = "llama";
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;
  std::unique_ptr<gguf::GgufWriter> writer =
      std::make_unique<gguf::GgufWriter>();  // for further keys

  int32_t add(std::string token, engine::TokenKind kind = engine::TokenKind::kNormal,
              float score = 0) {
    tokens.push_back(std::move(token));
    types.push_back(static_cast<int32_t>(kind));
    scores.push_back(score);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  void add_bytes() {  // <0x00> .. <0xFF>
    constexpr char kHex[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      add(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">", engine::TokenKind::kByte);
    }
  }
  void
  add_byte_alphabet() {  // GPT-2's 256 characters; a token's id is its byte where this comes first
    uint32_t n_others = 0;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      std::string spelling;
      engine::append_utf8(spelling, is_printable ? byte : 256 + n_others++);
      add(spelling);
    }
  }
  // May be called again: the tables stay, the further keys do not.
  std::unique_ptr<engine::Tokenizer> open() {
    if (!model.empty()) writer->set_string("tokenizer.ggml.model", model);
    if (!pre.empty()) writer->set_string("tokenizer.ggml.pre", pre);
    writer->set_strings("tokenizer.ggml.tokens", tokens);
    if (!types.empty()) writer->set_int32s("tokenizer.ggml.token_type", types);
    if (!scores.empty()) writer->set_float32s("tokenizer.ggml.scores", scores);
    if (model == "gpt2") writer->set_strings("tokenizer.ggml.merges", merges);
    const TempDir dir;
    writer->write(dir.file("vocabulary.gguf"));
    writer = std::make_unique<gguf::GgufWriter>();
    return engine::make_tokenizer(gguf::GgufFile::open(dir.file("vocabulary.gguf")));
  }
};

}  // namespace olx::tests
