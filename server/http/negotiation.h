#pragma once
// What a client asks for in Accept and If-None-Match. Used by handlers that give more than one form of an answer, or 304.
// Pure functions; no header of these can make them fail.

#include <string_view>

namespace olx::server {

// Whether an Accept header names text/html itself (a wildcard is not enough), and likes it no less than text/plain.
bool prefers_html(std::string_view accept);

// Whether an If-None-Match header holds `etag`, given with its quotes, or "*".
bool has_etag(std::string_view if_none_match, std::string_view etag);

}  // namespace olx::server
