#include "server/openai/errors.h"

#include <boost/json.hpp>

#include "server/json/json.h"

namespace olx::server {

std::string openai_error(int status, std::string_view message, bool is_streamed) {
  const char* type = status == 400 ? "invalid_request_error" : status == 404 ? "not_found_error" : "api_error";
  const std::string body = go_json(boost::json::object{
      {"error", boost::json::object{{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}}}});
  return is_streamed ? "data: " + body + "\n\n" : body;
}

}  // namespace olx::server
