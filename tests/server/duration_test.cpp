#include "server/json/duration.h"

#include "tests/support/catch.h"

using namespace olx::server;

TEST_CASE("Duration_GoDurationsPrintAsGoDoes") {
  CHECK(go_duration(0) == "0s");
  CHECK(go_duration(999) == "999ns");
  CHECK(go_duration(1'500) == "1.5\xc2\xb5s");
  CHECK(go_duration(12'500'000) == "12.5ms");
  CHECK(go_duration(1'234'567'000) == "1.234567s");
  CHECK(go_duration(62'500'000'000) == "1m2.5s");
  CHECK(go_duration(3'600'000'000'000) == "1h0m0s");
}

TEST_CASE("Duration_GoDurationsParse") {
  int64_t ns = 0;
  CHECK(parse_go_duration("5m", ns).empty());
  CHECK(ns == 300'000'000'000);
  CHECK(parse_go_duration("1h30m", ns).empty());
  CHECK(ns == 5'400'000'000'000);
  CHECK(parse_go_duration("-1.5s", ns).empty());
  CHECK(ns == -1'500'000'000);
  CHECK(parse_go_duration("0", ns).empty());
  for (const char* bad : {"", "5", "m", "5x", ".s", "1..5s", "99999999999h"}) CHECK_FALSE(parse_go_duration(bad, ns).empty());
  CHECK(parse_go_duration("300", ns) == "time: missing unit in duration \"300\"");
}
