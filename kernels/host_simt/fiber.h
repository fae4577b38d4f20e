#pragma once
// A function on a stack of its own, which runs when it is resumed and stands still when it suspends
// itself. Used by block.h; sanitizers are told about every change of stack.

#include <cstddef>
#include <memory>

namespace olx::kernels::host_simt {

class Fiber {
 public:
  // body(context) starts at the first resume() and must return before the fiber is destroyed, or
  // never have started. Throws DeviceError when there is no memory for a stack.
  Fiber(void (*body)(void* context), void* context);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();  // from outside: until the fiber suspends itself or its body returns. No exception
                  // may leave body
  void suspend();  // from inside

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::kernels::host_simt
