#include "server/worker/sandbox.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace olx::server {
namespace {

// Landlock's interface, from Documentation/userspace-api/landlock.rst of Linux; the machine that
// builds may have headers older than the kernel that runs.
struct LandlockRuleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;  // since version 4
  uint64_t scoped;              // since version 6
};
constexpr long kLandlockCreateRuleset = 444,
               kLandlockRestrictSelf = 446;  // the same number on every architecture
constexpr uint32_t kLandlockVersion = 1;     // a flag: only ask

// Every right that a version can refuse: bits 0 to n.
uint64_t all_file_rights(long version) {
  const int n_bits = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
  return (uint64_t{1} << n_bits) - 1;
}

bool drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capset, &header, none) == 0;
}

}  // namespace

bool forbid_paths() {
  const long version = ::syscall(kLandlockCreateRuleset, nullptr, size_t{0}, kLandlockVersion);
  if (version < 1) return false;
  LandlockRuleset ruleset{};
  ruleset.handled_access_fs = all_file_rights(version);
  if (version >= 4) ruleset.handled_access_net = 3;  // bind and connect of TCP
  if (version >= 6) ruleset.scoped = 3;              // abstract sockets and signals of others
  const size_t size_bytes = version >= 6 ? 24 : version >= 4 ? 16 : 8;
  const auto fd = static_cast<int>(::syscall(kLandlockCreateRuleset, &ruleset, size_bytes, 0u));
  if (fd < 0) return false;
  const bool is_in_force = ::syscall(kLandlockRestrictSelf, fd, 0u) == 0;
  ::close(fd);
  return is_in_force;
}

uint32_t enter_sandbox(bool has_driver) {
  uint32_t lacks = 0;
  const auto give_up = [&](bool is_done, SandboxLack lack) {
    if (!is_done) lacks |= lack;
  };
  const rlimit none{0, 0};
  give_up(::setrlimit(RLIMIT_CORE, &none) == 0 && ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0,
          kLacksCoreLimit);
  give_up(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, kLacksNoNewPrivileges);
  give_up(drop_capabilities(), kLacksCapabilityDrop);
  if (has_driver) return lacks;
  give_up(forbid_paths(), kLacksLandlock);
  give_up(forbid_system_calls(), kLacksSeccomp);
  return lacks;
}

std::string lack_text(uint32_t lacks) {
  constexpr std::pair<SandboxLack, const char*> kNames[] = {
      {kLacksCoreLimit, "a limit of core files"},
      {kLacksNoNewPrivileges, "no_new_privs"},
      {kLacksCapabilityDrop, "capabilities to drop"},
      {kLacksLandlock, "Landlock"},
      {kLacksSeccomp, "seccomp filters"}};
  std::string text;
  for (const auto& [lack, name] : kNames)
    if ((lacks & lack) != 0) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

}  // namespace olx::server
