#pragma once
// What misbehaving_kernel.cpp does when a step has so many tokens, or up to nine more, which those of other requests in the
// step may be: a test asks for it by the length of a prompt.

#include <cstdint>

namespace olx {

enum class Misdeed : int64_t {
  kSegfault = 20,
  kAbort = 30,
  kExit = 40,
  kHang = 50,
  kTryEverything = 60
};

}  // namespace olx
