#pragma once
// How a thread best reads weights that come from memory once.

namespace olx::kernels::cpu {

// Whether this processor gains where chunks (panel.h) of several panels are asked for at once, right before they are used: Intel's,
// which fetch ahead by themselves within a page of 4 KiB. Granite Rapids, one token, two threads that read 30 to 31 GB/s at most:
// Q4_K 24.7 -> 28.5 GB/s, Q6_K 23.3 -> 29.5, Q8_0 28.9 -> 31.0, Q3_K 17.4 -> 28.1; one panel of Q4_K fetched elsewhere than a chunk ahead
// (64 to 13824 bytes) 17.5 to 27. Zen 5 does not: one panel fetched a chunk ahead 47 to 49 GB/s, two panels 41 to 45.
extern const bool kMemoryPrefersStreams;

namespace {

// What the Lanes (panel_dot.h) of an instruction set say that reads one panel at a time everywhere.
struct OneStream {
  static constexpr int kStreams = 1;
  static constexpr bool prefers_streams() { return false; }
};

}  // namespace
}  // namespace olx::kernels::cpu
