// Requests of all kinds at once, to a whole server with a real engine: for ThreadSanitizer, which
// sees what no answer shows, and for the answers, each of which has to be what it is without
// company.
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/sanitizers.h"

using namespace olx;
using namespace olx::tests;
namespace json = boost::json;

namespace {

constexpr int kClients = 6;
constexpr int kRounds = kHasSanitizers ? 12 : 60;  // of a client

std::string generate_body(const std::string& model, const std::string& prompt, bool is_streaming) {
  return json::serialize(json::object{
      {"model", model},
      {"prompt", prompt},
      {"stream", is_streaming},
      {"options", json::object{{"temperature", 0}, {"num_predict", 12}, {"stop", json::array{}}}}});
}

// What the records of an answer say, one after the other.
std::string text_of(const HttpAnswer& answer) {
  std::string text;
  for (const json::object& record : lines_in(answer))
    if (const json::value* piece = record.if_contains("response")) text += piece->as_string();
  return text;
}

}  // namespace

TEST_CASE("Server_RequestsOfAllKindsAtOnceGetTheAnswersTheyGetAlone", "[T-98]") {
  ServerFixture fixture(3, 128,
                        [](server::ServerOptions& options) { options.max_loaded_models = 2; });
  const std::vector<std::string> models = {"a", "b", "c"};
  for (const std::string& model : models) {
    TinyModel tiny;
    tiny.seed = static_cast<uint32_t>(model[0]);
    tiny.more_metadata = [](gguf::GgufWriter& writer) { write_ascii_vocabulary(writer); };
    write_tiny_model("llama", tiny, fixture.file(model + ".gguf"));
    REQUIRE(fixture.create(model, fixture.file(model + ".gguf"), R"(,"template":"{{ .Prompt }}")")
                .status == 200);
  }
  const std::vector<std::string> prompts = {
      "Hello", "Hello, you", "What is this? A long prompt, which takes more than one step.", "x"};
  std::map<std::pair<std::string, std::string>, std::string> alone;
  for (const std::string& model : models)
    for (const std::string& prompt : prompts) {
      const HttpAnswer answer = fixture.post("/api/generate", generate_body(model, prompt, false));
      REQUIRE(answer.status == 200);
      alone[{model, prompt}] = text_of(answer);
    }

  std::mutex mutex;  // of what follows: Catch's own checks are for one thread
  std::set<std::string> complaints;
  const auto expect = [&](const HttpAnswer& answer, const std::string& what,
                          std::set<int> statuses = {200}) {
    if (statuses.contains(answer.status)) return true;
    const std::lock_guard lock(mutex);
    complaints.insert(what + ": " + std::to_string(answer.status) + " " +
                      answer.body.substr(0, 200));
    return false;
  };
  const auto client = [&](uint32_t number) {
    std::mt19937 random(number);
    const std::string own = "own" + std::to_string(number);
    for (int round = 0; round < kRounds; ++round) {
      const std::string& model = models[random() % models.size()];
      const std::string& prompt = prompts[random() % prompts.size()];
      switch (random() % 10) {
        case 0:
        case 1:
        case 2: {
          const HttpAnswer answer =
              fixture.post("/api/generate", generate_body(model, prompt, random() % 2 == 0));
          if (expect(answer, "generate") && text_of(answer) != alone.at({model, prompt}))
            expect({}, "another answer of " + model + " to " + prompt);
          break;
        }
        case 3:
          expect(
              fixture.post("/v1/chat/completions",
                           R"({"model":")" + model +
                               R"(","max_tokens":4,"messages":[{"role":"user","content":"hi"}]})"),
              "chat");
          break;
        case 4: {  // leaves in the middle of an answer
          HttpConnection connection(fixture.port());
          const std::string body = generate_body(model, prompt, true);
          connection.send("POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body);
          if (random() % 2 == 0) connection.peek_some();
          break;
        }
        case 5:
          expect(fixture.post("/api/generate", R"({"model":")" + model + R"(","keep_alive":0})"),
                 "unload");
          break;
        case 6:
          if (expect(fixture.post("/api/copy", R"({"source":")" + model + R"(","destination":")" +
                                                   own + R"("})"),
                     "copy"))
            expect(http(fixture.port(), "DELETE", "/api/delete", R"({"model":")" + own + R"("})"),
                   "delete");
          break;
        case 7:
          expect(fixture.post("/api/create", R"({"model":")" + own + R"(","from":")" + model +
                                                 R"(","system":"s)" + std::to_string(round % 3) +
                                                 R"(","stream":false})"),
                 "create");
          break;
        case 8:
          expect(fixture.post("/api/show", R"({"model":")" + model + R"("})"), "show");
          expect(fixture.post("/api/embed", R"({"model":")" + model + R"(","input":["a","b c"]})"),
                 "embed", {200, 400, 501});
          break;
        default:
          for (const char* path :
               {"/api/tags", "/api/ps", "/metrics", "/v1/models", "/api/version"})
            expect(fixture.get(path), path);
      }
    }
  };
  std::vector<std::thread> clients;
  for (uint32_t number = 0; number < kClients; ++number) clients.emplace_back(client, number);
  for (std::thread& one : clients) one.join();
  std::string all;
  for (const std::string& complaint : complaints) all += complaint + "\n";
  CHECK(all == "");
  for (const auto& [asked, text] : alone)
    CHECK(text_of(fixture.post("/api/generate", generate_body(asked.first, asked.second, false))) ==
          text);
}
