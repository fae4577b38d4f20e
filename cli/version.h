#pragma once
// The version of this program, as --version and the API say it. Set by the build.

#ifndef OLLAMAX_VERSION
#error "cli/CMakeLists.txt defines OLLAMAX_VERSION"
#endif

namespace olx::cli {

inline constexpr char kVersion[] = OLLAMAX_VERSION;

}  // namespace olx::cli
