#pragma once
// One breath of a waiting loop: tells the core (and the hypervisor) that nothing is being computed.

namespace olx::kernels::cpu {

inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace olx::kernels::cpu
