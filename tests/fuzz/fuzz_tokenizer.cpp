// Any vocabulary and any text: FormatError or EngineError at construction, or a tokenizer that
// encodes and decodes every text. Byte-level BPE with a complete alphabet must give the very bytes
// back.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/text/detokenizer.h"
#include "engine/text/pretokenize/unicode.h"
#include "engine/text/tokenizer.h"
#include "gguf/writer.h"

namespace {

using namespace olx;

constexpr const char* kRules[] = {
    "default", "gpt-2",        "starcoder",      "falcon",      "llama-bpe",   "qwen2",
    "qwen35",  "minicpm5",     "seed-coder",     "tekken",      "gpt-4o",      "bloom",
    "viking",  "deepseek-llm", "deepseek-coder", "deepseek-v3", "no-such-rule"};
constexpr const char* kModels[] = {"llama", "gpt2", "bert", "gpt2", "llama", "rwkv"};
constexpr const char* kIdKeys[] = {"bos_token_id", "eos_token_id", "eot_token_id",
                                   "unknown_token_id", "cls_token_id"};
constexpr const char* kFlagKeys[] = {"add_bos_token",        "add_eos_token",
                                     "add_space_prefix",     "remove_extra_whitespaces",
                                     "normalizer.lowercase", "normalizer.strip_accents"};
constexpr const char* kSpellings[] = {"<s>",   "</s>",  "<unk>", "<|im_end|>",  "<0x41>",
                                      "[CLS]", "[SEP]", "[UNK]", "\xE2\x96\x81"};

// True when every byte has a token of its own, so that encoding loses nothing.
bool write_vocabulary(FuzzedDataProvider& data, const std::string& path) {
  gguf::GgufWriter writer;
  const std::string model = data.PickValueInArray(kModels);
  writer.set_string("tokenizer.ggml.model", model);
  writer.set_string("tokenizer.ggml.pre", data.PickValueInArray(kRules));
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::vector<float> scores;
  const bool has_alphabet = data.ConsumeBool();
  if (has_alphabet) {
    uint32_t n_others = 0;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      engine::append_utf8(tokens.emplace_back(), is_printable ? byte : 256 + n_others++);
      types.push_back(1);
      scores.push_back(0);
    }
  }
  const size_t n_tokens = data.ConsumeIntegralInRange<size_t>(0, 64);
  bool is_lossless = has_alphabet && model == "gpt2";
  for (size_t i = 0; i < n_tokens; ++i) {
    tokens.push_back(data.ConsumeBool() ? data.PickValueInArray(kSpellings)
                                        : data.ConsumeRandomLengthString(12));
    types.push_back(data.ConsumeIntegralInRange<int32_t>(0, 40) == 0
                        ? data.ConsumeIntegral<int32_t>()
                        : data.ConsumeIntegralInRange<int32_t>(1, 5));
    scores.push_back(data.ConsumeFloatingPointInRange<float>(-10, 10));
    if (types.back() != 1) is_lossless = is_lossless && types.back() == 4;
  }
  const size_t n_merges = data.ConsumeIntegralInRange<size_t>(0, 32);
  for (size_t i = 0; i < n_merges; ++i) {
    if (tokens.empty() || data.ConsumeIntegralInRange(0, 30) == 0) {
      merges.push_back(data.ConsumeRandomLengthString(8));
      continue;
    }
    const std::string left = tokens[data.ConsumeIntegralInRange<size_t>(0, tokens.size() - 1)];
    const std::string right = tokens[data.ConsumeIntegralInRange<size_t>(0, tokens.size() - 1)];
    merges.push_back(left + " " + right);
    if (data.ConsumeBool()) {
      tokens.push_back(left + right);
      types.push_back(1);
      scores.push_back(0);
    }
  }
  if (data.ConsumeIntegralInRange(0, 20) == 0 && !types.empty()) types.pop_back();
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  if (data.ConsumeBool()) writer.set_int32s("tokenizer.ggml.token_type", types);
  if (data.ConsumeBool()) writer.set_float32s("tokenizer.ggml.scores", scores);
  writer.set_strings("tokenizer.ggml.merges", merges);
  for (const char* key : kIdKeys) {
    if (data.ConsumeBool()) {
      writer.set_uint32(std::string("tokenizer.ggml.") + key,
                        data.ConsumeIntegralInRange<uint32_t>(0, 400));
      is_lossless = false;  // a special token is not text
    }
  }
  for (const char* key : kFlagKeys) {
    if (data.ConsumeBool())
      writer.set_bool(std::string("tokenizer.ggml.") + key, data.ConsumeBool());
  }
  writer.write(path);
  return is_lossless;
}

void use(const engine::Tokenizer& tokenizer, const std::string& text, bool is_lossless) {
  for (const bool special : {false, true}) {
    const std::vector<int32_t> ids =
        tokenizer.encode(text, {.add_special = special, .parse_special = special});
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    const std::string decoded = tokenizer.decode(ids);
    if (!special && is_lossless && decoded != text) std::abort();
    engine::Detokenizer detokenizer(tokenizer, {text.substr(0, 3), "ab", "\n\n"}, special);
    std::string out;
    for (const int32_t id : ids) out += detokenizer.push(id).text;
    out += detokenizer.flush();
    for (size_t pos = 0; pos < out.size();) {
      const engine::Utf8Char c = engine::decode_utf8(out, pos);
      if (!c.valid) std::abort();
      pos += c.n_bytes;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t n_bytes) {
  FuzzedDataProvider data(bytes, n_bytes);
  const int fd = memfd_create("vocabulary", 0);
  if (fd < 0) std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  try {
    const bool is_lossless = write_vocabulary(data, path);
    const auto tokenizer = engine::make_tokenizer(gguf::GgufFile::open(path));
    use(*tokenizer, data.ConsumeRemainingBytesAsString(), is_lossless);
  } catch (const gguf::FormatError&) {
  } catch (const engine::EngineError&) {
  }
  close(fd);
  return 0;
}
