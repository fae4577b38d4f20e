// The whole way with a real model: what a person would see.
#include <thread>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;

TEST_CASE("RealModel_ChatsStreamedAndWholeAndSideBySide") {
  const std::string path = models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!have(path)) return;
  ServerFixture fixture(2, 512);
  REQUIRE(fixture.create("smol", path).status == 200);
  const std::string ask = R"({"model":"smol","options":{"temperature":0,"num_predict":24},"messages":[{"role":"user","content":"What is the capital of France?"}],"stream":)";
  const HttpAnswer whole = fixture.post("/api/chat", ask + "false}");
  REQUIRE(whole.status == 200);
  const std::string text(object_in(whole).at("message").at("content").as_string());
  CHECK(text.find("Paris") != std::string::npos);

  std::string streamed, other;
  std::jthread first([&] {
    for (const auto& record : lines_in(fixture.post("/api/chat", ask + "true}"))) streamed += record.at("message").at("content").as_string();
  });
  std::jthread second([&] {
    other = fixture.post("/api/generate", R"({"model":"smol","prompt":"Say hello.","stream":false,"options":{"num_predict":8}})").body;
  });
  first.join();
  second.join();
  CHECK(streamed == text);
  CHECK(boost::json::parse(other).at("done") == boost::json::value(true));
}
