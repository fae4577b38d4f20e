#pragma once
// Files of the source tree that are part of the program. Their bytes are made into a source file by olx_embed (see
// server/CMakeLists.txt); who adds a file there declares it here as k_<file_name>, other characters as "_".
#include <string_view>

namespace olx::server {

extern const std::string_view k_openapi_yaml;  // server/api/openapi.yaml

// server/web/
extern const std::string_view k_index_html, k_style_css, k_icon_svg;
extern const std::string_view k_api_js, k_app_js, k_chat_js, k_dom_js, k_markdown_js, k_message_js, k_settings_js, k_storage_js, k_theme_js;

}  // namespace olx::server
