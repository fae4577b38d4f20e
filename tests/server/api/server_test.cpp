// The server's own life: its address, the port it cannot have, stopping.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
using olx::server::parse_host;

TEST_CASE("Server_SaysThatItsPortIsTaken") {
  ServerFixture fixture;
  olx::server::ServerOptions options;
  options.port = fixture.port();
  options.models_dir = fixture.file("other");
  olx::server::Server second(options);
  const std::string expected = "listen tcp 127.0.0.1:" + std::to_string(fixture.port()) + ": bind: address already in use";
  CHECK_THROWS_WITH(second.start(), expected);
}

TEST_CASE("Server_ReadsHostsAsOllamaDoes") {
  struct Row {
    const char* text;
    const char* scheme;
    const char* host;
    int port;
    const char* path;
  };
  const Row rows[] = {
      {"", "http", "127.0.0.1", 11434, ""},
      {"1.2.3.4", "http", "1.2.3.4", 11434, ""},
      {"1.2.3.4:5", "http", "1.2.3.4", 5, ""},
      {":8080", "http", "", 8080, ""},
      {"http://example.com", "http", "example.com", 80, ""},
      {"https://example.com", "https", "example.com", 443, ""},
      {"https://example.com:99/a/b", "https", "example.com", 99, "/a/b"},
      {"[::1]", "http", "::1", 11434, ""},
      {"[::1]:7", "http", "::1", 7, ""},
      {"::1", "http", "::1", 11434, ""},
      {"localhost:66000", "http", "localhost", 11434, ""},
      {"localhost:x", "http", "localhost", 11434, ""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto address = parse_host(row.text);
    CHECK(address.scheme == row.scheme);
    CHECK(address.host == row.host);
    CHECK(address.port == row.port);
    CHECK(address.path_prefix == row.path);
  }
}
