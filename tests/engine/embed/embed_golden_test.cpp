// Engine::embed on a real model: against another program's vectors, alone and in company.

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::engine;

namespace {

struct Golden {
  int pooling;
  std::string text;
  size_t n_tokens;
  std::vector<float> values;
};
const std::vector<Golden>& goldens() {
  static const std::vector<Golden> rows{
#include "tests/engine/embed/embed_golden.inc"
  };
  return rows;
}

constexpr size_t kGoldenStride = 12;

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

std::vector<float> sampled(const std::vector<float>& vector) {
  std::vector<float> values;
  for (size_t i = 0; i < vector.size(); i += kGoldenStride) values.push_back(vector[i]);
  return values;
}

double length(const std::vector<float>& vector) {
  double sum = 0;
  for (float value : vector) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

std::string model_path() { return (olx::tests::models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf").string(); }

std::unique_ptr<Engine> open_engine(const std::string& path, int n_parallel = 1) {
  EngineOptions options;
  options.model_path = path;
  options.n_ctx = 512;
  options.n_parallel = n_parallel;
  options.n_batch = 64;  // so that some inputs take several steps
  return Engine::open(options);
}

std::string little_endian(uint64_t value, int n_bytes) {
  std::string bytes;
  for (int i = 0; i < n_bytes; ++i) bytes += static_cast<char>(value >> (8 * i) & 255);
  return bytes;
}

// The file with the key "llama.pooling_type", and a string that keeps its tensors aligned.
void write_with_pooling(const std::string& from, int pooling, const std::string& to) {
  std::ifstream in(from, std::ios::binary);
  std::string head(24, '\0');  // magic, version, tensor count, metadata count
  in.read(head.data(), 24);
  uint64_t n_keys = 0;
  for (int i = 7; i >= 0; --i) n_keys = n_keys << 8 | static_cast<unsigned char>(head[static_cast<size_t>(16 + i)]);
  const auto string = [](const std::string& text) { return little_endian(text.size(), 8) + text; };
  std::string added = string("llama.pooling_type") + little_endian(4, 4) + little_endian(static_cast<uint64_t>(pooling), 4);
  added += string("test.padding") + little_endian(8, 4);
  added += string(std::string((64 - (added.size() + 8) % 64) % 64, ' '));
  REQUIRE(added.size() % 64 == 0);
  std::ofstream out(to, std::ios::binary);
  out << head.substr(0, 16) << little_endian(n_keys + 2, 8) << added << in.rdbuf();
  REQUIRE(out.good());
}

std::vector<std::vector<int32_t>> tokens_of(const Engine& engine, const std::vector<std::string>& texts) {
  std::vector<std::vector<int32_t>> lists;
  for (const std::string& text : texts) lists.push_back(engine.tokenize(text, true, false));
  return lists;
}

std::string long_text(int n_words) {
  std::string text;
  for (int i = 0; i < n_words; ++i) text += " word" + std::to_string(i * 7919 % 1000);
  return text;
}

}  // namespace

TEST_CASE("embeddings agree with llama.cpp's, for each pooling") {
  if (!olx::tests::have(model_path())) return;
  const olx::tests::TempDir folder;
  for (int pooling : {1, 2, 3}) {
    const std::string path = folder.file("pooled.gguf");
    write_with_pooling(model_path(), pooling, path);
    const auto engine = open_engine(path);
    CHECK(engine->info().is_embedding);
    for (const Golden& golden : goldens()) {
      if (golden.pooling != pooling) continue;
      INFO("pooling " << pooling << ", " << golden.text);
      const auto tokens = tokens_of(*engine, {golden.text});
      CHECK(tokens[0].size() == golden.n_tokens);
      const auto vectors = engine->embed({.inputs = tokens});
      REQUIRE(vectors.size() == 1);
      CHECK(static_cast<int64_t>(vectors[0].size()) == engine->info().n_embd);
      CHECK(length(vectors[0]) == Approx(1.0).margin(1e-5));
      CHECK(cosine(sampled(vectors[0]), golden.values) >= 0.995);
    }
  }
}

TEST_CASE("a model without a pooling type gives its last token's state, as Ollama does") {
  if (!olx::tests::have(model_path())) return;
  const auto engine = open_engine(model_path());
  CHECK_FALSE(engine->info().is_embedding);
  for (const Golden& golden : goldens()) {
    if (golden.pooling != 3) continue;
    CHECK(cosine(sampled(engine->embed({.inputs = tokens_of(*engine, {golden.text})})[0]), golden.values) >= 0.995);
  }
  const auto tokens = tokens_of(*engine, {goldens()[0].text});
  const std::vector<float> raw = engine->embed({.inputs = tokens, .is_normalized = false})[0];
  CHECK(length(raw) > 2);
  CHECK(cosine(raw, engine->embed({.inputs = tokens})[0]) >= 1 - 1e-6);
}

TEST_CASE("a vector does not depend on its company, nor on running generations") {
  if (!olx::tests::have(model_path())) return;
  const std::vector<std::string> texts{"one", long_text(60), "a short sentence.", long_text(25), "two words"};
  std::vector<std::vector<float>> alone;
  std::string answer_alone;
  const auto generate = [](Engine& engine) {
    GenerateRequest request;
    request.prompt_tokens = engine.tokenize("The capital of France is", true, false);
    request.sampling.temperature = 0;
    request.n_predict = 40;
    return engine.submit(std::move(request));
  };
  const auto read = [](TokenStream& stream) {
    std::string text;
    while (true) {
      const TokenEvent event = stream.next();
      text += event.text;
      if (event.done != DoneReason::kNone) return text;
    }
  };
  {
    const auto engine = open_engine(model_path());
    for (const auto& tokens : tokens_of(*engine, texts)) alone.push_back(engine->embed({.inputs = {tokens}})[0]);
    TokenStream stream = generate(*engine);
    answer_alone = read(stream);
  }
  for (int n_parallel : {1, 3}) {
    const auto engine = open_engine(model_path(), n_parallel);
    TokenStream stream = generate(*engine);
    const auto together = engine->embed({.inputs = tokens_of(*engine, texts)});
    CHECK(read(stream) == answer_alone);
    REQUIRE(together.size() == texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      INFO("input " << i << ", " << n_parallel << " sequences");
      CHECK(cosine(together[i], alone[i]) >= 0.9999);
    }
  }
}

TEST_CASE("what cannot be embedded is refused, an abandoned request ends") {
  if (!olx::tests::have(model_path())) return;
  const auto engine = open_engine(model_path());
  CHECK(engine->embed({}).empty());
  CHECK_THROWS_AS(engine->embed({.inputs = {{1 << 30}}}), EngineError);
  CHECK_THROWS_AS(engine->embed({.inputs = {{-1}}}), EngineError);
  CHECK_THROWS_WITH(engine->embed({.inputs = {std::vector<int32_t>(513, 5)}}), "the input length exceeds the context length");
  EmbedRequest many;
  many.inputs.assign(2000, std::vector<int32_t>(500, 7));
  CHECK_THROWS_AS(engine->embed(std::move(many), [] { return true; }), EngineError);
  CHECK(engine->embed({.inputs = {{1, 2, 3}}}).size() == 1);
}
