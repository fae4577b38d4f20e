// The page at / as a client of HTTP sees it: who gets it, its types, its guards, its caching.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;

namespace {

constexpr std::string_view kBrowser =
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

HttpAnswer ask(const ServerFixture& fixture, std::string_view method, std::string_view path,
               const std::string& headers) {
  return http(fixture.port(), method, path, "", headers);
}

std::string header(const HttpAnswer& answer, const std::string& name) {
  const size_t at = answer.head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 4;
  return answer.head.substr(begin, answer.head.find("\r\n", begin) - begin);
}

// What src="…" and href="…" of the page name.
std::vector<std::string> files_of(const std::string& page) {
  std::vector<std::string> files;
  for (const std::string attribute : {" src=\"", " href=\""})
    for (size_t at = page.find(attribute); at != std::string::npos;
         at = page.find(attribute, at + 1)) {
      const size_t begin = at + attribute.size();
      const std::string file = page.substr(begin, page.find('"', begin) - begin);
      if (!file.starts_with('#')) files.push_back(file);  // not a place within the page
    }
  return files;
}

}  // namespace

TEST_CASE("Web_GivesThePageToABrowserAndOllamasLineToEveryoneElse") {
  ServerFixture fixture;
  const HttpAnswer page = ask(fixture, "GET", "/", std::string(kBrowser));
  CHECK(page.status == 200);
  CHECK(header(page, "Content-Type") == "text/html; charset=utf-8");
  CHECK(header(page, "Vary") == "Accept");
  CHECK(page.body.starts_with("<!doctype html>"));
  for (const char* accept :
       {"", "Accept: */*\r\n", "Accept: application/json\r\n", "Accept: text/plain\r\n"}) {
    INFO(accept);
    const HttpAnswer line = ask(fixture, "GET", "/", accept);
    CHECK(line.status == 200);
    CHECK(header(line, "Content-Type") == "text/plain; charset=utf-8");
    CHECK(header(line, "Vary") == "Accept");
    CHECK(line.body == "Ollama is running");
  }
  const HttpAnswer plain_head = ask(fixture, "HEAD", "/", "");
  CHECK(plain_head.status == 200);
  CHECK(header(plain_head, "Content-Type") == "text/plain; charset=utf-8");
  CHECK(header(plain_head, "Content-Length") == "17");
  const HttpAnswer page_head = ask(fixture, "HEAD", "/", std::string(kBrowser));
  CHECK(header(page_head, "Content-Length") == std::to_string(page.body.size()));
  CHECK(header(page_head, "ETag") == header(page, "ETag"));
}

TEST_CASE("Web_LetsNothingRunButItsOwnFiles") {
  ServerFixture fixture;
  const HttpAnswer page = ask(fixture, "GET", "/", std::string(kBrowser));
  const std::string policy = header(page, "Content-Security-Policy");
  for (const char* part : {"default-src 'none'", "script-src 'self'", "style-src 'self'",
                           "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'",
                           "form-action 'none'", "require-trusted-types-for 'script'"}) {
    INFO(part);
    CHECK(policy.find(part) != std::string::npos);
  }
  for (const char* hole : {"unsafe", "http", "*", "blob:"}) {
    INFO(hole);
    CHECK(policy.find(hole) == std::string::npos);
  }
  CHECK(header(page, "X-Content-Type-Options") == "nosniff");
  CHECK(header(page, "Referrer-Policy") == "no-referrer");
  // A script or a style within the page would be refused by its own policy.
  CHECK(page.body.find("<style") == std::string::npos);
  CHECK(page.body.find(" style=") == std::string::npos);
  for (const char* handler : {" onclick", " onload", " onerror", " onsubmit", "javascript:"})
    CHECK(page.body.find(handler) == std::string::npos);
  for (size_t at = page.body.find("<script"); at != std::string::npos;
       at = page.body.find("<script", at + 1))
    CHECK(page.body.substr(at, page.body.find('>', at) - at).find(" src=\"web/") !=
          std::string::npos);
}

TEST_CASE("Web_HasEveryFileThePageNames") {
  ServerFixture fixture;
  const std::vector<std::string> files =
      files_of(ask(fixture, "GET", "/", std::string(kBrowser)).body);
  CHECK(files.size() >= 4);
  for (const std::string& file : files) {
    INFO(file);
    REQUIRE(file.starts_with("web/"));  // relative, so that a prefix of a proxy stays in front
    const HttpAnswer answer = ask(fixture, "GET", "/" + file, "");
    CHECK(answer.status == 200);
    const std::string type = file.ends_with(".js")    ? "text/javascript; charset=utf-8"
                             : file.ends_with(".css") ? "text/css; charset=utf-8"
                                                      : "image/svg+xml";
    CHECK(header(answer, "Content-Type") == type);
    CHECK(header(answer, "X-Content-Type-Options") == "nosniff");
    CHECK(answer.body == file_bytes((source_dir() / "server" / file).string()));
  }
  // What the scripts import from one another.
  for (const char* script :
       {"app.js", "message.js", "settings.js", "api.js", "markdown.js", "storage.js"}) {
    const std::string text = ask(fixture, "GET", std::string("/web/") + script, "").body;
    for (size_t at = text.find(" from \"./"); at != std::string::npos;
         at = text.find(" from \"./", at + 1)) {
      const std::string name = text.substr(at + 9, text.find('"', at + 9) - at - 9);
      INFO(script << " imports " << name);
      CHECK(ask(fixture, "GET", "/web/" + name, "").status == 200);
    }
  }
}

TEST_CASE("Web_AnswersAnUnchangedCopyWith304") {
  ServerFixture fixture;
  for (const char* path : {"/", "/web/style.css"}) {
    INFO(path);
    const std::string etag = header(ask(fixture, "GET", path, std::string(kBrowser)), "ETag");
    REQUIRE(etag.size() == 34);
    const HttpAnswer same =
        ask(fixture, "GET", path, std::string(kBrowser) + "If-None-Match: " + etag + "\r\n");
    CHECK(same.status == 304);
    CHECK(same.body.empty());
    CHECK(header(same, "Content-Length") == "");
    CHECK(header(same, "ETag") == etag);
    CHECK(header(same, "Cache-Control") == "no-cache");
    CHECK(
        ask(fixture, "GET", path, std::string(kBrowser) + "If-None-Match: \"other\"\r\n").status ==
        200);
  }
  // The next answer on the same connection is whole, and none of the headers linger.
  HttpConnection connection(fixture.port());
  connection.send("GET /web/style.css HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n");
  CHECK(connection.read().status == 304);
  connection.send("GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const HttpAnswer next = connection.read();
  CHECK(next.status == 200);
  CHECK(header(next, "ETag") == "");
  CHECK(header(next, "Content-Security-Policy") == "");
}

TEST_CASE("Web_KnowsNoOtherFileAndOnlyGet") {
  ServerFixture fixture;
  for (const char* path :
       {"/web", "/web/", "/web/absent.js", "/web/index.html", "/web/../api/tags",
        "/web/%2e%2e/README.md", "/web/app.js/", "/web/App.js", "/web//app.js"}) {
    INFO(path);
    CHECK(ask(fixture, "GET", path, std::string(kBrowser)).status == 404);
  }
  CHECK(ask(fixture, "POST", "/web/app.js", "").status == 405);
  CHECK(ask(fixture, "POST", "/", "").status == 405);
  const HttpAnswer head = ask(fixture, "HEAD", "/web/app.js", "");
  CHECK(head.status == 200);
  CHECK(header(head, "Content-Length") != "0");
}

TEST_CASE("Web_IsOpenWhereTheApiWantsAKeyAndShutToForeignPages") {
  ServerFixture fixture(1, 64,
                        [](olx::server::ServerOptions& options) { options.api_keys = "secret"; });
  CHECK(ask(fixture, "GET", "/", std::string(kBrowser)).status == 200);
  CHECK(ask(fixture, "GET", "/", "").body == "Ollama is running");
  CHECK(ask(fixture, "GET", "/web/app.js", "").status == 200);
  CHECK(ask(fixture, "HEAD", "/web/app.js", "").status == 200);
  CHECK(ask(fixture, "GET", "/web/absent.js", "").status == 404);
  CHECK(ask(fixture, "POST", "/web/app.js", "").status == 401);
  CHECK(ask(fixture, "GET", "/api/tags", "").status == 401);
  CHECK(ask(fixture, "GET", "/openapi.yaml", "").status == 401);
  CHECK(ask(fixture, "GET", "/api/tags", "Authorization: Bearer secret\r\n").status == 200);
  CHECK(
      ask(fixture, "GET", "/", std::string(kBrowser) + "Origin: https://evil.example\r\n").status ==
      403);
  HttpConnection rebound(fixture.port());
  rebound.send("GET / HTTP/1.1\r\nHost: evil.example\r\n" + std::string(kBrowser) + "\r\n");
  CHECK(rebound.read().status == 403);
}
