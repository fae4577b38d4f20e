#include "kernels/host_simt/fiber.h"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <new>

#include "kernels/api/backend.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace olx::kernels::host_simt {
namespace {

// Kernels keep a few hundred bytes; sanitizers multiply that. Only what is touched is memory.
constexpr size_t kStackBytes = 256 << 10;

// What sanitizers know of the two stacks between which a fiber changes.
#if defined(__SANITIZE_ADDRESS__)
struct Stacks {
  void* fake_outside = nullptr;
  void* fake_inside = nullptr;
  const void* outside = nullptr;
  size_t outside_bytes = 0;
  const void* inside = nullptr;  // its lowest address
  size_t inside_bytes = 0;
  void before_resume() { __sanitizer_start_switch_fiber(&fake_outside, inside, inside_bytes); }
  void after_resume() { __sanitizer_finish_switch_fiber(fake_outside, nullptr, nullptr); }
  void entered() { __sanitizer_finish_switch_fiber(nullptr, &outside, &outside_bytes); }
  void before_suspend() { __sanitizer_start_switch_fiber(&fake_inside, outside, outside_bytes); }
  void after_suspend() { __sanitizer_finish_switch_fiber(fake_inside, &outside, &outside_bytes); }
  void before_end() { __sanitizer_start_switch_fiber(nullptr, outside, outside_bytes); }
};
#elif defined(__SANITIZE_THREAD__)
struct Stacks {
  void* inside_fiber = __tsan_create_fiber(0);
  void* outside_fiber = nullptr;
  const void* inside = nullptr;
  size_t inside_bytes = 0;
  ~Stacks() { __tsan_destroy_fiber(inside_fiber); }
  void before_resume() {
    outside_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(inside_fiber, 0);
  }
  void after_resume() {}
  void entered() {}
  void before_suspend() { __tsan_switch_to_fiber(outside_fiber, 0); }
  void after_suspend() {}
  void before_end() { before_suspend(); }
};
#else
struct Stacks {
  const void* inside = nullptr;
  size_t inside_bytes = 0;
  void before_resume() {}
  void after_resume() {}
  void entered() {}
  void before_suspend() {}
  void after_suspend() {}
  void before_end() {}
};
#endif

}  // namespace

struct Fiber::Impl {
  void (*body)(void*) = nullptr;
  void* context = nullptr;
  boost::context::fiber inside;   // while it stands still
  boost::context::fiber outside;  // while it runs
  Stacks stacks;
};

Fiber::Fiber(void (*body)(void* context), void* context) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.body = body;
  impl.context = context;
  try {
    boost::context::protected_fixedsize_stack allocator(kStackBytes);
    const boost::context::stack_context stack = allocator.allocate();
    impl.stacks.inside = static_cast<const char*>(stack.sp) - stack.size;
    impl.stacks.inside_bytes = stack.size;
    impl.inside = boost::context::fiber(std::allocator_arg,
                                        boost::context::preallocated(stack.sp, stack.size, stack),
                                        allocator, [&impl](boost::context::fiber&& outside) {
                                          impl.outside = std::move(outside);
                                          impl.stacks.entered();
                                          impl.body(impl.context);
                                          impl.stacks.before_end();
                                          return std::move(impl.outside);
                                        });
  } catch (const std::bad_alloc&) {
    throw DeviceError("host_simt: no memory for the stack of a lane");
  }
}

Fiber::~Fiber() = default;

void Fiber::resume() {
  Impl& impl = *impl_;
  impl.stacks.before_resume();
  impl.inside = std::move(impl.inside).resume();
  impl.stacks.after_resume();
}

void Fiber::suspend() {
  Impl& impl = *impl_;
  impl.stacks.before_suspend();
  impl.outside = std::move(impl.outside).resume();
  impl.stacks.after_suspend();
}

}  // namespace olx::kernels::host_simt
