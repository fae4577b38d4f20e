// Accept and If-None-Match.
#include "server/http/negotiation.h"

#include <string>

#include "tests/support/catch.h"

using namespace olx::server;

TEST_CASE("Accept_GivesThePageOnlyToWhoAsksForHtml") {
  for (const char* browser :
       {"text/html", "TEXT/HTML", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html; charset=utf-8", "*/*, text/html ;q=0.001", "text/html;q=0.5, text/plain;q=0.5",
        "text/plain;q=0, text/html;q=0.1", "text/html;q=nonsense", "text/html;level=1;q=1.000"}) {
    INFO(browser);
    CHECK(prefers_html(browser));
  }
  for (const char* program :
       {"", "*/*", "text/*", "application/json", "text/plain", "text/html;q=0",
        "text/html; q=0.000", "text/plain, text/html;q=0.9", "text/htmlx", "x-text/html", ",;,=;q",
        "application/json;v=text/html"}) {
    INFO(program);
    CHECK_FALSE(prefers_html(program));
  }
}

TEST_CASE("Accept_OfTheGreatestLengthIsReadInTimeThatGrowsWithIt") {
  std::string accept;
  while (accept.size() < (8 << 10)) accept += ",;q=;";
  CHECK_FALSE(prefers_html(accept));
  CHECK(prefers_html(accept + ",text/html"));
}

TEST_CASE("IfNoneMatch_FindsTheTag") {
  for (const char* same :
       {"\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\" , \"y\"", "*"}) {
    INFO(same);
    CHECK(has_etag(same, "\"abc\""));
  }
  for (const char* other : {"", "abc", "\"abcd\"", "\"ab\"", "W/", "\"x\", \"y\"", ",,,"}) {
    INFO(other);
    CHECK_FALSE(has_etag(other, "\"abc\""));
  }
}
