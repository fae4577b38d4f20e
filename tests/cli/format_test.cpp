#include "cli/format.h"

#include "tests/support/catch.h"

using namespace olx::cli;

TEST_CASE("Format_BytesAreDecimalWithOneFigureBelowTen") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(999) == "999 B");
  CHECK(human_bytes(1000) == "1 KB");
  CHECK(human_bytes(2'019'393'189) == "2.0 GB");
  CHECK(human_bytes(2'000'000'000) == "2 GB");
  CHECK(human_bytes(98'874'000) == "98 MB");
  CHECK(human_bytes(4'370'000'000'000) == "4.4 TB");
}

TEST_CASE("Format_DurationsAreWords") {
  CHECK(human_duration(0) == "Less than a second");
  CHECK(human_duration(1) == "1 second");
  CHECK(human_duration(59) == "59 seconds");
  CHECK(human_duration(60) == "About a minute");
  CHECK(human_duration(120) == "2 minutes");
  CHECK(human_duration(3600) == "About an hour");
  CHECK(human_duration(47 * 3600) == "47 hours");
  CHECK(human_duration(13 * 86400) == "13 days");
  CHECK(human_duration(21 * 86400) == "3 weeks");
  CHECK(human_duration(90 * 86400) == "3 months");
  CHECK(human_duration(800 * 86400) == "2 years");
}

TEST_CASE("Format_TimesKnowZonesPastFutureAndNever") {
  const int64_t now = 1'767'225'600;  // 2026-01-01T00:00:00Z
  CHECK(human_time("2025-12-31T23:58:00Z", now) == "2 minutes ago");
  CHECK(human_time("2026-01-01T00:58:00.123456789+01:00", now) == "2 minutes ago");
  CHECK(human_time("2026-01-01T00:04:00Z", now) == "4 minutes from now");
  CHECK(human_time("0001-01-01T00:00:00Z", now) == "Never");
  CHECK(human_time("2318-01-01T00:00:00Z", now) == "Forever");
  CHECK(human_time("rubbish", now) == "Never");
}

TEST_CASE("Format_TablesPadToTheWidestCell") {
  CHECK(table({"NAME", "SIZE"}, {}) == "NAME    SIZE \n");
  CHECK(table({"NAME", "SIZE"}, {{"a:latest", "2 GB"}}) == "NAME        SIZE \na:latest    2 GB    \n");
  CHECK(display_width("\xe4\xbd\xa0") == 2);
  CHECK(display_width("a\xff") == 2);
}
