// The registry client against servers that do one thing each: connections that do not come about,
// answers that do not end, redirects of what is sent, downloads that failed.
#include "server/registry/client.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/registry/download.h"
#include "server/registry/http_client.h"
#include "tests/support/catch.h"
#include "tests/support/registry_server.h"
#include "tests/support/scripted_server.h"
#include "tests/support/test_paths.h"

using namespace olx::server;
using olx::tests::ScriptedServer;
using Clock = std::chrono::steady_clock;

namespace {

std::string answer_with(int status, const std::string& headers = "", const std::string& body = "") {
  return "HTTP/1.1 " + std::to_string(status) + " x\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

// What a call throws; "" when it does not.
std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const NetworkError& error) {
    return error.what();
  }
  return "";
}

// A port at which connections are neither made nor refused: what waits to be accepted is full.
class SwallowingPort {
 public:
  SwallowingPort(const char* address, uint16_t port) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &at.sin_addr);
    auto* generic = reinterpret_cast<sockaddr*>(&at);
    REQUIRE(::bind(listener_, generic, sizeof at) == 0);
    REQUIRE(::listen(listener_, 0) == 0);
    for (int i = 0; i < 8; ++i) {
      waiting_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      ::connect(waiting_.back(), generic, sizeof at);
    }
  }
  ~SwallowingPort() {
    for (const int fd : waiting_) ::close(fd);
    ::close(listener_);
  }

 private:
  int listener_ = -1;
  std::vector<int> waiting_;
};

RegistryOptions quick() {
  RegistryOptions options;
  options.retry_delay_ms = 1;
  return options;
}

}  // namespace

TEST_CASE("HttpClient_AnAddressThatSwallowsPacketsCostsAMoment") {
  ScriptedServer server([](const auto&, int) { return answer_with(200, "", "hello"); });
  const SwallowingPort nowhere("127.0.0.2", server.port());
  HttpClientOptions options;
  options.connect_timeout_ms = 60'000;
  options.resolve = [](const std::string&) {
    return std::vector<std::string>{"127.0.0.2", "127.0.0.1"};
  };
  HttpClient client(options);
  const auto begin = Clock::now();
  CHECK(client
            .call({"GET",
                   *parse_url("http://two.example:" + std::to_string(server.port()) + "/"),
                   {},
                   nullptr,
                   std::nullopt})
            .status == 200);
  CHECK(client.read_all(100) == "hello");
  CHECK(Clock::now() - begin < std::chrono::seconds(30));
}

TEST_CASE("HttpClient_AllAddressesThatSwallowPacketsAreOneTimeout") {
  ScriptedServer server([](const auto&, int) { return answer_with(200); });
  const SwallowingPort first("127.0.0.2", server.port()), second("127.0.0.3", server.port());
  HttpClientOptions options;
  options.connect_timeout_ms = 700;
  options.resolve = [](const std::string&) {
    return std::vector<std::string>{"127.0.0.2", "127.0.0.3"};
  };
  HttpClient client(options);
  const HttpCall call{"GET",
                      *parse_url("http://two.example:" + std::to_string(server.port()) + "/"),
                      {},
                      nullptr,
                      std::nullopt};
  CHECK(refusal([&] { client.call(call); }) == "connect: the other side did not answer in time");
  CHECK(server.requests().empty());
}

TEST_CASE("HttpClient_AnAddressOnlyThisLinkKnowsIsPassedOver") {
  ScriptedServer server([](const auto&, int) { return answer_with(200, "", "hello"); });
  HttpClientOptions options;
  options.resolve = [](const std::string&) {
    return std::vector<std::string>{"fe80::1%eth0", "169.254.1.1", "127.0.0.1"};
  };
  HttpClient client(options);
  CHECK(client
            .call({"GET",
                   *parse_url("http://printer.local:" + std::to_string(server.port()) + "/"),
                   {},
                   nullptr,
                   std::nullopt})
            .status == 200);
}

TEST_CASE("HttpClient_AHeadThatTricklesIsAStall_T68") {
  std::atomic<bool> is_over{false};
  ScriptedServer server([&](const auto&, int fd) {
    ::send(fd, "HTTP/1.1 200 OK\r\nX: ", 20, MSG_NOSIGNAL);
    while (!is_over && ::send(fd, "x", 1, MSG_NOSIGNAL) == 1)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return std::string();
  });
  HttpClientOptions options;
  options.stall_timeout_ms = 300;
  HttpClient client(options);
  CHECK(refusal([&] {
          client.call(
              {"GET", *parse_url("http://" + server.host() + "/"), {}, nullptr, std::nullopt});
        }) == "the head of the answer stalled");
  is_over = true;
}

TEST_CASE("Registry_ARedirectOfWhatIsSentIsNoSuccess") {
  const int status = GENERATE(300, 301, 302, 303, 304, 305, 307);
  CAPTURE(status);
  // A Location with the statuses that change the method to GET: it must not be followed. 307
  // without one leads nowhere.
  const std::string headers = status == 307 ? "" : "Location: /elsewhere\r\n";
  ScriptedServer server([&](const auto&, int) { return answer_with(status, headers); });
  Registry registry(*ModelName::parse(server.host() + "/library/m"), true, quick());
  HttpClient client(registry.http_options({}));
  const HttpBody body{5, [](uint64_t offset, std::span<char> out) {
                        return std::string_view("hello").copy(out.data(), out.size(),
                                                              static_cast<size_t>(offset));
                      }};
  for (const char* method : {"PUT", "PATCH", "POST"})
    CHECK(refusal([&] {
            registry.send(client, method, registry.path("manifests/latest"), {}, &body);
          }) == "unexpected status code " + std::to_string(status));
  CHECK(server.requests().size() == 3);
}

TEST_CASE("Registry_WhatIsSentFollowsARedirectWholeAndWithoutTheToken_T62") {
  const int status = GENERATE(307, 308);
  CAPTURE(status);
  ScriptedServer other(
      [](const auto&, int) { return answer_with(202, "Location: /next?a=b\r\n"); });
  std::string realm;
  ScriptedServer server([&](const ScriptedServer::Request& request, int) {
    if (request.head.starts_with("GET /token"))
      return answer_with(200, "", R"({"token":"secret"})");
    if (request.head.find("Authorization: Bearer secret") == std::string::npos)
      return answer_with(401, "WWW-Authenticate: Bearer realm=\"" + realm + "\"\r\n");
    return answer_with(status, "Location: http://" + other.host() + "/there\r\n");
  });
  realm = "http://" + server.host() + "/token";
  const olx::tests::TempDir home;
  RegistryOptions options = quick();
  options.key_folder = home.path();
  Registry registry(*ModelName::parse(server.host() + "/library/m"), true, options);
  HttpClient client(registry.http_options({}));
  const std::string sent(300'000, 'y');
  const HttpBody body{sent.size(), [&](uint64_t offset, std::span<char> out) {
                        return std::string_view(sent).copy(out.data(), out.size(),
                                                           static_cast<size_t>(offset));
                      }};
  const HttpReply reply = registry.send(client, "PATCH", registry.path("blobs/uploads/1"),
                                        {{"Content-Range", "0-299999"}}, &body);
  CHECK(reply.status == 202);
  // Said without a host, by the host that answered: meant is that one.
  CHECK(*reply.header("Location") == "http://" + other.host() + "/next?a=b");
  REQUIRE(other.requests().size() == 1);
  CHECK(other.requests()[0].head.starts_with("PATCH /there HTTP/1.1\r\n"));
  CHECK(other.requests()[0].head.find("Content-Range: 0-299999\r\n") != std::string::npos);
  CHECK(other.requests()[0].head.find("Authorization") == std::string::npos);
  CHECK(other.requests()[0].body == sent);
}

TEST_CASE("Downloads_OneThatFailedIsTriedAgainThoughSomebodyStillLooksAtIt") {
  olx::tests::RegistryServer server;
  const olx::tests::TempDir folder;
  Store store(folder.path());
  Downloads downloads(store);
  const std::string bytes(100'000, 'z');
  const auto registry =
      std::make_shared<Registry>(*ModelName::parse(server.host() + "/library/m"), true, quick());
  const Layer layer{std::string(media_type::kModel), sha256_of(bytes), bytes.size(), {}};
  const auto wait = [](Downloads::Ticket& ticket) {
    while (!ticket.wait_published(100)) {
    }
  };
  Downloads::Ticket first = downloads.fetch({.registry = registry, .layer = layer});
  CHECK(refusal([&] { wait(first); }) == "file does not exist");
  server.add_blob(bytes);
  Downloads::Ticket second = downloads.fetch({.registry = registry, .layer = layer});
  CHECK(refusal([&] { wait(second); }).empty());
  CHECK(store.has_blob(layer.digest));
}
