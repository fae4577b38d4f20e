#pragma once
// Files of the source tree that are part of the program. Their bytes are made into a source file by olx_embed (see
// server/CMakeLists.txt); who adds a file there declares it here as k_<file_name>, other characters as "_".
#include <string_view>

namespace olx::server {

extern const std::string_view k_openapi_yaml;  // server/api/openapi.yaml

}  // namespace olx::server
