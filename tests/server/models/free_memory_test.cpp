#include "server/models/free_memory.h"

#include "tests/support/catch.h"

using namespace olx::server;

TEST_CASE("FreeMemory_ReadsMeminfo") {
  CHECK(available_in_meminfo("MemTotal:       8000 kB\nMemFree: 1 kB\nMemAvailable:   4096 kB\nX: 1 kB\n") == 4096 * 1024);
  CHECK(available_in_meminfo("MemAvailable: 7 kB") == 7 * 1024);
  for (const char* text : {"", "MemFree: 1 kB\n", "MemAvailable:\n", "MemAvailable:", "MemAvailable: x\n", "XMemAvailable: 1 kB\n",
                           "MemAvailable: 99999999999999999999 kB\n", "MemAvailable: 18446744073709551615 kB\n"})
    CHECK(available_in_meminfo(text) == UINT64_MAX);
}

TEST_CASE("FreeMemory_ReadsTheLimitOfAGroup") {
  CHECK(left_in_group("1000\n", "400\n", "anon 300\ninactive_file 100\n") == 700);
  CHECK(left_in_group("1000\n", "400\n", "") == 600);
  CHECK(left_in_group("1000\n", "1000\n", "inactive_file 0\n") == 0);
  CHECK(left_in_group("1000\n", "2000\n", "inactive_file 5000\n") == 1000);  // never more than the limit
  CHECK(left_in_group("1000\n", "3000\n", "") == 0);
  CHECK(left_in_group("max\n", "400\n", "") == UINT64_MAX);
  CHECK(left_in_group("", "", "") == UINT64_MAX);
}

TEST_CASE("FreeMemory_OfThisSystemIsSome") { CHECK(system_free_memory() > 0); }
