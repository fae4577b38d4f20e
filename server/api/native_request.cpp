#include "server/api/native_request.h"

#include <boost/json.hpp>

#include "server/http/api_error.h"

namespace olx::server {

NativeRequest::NativeRequest(const Fields& given) {
  fields["model"] = given.text("model").value_or("");
  fields["stream"] = given.boolean("stream").value_or(false);
  if (const boost::json::value* keep_alive = given.find("keep_alive")) fields["keep_alive"] = *keep_alive;
  if (const boost::json::object* own = given.object("options")) options = *own;
}

void NativeRequest::copy_number(const Fields& given, std::string_view name, std::string_view option) {
  const boost::json::value* value = given.find(name);
  if (value == nullptr) return;
  if (!value->is_number()) throw ApiError(400, "'" + std::string(name) + "' must be a number");
  options[option] = *value;
}

void NativeRequest::copy_integer(const Fields& given, std::string_view name, std::string_view option) {
  if (const auto value = given.integer(name)) options[option] = *value;
}

boost::json::object NativeRequest::joined() && {
  fields["options"] = std::move(options);
  return std::move(fields);
}

void ToolNames::add(const std::vector<engine::ToolCall>& calls) {
  for (const engine::ToolCall& call : calls) by_id_[call.id] = call.name;
}

std::string ToolNames::of(const std::string& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? "" : found->second;
}

}  // namespace olx::server
