// The whole way with a real model: what a person would see.
#include <thread>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;

TEST_CASE("RealModel_AnswersStreamedAndWholeAndSideBySide") {
  const std::string path = models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!have(path)) return;
  ServerFixture fixture(2, 512);
  REQUIRE(fixture.create("smol", path).status == 200);
  const std::string ask = R"({"model":"smol","raw":true,"prompt":"The capital of France is","options":{"temperature":0,"num_predict":4},"stream":)";
  const HttpAnswer whole = fixture.post("/api/generate", ask + "false}");
  REQUIRE(whole.status == 200);
  CHECK(object_in(whole).at("response").as_string().starts_with(" Paris"));

  std::string streamed, chatted;
  std::jthread first([&] {
    for (const auto& record : lines_in(fixture.post("/api/generate", ask + "true}"))) streamed += record.at("response").as_string();
  });
  std::jthread second([&] {
    const HttpAnswer answer = fixture.post("/api/chat", R"({"model":"smol","messages":[{"role":"user","content":"Say hello."}],"options":{"num_predict":8}})");
    for (const auto& record : lines_in(answer)) chatted += record.at("message").at("content").as_string();
  });
  first.join();
  second.join();
  CHECK(streamed.starts_with(" Paris"));
  CHECK(!chatted.empty());
}
