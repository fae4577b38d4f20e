// What one request may hold, at each limit and one over it, and what a caller is told of a prompt
// that was cut.
#include <iostream>
#include <sstream>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

std::string repeated(size_t n, const std::string& element) {
  std::string list = "[";
  for (size_t i = 0; i < n; ++i) list += (i == 0 ? "" : ",") + element;
  return list + "]";
}

std::string chat_body(const std::string& messages, const std::string& more = "") {
  return R"({"model":"m","stream":false,"messages":)" + messages + more + "}";
}

const std::string kHi = R"({"role":"user","content":"hi"})";

}  // namespace

TEST_CASE("Limits_MessagesToolsImagesAndStops") {
  ServerFixture fixture(1, 64);
  REQUIRE(fixture.create_tiny("m", R"(,"template":"{{ .Prompt }}{{ .Tools }}")").status == 200);
  const std::string one_token = R"(,"options":{"num_predict":1})";
  struct Row {
    const char* route;
    std::string at, over;
    const char* says;
  };
  const std::string tool = R"({"type":"function","function":{"name":"f"}})";
  const auto tools = [&](size_t n) {
    return chat_body("[" + kHi + "]", R"(,"tools":)" + repeated(n, tool) + one_token);
  };
  const auto stops = [&](size_t n, size_t n_bytes) {
    return chat_body("[" + kHi + "]", R"(,"options":{"num_predict":1,"stop":)" +
                                          repeated(n, "\"" + std::string(n_bytes, 'x') + "\"") +
                                          "}");
  };
  const std::vector<Row> rows{
      {"/api/chat", chat_body(repeated(4096, kHi), one_token),
       chat_body(repeated(4097, kHi), one_token), "too many messages: 4097 (at most 4096)"},
      {"/api/chat", tools(256), tools(257), "too many tools: 257 (at most 256)"},
      {"/api/chat", stops(16, 1), stops(17, 1), "too many stop strings: 17 (at most 16)"},
      {"/api/chat", stops(1, 4096), stops(1, 4097),
       "too many bytes in a stop string: 4097 (at most 4096)"}};
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(fixture.post(row.route, row.at).status == 200);
    const HttpAnswer refused = fixture.post(row.route, row.over);
    CHECK(refused.status == 400);
    CHECK(object_in(refused).at("error") == json::value(row.says));
  }
  // A model without eyes refuses images too, but in other words.
  const auto images = [&](size_t n) {
    return chat_body(R"([{"role":"user","content":"hi","images":)" + repeated(n, "\"AAAA\"") +
                     "}]");
  };
  CHECK(fixture.post("/api/chat", images(32)).body.find("does not support vision") !=
        std::string::npos);
  CHECK(fixture.post("/api/chat", images(33)).body.find("too many images: 33 (at most 32)") !=
        std::string::npos);
  const std::string generate =
      R"({"model":"m","prompt":"hi","images":)" + repeated(33, "\"AAAA\"") + "}";
  CHECK(fixture.post("/api/generate", generate).body.find("too many images: 33") !=
        std::string::npos);
}

TEST_CASE("Truncation_IsToldInAHeaderAndInTheLastRecord") {
  ServerFixture fixture(1, 32);
  REQUIRE(fixture.create_tiny("m", R"(,"template":"{{ .Prompt }}")").status == 200);
  const std::string long_text(100, 'a'), options = R"("options":{"num_predict":1})";

  SECTION("a prompt that fits") {
    const HttpAnswer answer =
        fixture.post("/api/generate", R"({"model":"m","prompt":"hi",)" + options + "}");
    CHECK(answer.status == 200);
    CHECK_FALSE(answer.has_header("X-Prompt-Truncated"));
    CHECK_FALSE(lines_in(answer).back().contains("prompt_truncated_count"));
  }
  SECTION("a prompt that does not, streamed") {
    const HttpAnswer answer = fixture.post(
        "/api/generate", R"({"model":"m","prompt":")" + long_text + "\"," + options + "}");
    REQUIRE(answer.status == 200);
    const json::object last = lines_in(answer).back();
    const int64_t n_left_out = last.at("prompt_truncated_count").as_int64();
    CHECK(n_left_out + last.at("prompt_eval_count").as_int64() == 100);
    CHECK(answer.has_header("X-Prompt-Truncated: " + std::to_string(n_left_out)));
  }
  SECTION("messages that are left out") {
    const std::string message = R"({"role":"user","content":")" + std::string(20, 'b') + "\"}";
    const HttpAnswer answer =
        fixture.post("/api/chat", chat_body(repeated(5, message), "," + options));
    REQUIRE(answer.status == 200);
    const json::object record = object_in(answer);
    const int64_t n_left_out = record.at("prompt_truncated_count").as_int64();
    CHECK(n_left_out == 4 * 22);  // each with the two line ends that join it to the next
    CHECK(record.at("prompt_eval_count").as_int64() == 20);
    CHECK(answer.has_header("X-Prompt-Truncated: " + std::to_string(n_left_out)));
  }
  SECTION("in OpenAI's words") {
    const HttpAnswer answer =
        fixture.post("/v1/chat/completions",
                     R"({"model":"m","n":2,"max_tokens":1,"messages":[{"role":"user","content":")" +
                         long_text + "\"}]}");
    REQUIRE(answer.status == 200);
    const json::object usage = object_in(answer).at("usage").as_object();
    const int64_t n_left_out = usage.at("prompt_tokens_details").at("truncated_tokens").as_int64();
    CHECK(n_left_out + usage.at("prompt_tokens").as_int64() == 100);
    CHECK(answer.has_header("X-Prompt-Truncated: " + std::to_string(n_left_out)));
  }
}

TEST_CASE("Options_OutOfRangeOrOfTheWrongTypeNeverEndTheServer", "[T-35]") {
  ServerFixture fixture(1, 64);
  REQUIRE(fixture.create_tiny("m", R"(,"template":"{{ .Prompt }}")").status == 200);
  const char* values[] = {"-1", "0", "2147483648", "-9223372036854775808", "1e308", "-1e308", "\"5\"", "true", "[]", "{}"};
  for (const char* option : {"num_keep", "seed", "top_k", "repeat_last_n", "mirostat", "temperature", "top_p", "min_p", "typical_p",
                             "repeat_penalty", "presence_penalty", "frequency_penalty", "mirostat_tau", "mirostat_eta", "num_gpu",
                             "use_mmap", "stop", "num_thread"}) {
    for (const char* value : values) {
      CAPTURE(option, value);
      const HttpAnswer answer = fixture.post("/api/generate", std::string(R"({"model":"m","prompt":"hi","stream":false,"options":{"num_predict":2,")") +
                                                                  option + "\":" + value + "}}");
      CHECK((answer.status == 200 || answer.status == 400 || answer.status == 500));
      CHECK(object_in(answer).contains(answer.status == 200 ? "response" : "error"));
    }
  }
  CHECK(fixture.get("/api/version").status == 200);
}

TEST_CASE("Errors_NameNoFolderOfThisMachine", "[T-55]") {
  ServerFixture fixture(1, 64);
  const std::string folder = fixture.file("").substr(0, fixture.file("").find_last_not_of('/') + 1);
  const std::string blob = olx::server::sha256_of("GGUF broken").text();
  fixture.post("/api/blobs/" + blob, "GGUF broken");
  const std::pair<const char*, std::string> requests[] = {
      {"/api/create", R"({"model":"m","files":{"m.gguf":")" + blob + "\"}}"},
      {"/api/create", R"({"model":"m","files":{"/etc/passwd":")" + blob + "\"}}"},
      {"/api/create", R"({"model":"m","from":"/etc/passwd"})"},
      {"/api/show", R"({"model":"../../etc/passwd"})"},
      {"/api/show", R"({"model":"absent"})"},
      {"/api/copy", R"({"source":"absent","destination":"x"})"},
      {"/api/generate", R"({"model":"absent","prompt":"x"})"},
      {"/api/blobs/sha256:..", "x"}};
  for (const auto& [path, body] : requests) {
    const HttpAnswer answer = fixture.post(path, body);
    CAPTURE(path, body, answer.body);
    CHECK((answer.status >= 400 || answer.body.find("error") != std::string::npos));
    CHECK(answer.body.find(folder) == std::string::npos);
    CHECK(answer.body.find("/blobs/") == std::string::npos);
  }
}

TEST_CASE("Server_WarnsWhenItIsOpenWithoutKeys", "[T-58]") {
  const auto warns = [](const std::string& host, const std::string& keys) {
    std::ostringstream seen;
    std::streambuf* const before = std::cerr.rdbuf(seen.rdbuf());
    {
      ServerFixture fixture(1, 64, [&](olx::server::ServerOptions& options) {
        options.host = host;
        options.api_keys = keys;
      });
    }
    std::cerr.rdbuf(before);
    return seen.str().find("OLLAMAX_API_KEYS") != std::string::npos;
  };
  CHECK(warns("0.0.0.0", ""));
  CHECK(warns("", ""));
  CHECK_FALSE(warns("0.0.0.0", "key"));
  CHECK_FALSE(warns("127.0.0.1", ""));
  CHECK_FALSE(warns("localhost", ""));
}

TEST_CASE("Templates_ThatAreBrokenFailTheirRequestAndNotTheModel", "[T-24]") {
  ServerFixture fixture(1, 64);
  for (const char* broken : {"{{ messages", "{% for m in messages %}", "{% nothing %}", "{{ absent.member }}", "{{ raise_exception('no') }}"}) {
    CAPTURE(broken);
    REQUIRE(fixture.create_tiny("m", "", broken).status == 200);
    const HttpAnswer chat = fixture.post("/api/chat", R"({"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"options":{"num_predict":1}})");
    CHECK(chat.status >= 400);
    CHECK(object_in(chat).contains("error"));
    CHECK(fixture.post("/api/generate", R"({"model":"m","prompt":"hi","raw":true,"stream":false,"options":{"num_predict":1}})").status == 200);
  }
}
