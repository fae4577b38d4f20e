#pragma once
// OLX_CHECK: for conditions that only a mistake in this program can break. It prints and aborts.
// Never for input: files, requests and memory limits throw FormatError, EngineError or DeviceError.

#include <cstdio>
#include <cstdlib>

namespace olx {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace olx

#define OLX_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::olx::check_failed(#condition, __FILE__, __LINE__))
