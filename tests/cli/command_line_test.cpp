#include "cli/command_line.h"

#include <cstdlib>

#include "cli/commands.h"
#include "tests/support/catch.h"

using namespace olx::cli;

namespace {

struct Parsed {
  bool verbose = false;
  std::optional<std::string> keep_alive, think;
  std::vector<std::string> args;
};

Parsed parse(const std::vector<std::string>& words, int min = 1, int max = -1) {
  Parsed parsed;
  CommandLine line("run", "MODEL [PROMPT]", "Run a model");
  line.flag("--verbose", parsed.verbose, "");
  line.value("--keepalive", parsed.keep_alive, "");
  line.optional_value("--think", parsed.think, "true", "");
  line.arguments(min, max);
  line.parse(words);
  parsed.args = line.args();
  return parsed;
}

HostAddress host(const char* value) {
  ::setenv("OLLAMA_HOST", value, 1);
  const HostAddress address = host_from_environment();
  ::unsetenv("OLLAMA_HOST");
  return address;
}

}  // namespace

TEST_CASE("CommandLine_FlagsMayStandAnywhere") {
  const Parsed parsed = parse({"m", "--verbose", "why", "--keepalive", "5m"});
  CHECK(parsed.verbose);
  CHECK(parsed.keep_alive == "5m");
  CHECK(parsed.args == std::vector<std::string>{"m", "why"});
}

TEST_CASE("CommandLine_BareThinkDoesNotSwallowThePrompt") {
  CHECK(parse({"m", "--think", "why"}).args == std::vector<std::string>{"m", "why"});
  CHECK(parse({"m", "--think", "why"}).think == "true");
  CHECK(parse({"m", "--think=high"}).think == "high");
  CHECK_FALSE(parse({"m"}).think.has_value());
}

TEST_CASE("CommandLine_ErrorsReadAsUsersKnowThem") {
  CHECK_THROWS_WITH(parse({"m", "--nope"}), "unknown flag: --nope");
  CHECK_THROWS_WITH(parse({"m", "-z"}), "unknown shorthand flag: 'z' in -z");
  CHECK_THROWS_WITH(parse({}), "requires at least 1 arg(s), only received 0");
  CHECK_THROWS_WITH(parse({"a", "b"}, 1, 1), "accepts 1 arg(s), received 2");
}

TEST_CASE("CommandLine_AfterTwoDashesNothingIsAFlag") {
  CHECK(parse({"m", "--", "-x", "--verbose"}).args == std::vector<std::string>{"m", "-x", "--verbose"});
}

TEST_CASE("Host_EveryFormOfOllamaHost") {
  CHECK(host("").host == "127.0.0.1");
  CHECK(host("").port == "11434");
  CHECK(host("example.org").host == "example.org");
  CHECK(host("1.2.3.4:99").port == "99");
  CHECK(host(":8080").port == "8080");
  CHECK(host(":8080").host == "127.0.0.1");
  CHECK(host("http://1.2.3.4").port == "80");
  CHECK(host("http://h:1/prefix/").path_prefix == "/prefix");
  CHECK(host("[::1]:5").host == "::1");
  CHECK(host("[::1]:5").port == "5");
  CHECK(host("::1").host == "::1");
  CHECK(host("0.0.0.0").host == "127.0.0.1");
  CHECK(host("h:70000").port == "11434");
  CHECK(host(" \"h:12\" ").port == "12");
}
