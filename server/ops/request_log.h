#pragma once
// One line of log per answered request, as key=value pairs. Never a word of a prompt or an answer: the path is without its
// query. Used by server.cpp.

#include <string>

#include "server/http/http_server.h"

namespace olx::server {

// Without a line end. `time`: as the line shall show it.
std::string log_line(const AnsweredRequest& answered, std::string_view time);

}  // namespace olx::server
