#include "engine/model/model_config.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "engine/arch/architecture.h"
#include "engine/error.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace {

using olx::engine::ModelConfig;
using olx::gguf::GgufWriter;

ModelConfig read_tiny(std::string_view architecture, const std::function<void(GgufWriter&)>& more = {}) {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("tiny.gguf");
  olx::tests::write_tiny_model(architecture, {.more_metadata = more}, path);
  return olx::engine::read_model_config(olx::gguf::GgufFile::open(path));
}

// The message with which metadata alone is refused.
std::string refusal(const std::function<void(GgufWriter&)>& write) {
  const olx::tests::TempDir folder;
  const std::string path = folder.file("meta.gguf");
  GgufWriter writer;
  write(writer);
  writer.write(path);
  const auto file = olx::gguf::GgufFile::open(path);
  try {
    olx::engine::read_model_config(file);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

void write_llama(GgufWriter& writer, std::string_view without = "") {
  writer.set_string("general.architecture", "llama");
  const std::pair<const char*, uint32_t> keys[] = {
      {"llama.block_count", 2},          {"llama.context_length", 512},    {"llama.embedding_length", 64},
      {"llama.feed_forward_length", 96}, {"llama.attention.head_count", 4}, {"llama.vocab_size", 10}};
  for (const auto& [key, value] : keys) {
    if (key != without) writer.set_uint32(key, value);
  }
  if (without != "llama.attention.layer_norm_rms_epsilon") {
    writer.set_float32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("ModelConfig_ReadsALlamaAndItsDefaults") {
  const olx::tests::TempDir folder;
  GgufWriter writer;
  write_llama(writer);
  writer.write(folder.file("m.gguf"));
  const auto config = olx::engine::read_model_config(olx::gguf::GgufFile::open(folder.file("m.gguf")));
  CHECK(config.n_kv_heads == 4);
  CHECK(config.head_dim == 16);
  CHECK(config.rope.n_rot == 16);
  CHECK(config.rope.freq_base == 10000.0);
  CHECK_FALSE(config.rope.is_neox);
  CHECK(config.attention_scale == 0.25f);
  CHECK(config.vocab_size == 10);
}

TEST_CASE("ModelConfig_RefusesUnknownArchitecturesByName") {
  const std::string message = refusal([](GgufWriter& w) { w.set_string("general.architecture", "mamba9"); });
  CHECK(contains(message, "\"mamba9\" is not supported"));
  CHECK(contains(message, "gemma3"));
}

TEST_CASE("ModelConfig_NamesTheKeyThatIsMissing", "[T-07]") {
  for (const char* key : {"llama.block_count", "llama.context_length", "llama.embedding_length",
                          "llama.feed_forward_length", "llama.attention.head_count",
                          "llama.attention.layer_norm_rms_epsilon"}) {
    const std::string message = refusal([&](GgufWriter& w) { write_llama(w, key); });
    INFO(message);
    CHECK(contains(message, key));
  }
}

TEST_CASE("ModelConfig_RefusesExtremeValuesOfEveryKey", "[T-08]") {
  for (const auto& spec : olx::engine::common_keys()) {
    const std::string key = std::string("llama.") + spec.name;
    for (const double value : {-1.0, spec.min - 1, spec.max + 1, 2147483648.0, 4294967295.0}) {
      if (value >= spec.min && value <= spec.max) continue;
      const std::string message = refusal([&](GgufWriter& w) {
        write_llama(w, key);
        if (spec.real != nullptr) {
          w.set_float32(key, static_cast<float>(value));
        } else if (value < 0) {
          w.set_int32(key, static_cast<int32_t>(value));
        } else {
          w.set_uint64(key, static_cast<uint64_t>(value));
        }
      });
      INFO(key << " = " << value << ": " << message);
      CHECK(contains(message, key));
    }
    const std::string message = refusal([&](GgufWriter& w) {
      write_llama(w, key);
      w.set_string(key, "12");
    });
    INFO(message);
    CHECK(contains(message, key));
  }
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -0.5f}) {
    const std::string message = refusal([&](GgufWriter& w) {
      write_llama(w);
      w.set_float32("llama.rope.freq_base", bad);
    });
    CHECK(contains(message, "llama.rope.freq_base"));
  }
}

TEST_CASE("ModelConfig_RefusesHeadsThatDoNotDivide") {
  CHECK(contains(refusal([](GgufWriter& w) {
                   write_llama(w);
                   w.set_uint32("llama.attention.head_count_kv", 3);
                 }),
                 "llama.attention.head_count_kv: expected a divisor of head_count 4, got 3"));
  CHECK(contains(refusal([](GgufWriter& w) {
                   write_llama(w);
                   w.set_uint32("llama.rope.dimension_count", 18);
                 }),
                 "llama.rope.dimension_count: expected 2 .. 16, got 18"));
  CHECK(contains(refusal([](GgufWriter& w) {
                   write_llama(w);
                   w.set_uint32("llama.rope.dimension_count", 7);
                 }),
                 "an even number"));
  CHECK(contains(refusal([](GgufWriter& w) {
                   write_llama(w);
                   w.set_uint32("llama.expert_count", 8);
                 }),
                 "mixture of experts"));
}

TEST_CASE("ModelConfig_ReadsRopeScaling") {
  const auto linear = read_tiny("llama", [](GgufWriter& w) {
    w.set_string("llama.rope.scaling.type", "linear");
    w.set_float32("llama.rope.scaling.factor", 4.0f);
  });
  CHECK(linear.rope.freq_scale == 0.25);
  CHECK(linear.rope.ext_factor == 0.0);
  const auto yarn = read_tiny("qwen2", [](GgufWriter& w) {
    w.set_string("qwen2.rope.scaling.type", "yarn");
    w.set_float32("qwen2.rope.scaling.factor", 4.0f);
    w.set_uint32("qwen2.rope.scaling.original_context_length", 128);
  });
  CHECK(yarn.rope.freq_scale == 0.25);
  CHECK(yarn.rope.ext_factor == 1.0);
  CHECK(yarn.rope.n_ctx_orig == 128);
  CHECK(yarn.rope.is_neox);
  CHECK(contains(refusal([](GgufWriter& w) {
                   write_llama(w);
                   w.set_string("llama.rope.scaling.type", "spiral");
                 }),
                 "expected none, linear or yarn, got spiral"));
}

TEST_CASE("ModelConfig_KnowsGemma3LayersAndBothRotations") {
  const auto config = read_tiny("gemma3", [](GgufWriter& w) {
    w.set_float32("gemma3.rope.freq_base", 1e6f);
    w.set_string("gemma3.rope.scaling.type", "linear");
    w.set_float32("gemma3.rope.scaling.factor", 8.0f);
  });
  for (int64_t layer = 0; layer < 7; ++layer) CHECK(config.is_local(layer) == (layer != 5));
  CHECK(config.rope.freq_base == 1e6);
  CHECK(config.rope.freq_scale == 0.125);
  CHECK(config.rope_local.freq_base == 1e4);
  CHECK(config.rope_local.freq_scale == 1.0);
  CHECK(config.embed_scale == 8.0f);
}

TEST_CASE("ModelConfig_ReadsGemma3AsOllamaConvertedIt") {
  // No epsilon, no key length, nested rotation bases, no word of the interpolation.
  const olx::tests::TempDir folder;
  GgufWriter writer;
  writer.set_string("general.architecture", "gemma3");
  const std::pair<const char*, uint32_t> keys[] = {
      {"gemma3.block_count", 34},           {"gemma3.context_length", 131072},
      {"gemma3.embedding_length", 2560},    {"gemma3.feed_forward_length", 10240},
      {"gemma3.attention.head_count", 8},   {"gemma3.attention.head_count_kv", 4},
      {"gemma3.attention.sliding_window", 1024}, {"gemma3.vocab_size", 100}};
  for (const auto& [key, value] : keys) writer.set_uint32(key, value);
  writer.set_float32("gemma3.rope.global.freq_base", 1e6f);
  writer.set_float32("gemma3.rope.local.freq_base", 1e4f);
  writer.write(folder.file("m.gguf"));
  const auto config = olx::engine::read_model_config(olx::gguf::GgufFile::open(folder.file("m.gguf")));
  CHECK(config.norm_eps == 1e-6f);
  CHECK(config.head_dim == 256);
  CHECK(config.rope.freq_base == 1e6);
  CHECK(config.rope.freq_scale == 0.125);
  CHECK(config.rope_local.freq_base == 1e4);
}

TEST_CASE("ModelConfig_ScalesQueriesOfTheLargeGemma2ByItsOwnRule") {
  const auto with_layers = [](uint32_t n_layers) {
    const olx::tests::TempDir folder;
    GgufWriter writer;
    writer.set_string("general.architecture", "gemma2");
    const std::pair<const char*, uint32_t> keys[] = {
        {"gemma2.block_count", n_layers},    {"gemma2.context_length", 8192},
        {"gemma2.embedding_length", 4608},   {"gemma2.feed_forward_length", 36864},
        {"gemma2.attention.head_count", 32}, {"gemma2.attention.head_count_kv", 16},
        {"gemma2.attention.key_length", 128}, {"gemma2.vocab_size", 100}};
    for (const auto& [key, value] : keys) writer.set_uint32(key, value);
    writer.set_float32("gemma2.attention.layer_norm_rms_epsilon", 1e-6f);
    writer.write(folder.file("m.gguf"));
    return olx::engine::read_model_config(olx::gguf::GgufFile::open(folder.file("m.gguf")));
  };
  CHECK(with_layers(46).attention_scale == Approx(1.0 / 12));
  CHECK(with_layers(42).attention_scale == Approx(1.0 / std::sqrt(128.0)));
  CHECK(with_layers(42).sliding_window == 4096);
}
