// The description of the API and the table of routes say the same.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;

namespace {

using Operations = std::set<std::pair<std::string, std::string>>;  // path, method in small letters

// ":x" and "*x" of the table are "{x}" there.
std::string as_described(std::string path) {
  const size_t at = path.find_first_of(":*");
  if (at != std::string::npos) path = path.substr(0, at) + "{" + path.substr(at + 1) + "}";
  return path;
}

Operations in_table() {
  Operations operations;
  const auto add = [&](std::string method, const char* path) {
    std::transform(method.begin(), method.end(), method.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    operations.insert({as_described(path), method});
  };
#define OLX_ROUTE(method, path, body, handler) add(#method, path);
#include "server/api/routes.inc"
#undef OLX_ROUTE
  return operations;
}

// The keys of `paths`, two blanks deep, and those of each path, four deep.
Operations in_description(const std::string& yaml) {
  Operations operations;
  std::istringstream lines(yaml);
  bool is_inside = false;
  std::string path;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(' ')) is_inside = line == "paths:";
    if (!is_inside || !line.ends_with(':')) continue;
    const size_t depth = line.find_first_not_of(' ');
    const std::string key = line.substr(depth, line.size() - depth - 1);
    if (depth == 2) path = key;
    if (depth == 4) operations.insert({path, key});
  }
  return operations;
}

std::string listed(const Operations& all, const Operations& without) {
  std::string text;
  for (const auto& operation : all)
    if (!without.contains(operation)) text += operation.second + " " + operation.first + "\n";
  return text;
}

}  // namespace

TEST_CASE("OpenApi_DescribesEveryRouteAndNoOther") {
  ServerFixture fixture;
  const HttpAnswer answer = fixture.get("/openapi.yaml");
  CHECK(answer.status == 200);
  CHECK(answer.has_header("Content-Type: application/yaml"));
  CHECK(answer.body.starts_with("openapi: 3.0."));
  const Operations described = in_description(answer.body), table = in_table();
  CHECK(listed(table, described) == "");   // in routes.inc, not in openapi.yaml
  CHECK(listed(described, table) == "");   // the other way round
  CHECK(table.size() > 20);
}

TEST_CASE("OpenApi_RefersOnlyToWhatIsThere") {
  ServerFixture fixture;
  const std::string yaml = fixture.get("/openapi.yaml").body;
  constexpr std::string_view kSchema = "#/components/schemas/";
  size_t n = 0;
  for (size_t at = yaml.find(kSchema); at != std::string::npos; at = yaml.find(kSchema, at + 1), ++n) {
    const std::string name = yaml.substr(at + kSchema.size(), yaml.find('"', at) - at - kSchema.size());
    CAPTURE(name);
    CHECK(yaml.find("\n    " + name + ":") != std::string::npos);
  }
  CHECK(n > 10);
}
