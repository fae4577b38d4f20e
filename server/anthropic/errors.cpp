#include "server/anthropic/errors.h"

#include <boost/json.hpp>

#include "server/json/json.h"
#include "server/json/random_id.h"

namespace olx::server {
namespace {

// docs.anthropic.com/en/api/errors
const char* type_of(int status) {
  switch (status) {
    case 400: return "invalid_request_error";
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503:
    case 529: return "overloaded_error";
    default: return "api_error";
  }
}

}  // namespace

std::string anthropic_error(int status, std::string_view message, bool is_streamed) {
  const std::string body =
      go_json(boost::json::object{{"type", "error"},
                                  {"error", boost::json::object{{"type", type_of(status)}, {"message", message}}},
                                  {"request_id", random_id("req_")}});
  return is_streamed ? "event: error\ndata: " + body + "\n\n" : body;
}

}  // namespace olx::server
