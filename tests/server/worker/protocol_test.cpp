// The bytes between the server and a worker: what goes in comes out, what is broken is refused, and
// a worker that breaks the protocol is ended without harm.
#include <sys/socket.h>
#include <sys/wait.h>

#include <random>

#include "engine/error.h"
#include "gguf/value.h"
#include "server/worker/channel.h"
#include "server/worker/messages.h"
#include "server/worker/process.h"
#include "server/worker/worker_host.h"
#include "tests/server/worker/worker_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::server;
using namespace olx::tests;

namespace {

engine::GenerateRequest full_request() {
  engine::GenerateRequest request;
  request.prompt_tokens = {1, 2, 3};
  request.constraint.grammar = "root ::= answer";
  request.constraint.schemas.emplace_back(
      "answer",
      engine::ValueMap{{"type", "object"},
                       {"n", int64_t{7}},
                       {"x", 0.5},
                       {"ok", true},
                       {"none", nullptr},
                       {"list", engine::ValueList{"a", engine::ValueList{}, engine::ValueMap{}}}});
  request.constraint.free_open = "<think>";
  request.constraint.begins_free = true;
  request.marks = {"<a>", ""};
  request.sampling.seed = -5;
  request.sampling.temperature = 1.25f;
  request.stop = {"stop\n"};
  request.n_predict = 17;
  request.n_draft_max = 3;
  return request;
}

engine::TokenEvent full_event() {
  engine::TokenEvent event;
  event.text = "h\u00e9";
  event.tokens = {4, 5};
  event.logprobs.push_back({"h", 4, -0.5f, {{"g", 9, -1.5f}, {"", 10, -2.5f}}});
  event.done = engine::DoneReason::kLength;
  event.error = "e";
  event.stats.n_generated_tokens = 12;
  event.stats.queue_ns = 34;
  event.stats.load_ns = 56;
  return event;
}

// Every prefix, and many a changed byte: refused or read, never worse.
template <class T>
void torment(const T& value) {
  const std::string bytes = encode(value);
  CHECK(encode(decode<T>(bytes)) == bytes);
  for (size_t n = 0; n < bytes.size(); ++n)
    CHECK_THROWS_AS(decode<T>(std::string_view(bytes).substr(0, n)), WireError);
  CHECK_THROWS_AS(decode<T>(bytes + '\0'), WireError);
  std::mt19937 dice(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string broken = bytes;
    for (unsigned n = dice() % 4 + 1; n > 0 && !broken.empty(); --n)
      broken[dice() % broken.size()] = static_cast<char>(dice() % 3 == 0 ? 0xff : dice());
    try {
      decode<T>(broken);
    } catch (const WireError&) {  // as it should
    }
  }
}

std::unique_ptr<ModelHost> open_misbehaving(const std::string& how, int stall_ms = 20'000) {
  TempDir dir;
  const std::string path = dir.file("m.gguf");
  std::ofstream(path) << "not read";
  engine::EngineOptions options;
  options.model_path = path;
  return open_in_worker(
      options, {OLLAMAX_TEST_WORKER, {"worker", how}, std::chrono::milliseconds(stall_ms)});
}

template <class Call>
std::string death_in(const Call& call) {
  try {
    call();
  } catch (const engine::EngineError& error) {
    CHECK(error.code() == engine::ErrorCode::kProcessDied);
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("Messages_CrossWholeAndAreRefusedBroken", "[T-94]") {
  torment(full_request());
  torment(full_event());
  engine::ChatRequest chat;
  chat.messages.push_back({.role = "user",
                           .content = "hi",
                           .tool_calls = {{"id", "f", engine::ValueMap{{"a", 1}}}},
                           .images = {"png"}});
  chat.tools = engine::ValueList{engine::ValueMap{{"type", "function"}}};
  chat.think = false;
  chat.think_level = "low";
  torment(chat);
  torment(engine::ChatPrompt{"abcdef", {1, 1, 6}});
  torment(engine::EmbedRequest{{{1, 2}, {}}, false});
  engine::ModelInfo info;
  info.n_ctx = info.n_embd = info.vocab_size = 5;
  info.chat_template = "{{ x }}";
  torment(info);
  torment(engine::EngineStats{.n_active = 1, .n_unread_bytes = 3, .n_steps = 2});
  torment(Failure{Failure::Kind::kEngine, engine::ErrorCode::kContextTooLong, "too long"});
  torment(PromptToTokenize{{"ab", {1}}, true});
  torment(TextToTokenize{"ab", false, true});
  engine::EngineOptions options;
  options.model_path = "/x";
  options.draft_path = "/y";
  options.speculate = engine::SpeculateMode::kOff;
  torment(options);
  CHECK(decode<engine::GenerateRequest>(encode(full_request())).constraint.schemas ==
        full_request().constraint.schemas);
  // A list that says it is longer than memory.
  std::string bytes = encode(std::vector<int32_t>{1, 2});
  bytes[7] = '\x7f';
  CHECK_THROWS_AS(decode<std::vector<int32_t>>(bytes), WireError);
  // Nesting.
  engine::Value deep;
  for (int i = 0; i < 5000; ++i) deep = engine::ValueList{std::move(deep)};
  engine::GenerateRequest nested;
  nested.constraint.schemas.emplace_back("x", std::move(deep));
  const std::string nested_bytes = encode(nested);
  CHECK_THROWS_AS(decode<engine::GenerateRequest>(nested_bytes), WireError);
  // Figures that the server could not work with.
  info.n_embd = 0;
  CHECK_THROWS_AS(decode<engine::ModelInfo>(encode(info)), WireError);
  engine::TokenEvent negative = full_event();
  negative.stats.n_prompt_tokens = -1;
  CHECK_THROWS_AS(decode<engine::TokenEvent>(encode(negative)), WireError);
  CHECK_THROWS_AS((decode<engine::ChatPrompt>(encode(engine::ChatPrompt{"ab", {3}}))), WireError);
}

TEST_CASE("Messages_ErrorsCrossAsWhatTheyWere") {
  const auto crossed = [](const std::exception& error) {
    decode<Failure>(encode(Failure::of(error))).raise();
  };
  CHECK_THROWS_AS(crossed(gguf::FormatError("x")), gguf::FormatError);
  CHECK_THROWS_WITH(crossed(std::runtime_error("plain")), "plain");
  try {
    crossed(engine::EngineError(engine::ErrorCode::kContextTooLong, "long"));
    FAIL("nothing was thrown");
  } catch (const engine::EngineError& error) {
    CHECK(error.code() == engine::ErrorCode::kContextTooLong);
    CHECK(std::string(error.what()) == "long");
  }
}

TEST_CASE("Channel_CarriesFramesHoweverTheyAreCut") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  Channel reader(ends[0]);
  std::string wire;
  {
    int inner[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, inner) == 0);
    Channel writer(inner[0]);
    for (uint64_t i = 0; i < 20; ++i)
      REQUIRE(writer.send(FrameType::kEvent, i, std::string(i * 37, static_cast<char>('a' + i))));
    writer.shut_down();
    char piece[1 << 16];
    for (ssize_t n; (n = ::recv(inner[1], piece, sizeof piece, 0)) > 0;)
      wire.append(piece, static_cast<size_t>(n));
    ::close(inner[1]);
  }
  std::thread slow([&] {
    for (size_t at = 0, n = 1; at < wire.size(); at += n, n = n % 13 + 1)
      ::send(ends[1], wire.data() + at, std::min(n, wire.size() - at), MSG_NOSIGNAL);
    ::shutdown(ends[1], SHUT_WR);
  });
  Frame frame;
  for (uint64_t i = 0; i < 20; ++i) {
    REQUIRE(reader.receive(frame, std::chrono::milliseconds(20'000)) == Channel::Receive::kFrame);
    CHECK(frame.id == i);
    CHECK(frame.payload == std::string(i * 37, static_cast<char>('a' + i)));
  }
  CHECK(reader.receive(frame, std::chrono::milliseconds(20'000)) == Channel::Receive::kEnd);
  slow.join();
  ::close(ends[1]);
}

TEST_CASE("Worker_OneThatBreaksTheProtocolIsEnded", "[T-94]") {
  const CapturedErrors errors;
  for (const char* how : {"leaves", "long", "unknown", "garbage", "zero", "short", "half"}) {
    CAPTURE(how);
    CHECK(death_in([&] { open_misbehaving(how); }).starts_with("model runner has "));
    CHECK(children().empty());
  }
  CHECK(death_in([] { open_misbehaving("silent", 500); }).find("no progress") != std::string::npos);

  const auto is_over = [](const std::unique_ptr<ModelHost>& host) {
    return comes_true([&] { return !host->is_alive(); });
  };
  {
    const auto host = open_misbehaving("reply");
    CHECK(death_in([&] { host->tokenize("x", true, true); }).find("broke the protocol") !=
          std::string::npos);
    CHECK(is_over(host));
    CHECK(death_in([&] { host->tokenize("x", true, true); }).find("broke the protocol") !=
          std::string::npos);
  }
  {
    const auto host = open_misbehaving("breaks");
    CHECK(death_in([&] { host->render_chat({}); }).find("broke the protocol") != std::string::npos);
  }
  for (const char* how : {"vectors", "few"}) {
    const auto host = open_misbehaving(how);
    CHECK(death_in([&] {
            host->embed({{{1}, {2}}, true}, [] { return false; });
          }).find("broke the protocol") != std::string::npos);
  }
  for (const char* how : {"negative", "event", "flood", "polite"}) {
    CAPTURE(how);
    const auto host = open_misbehaving(how);
    engine::GenerateRequest request;
    request.prompt_tokens = {1};
    engine::TokenStream stream = host->submit(std::move(request));
    CHECK(stream.n_truncated_tokens() <= 1);
    if (std::string_view(how) == "flood")
      std::this_thread::sleep_for(std::chrono::seconds(2));  // nobody reads
    engine::TokenEvent last = stream.next();
    size_t n_bytes = 0;
    for (; last.done == engine::DoneReason::kNone; last = stream.next())
      n_bytes += last.text.size();
    CHECK(last.done == (std::string_view(how) == "polite" ? engine::DoneReason::kStop
                                                          : engine::DoneReason::kError));
    CHECK(n_bytes <= 65 << 20);
  }
  {
    const auto host = open_misbehaving("reload");
    host->stats();
    CHECK(is_over(host));
  }
  CHECK(comes_true([] { return children().empty(); }));
}

TEST_CASE("Worker_EndsWithItsSocket", "[T-94]") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  TempDir dir;
  const std::string path = dir.file("m.gguf");
  TinyModel tiny;
  tiny.more_metadata = write_ascii_vocabulary;
  write_tiny_model("llama", tiny, path);
  const int model = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  WorkerProcess process(OLLAMAX_TEST_WORKER, {"worker"}, ends[1], model, -1);
  ::close(ends[1]);
  ::close(model);
  // What a terminal or a service manager sends is not for it.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  if (status_of(process.pid(), "SigIgn").size() == 16) {
    const uint64_t ignored = std::stoull(status_of(process.pid(), "SigIgn"), nullptr, 16);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
      CHECK((ignored >> (number - 1) & 1) == 1);
  }
  CHECK(!process.wait(std::chrono::milliseconds(200)));
  ::close(ends[0]);
  CHECK(process.wait(std::chrono::seconds(20)) == std::optional<std::string>("exit code 0"));
}

TEST_CASE("Worker_StartsOnlyForAServer") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(3);
    ::close(4);
    ::execl(OLLAMAX_TEST_WORKER, "ollamax", static_cast<char*>(nullptr));
    ::_exit(99);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 2);
}

TEST_CASE("Worker_AProgramThatIsNotThereIsAnErrorOfTheRequest") {
  TempDir dir;
  std::ofstream(dir.file("m.gguf")) << "x";
  engine::EngineOptions options;
  options.model_path = dir.file("m.gguf");
  CHECK_THROWS_AS(open_in_worker(options, {dir.file("none")}), std::system_error);
  options.model_path = dir.file("none.gguf");
  CHECK_THROWS_AS(open_in_worker(options, {OLLAMAX_TEST_WORKER}), std::system_error);
  options.model_path = dir.file("m.gguf");
  CHECK_THROWS_AS(open_in_worker(options, {OLLAMAX_TEST_WORKER}),
                  gguf::FormatError);  // found out in the worker
  options.model_path = dir.path();
  CHECK_THROWS_AS(open_in_worker(options, {OLLAMAX_TEST_WORKER}), gguf::FormatError);
  CHECK(children().empty());
}
