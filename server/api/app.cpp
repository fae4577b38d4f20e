#include "server/api/app.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cerrno>
#include <ctime>
#include <system_error>

#include "engine/error.h"
#include "server/anthropic/errors.h"
#include "server/openai/errors.h"
#include "server/store/store_error.h"

namespace olx::server {
namespace {

enum class Body { kNoBody, kOpen, kSmallBody, kLargeBody, kUpload };

struct RouteRow {
  std::string_view method, path;
  Body body;
  void (*handler)(App&, Exchange&);
};

#define GET "GET"
#define POST "POST"
#define DELETE "DELETE"
constexpr RouteRow kRoutes[] = {
#define OLX_ROUTE(method, path, body, handler) {method, path, Body::body, handler},
#include "server/api/routes.inc"
#undef OLX_ROUTE
};
#undef GET
#undef POST
#undef DELETE

constexpr uint64_t kBodyBytes[] = {1 << 20, 1 << 20, 1 << 20, 64 << 20, 1ull << 40};

bool matches(std::string_view pattern, std::string_view path) {
  const size_t open = pattern.find_first_of(":*");
  if (open == std::string_view::npos) return pattern == path;
  return path.size() > open && path.starts_with(pattern.substr(0, open)) &&
         (pattern[open] == '*' || path.find('/', open) == std::string_view::npos);
}

// Nanoseconds without trailing zeros: ".12", or "" for none.
std::string fraction(std::chrono::system_clock::time_point time) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count() % 1'000'000'000;
  if (ns <= 0) return "";
  std::string text = fmt::format(".{:09}", ns);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

// What the store and the engine throw, as a status and a text.
void run_handler(void (*handler)(App&, Exchange&), App& app, Exchange& exchange) {
  try {
    handler(app, exchange);
  } catch (const StoreError& error) {
    using Kind = StoreError::Kind;
    const Kind kind = error.kind();
    const int status = kind == Kind::kInvalid ? 400 : kind == Kind::kNotFound ? 404 : kind == Kind::kTaken ? 409 : kind == Kind::kNoRoom ? 507 : 500;
    throw ApiError(status, error.what());
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::no_space_on_device || error.code().value() == EDQUOT) throw ApiError(507, "not enough space on the disk");
    throw;
  } catch (const engine::EngineError& error) {
    using Code = engine::ErrorCode;
    const bool is_callers = error.code() == Code::kInvalidRequest || error.code() == Code::kContextTooLong;
    throw ApiError(is_callers ? 400 : error.code() == Code::kCancelled ? 499 : 500, error.what());
  }
}

// Each protocol has errors of its own.
auto error_text_of(std::string_view path) -> decltype(Route::error_text) {
  if (path.starts_with("/v1/messages")) return anthropic_error;
  return path.starts_with("/v1/") ? openai_error : nullptr;
}

}  // namespace

Route find_route(App& app, std::string_view method, std::string_view path) {
  bool is_known = false;
  for (const RouteRow& row : kRoutes) {
    if (!matches(row.path, path)) continue;
    is_known = true;
    if (row.method != method && !(method == "HEAD" && row.method == "GET")) continue;
    return {200, "", kBodyBytes[static_cast<size_t>(row.body)], row.body == Body::kUpload,
            [&app, handler = row.handler](Exchange& exchange) { run_handler(handler, app, exchange); },
            error_text_of(path), row.path, row.body == Body::kOpen};
  }
  if (is_known) return {405, "405 method not allowed", 0, false, {}};
  if (path.size() > 1 && path.ends_with('/')) {
    const Route without = find_route(app, method, path.substr(0, path.size() - 1));
    if (without.status == 200) return {method == "GET" ? 301 : 307, std::string(path.substr(0, path.size() - 1)), 0, false, {}};
  }
  return {404, "404 page not found", 0, false, {}};
}

boost::json::value parse_body(const Exchange& exchange) {
  const std::string& body = exchange.request().body;
  if (body.empty()) throw ApiError(400, "missing request body");
  boost::json::value value = parse_json(body);
  if (value.is_null()) return boost::json::object();
  if (!value.is_object()) throw ApiError(400, "json: cannot unmarshal a value that is not an object into a request");
  return value;
}

void reply(Exchange& exchange, const boost::json::value& body, int status) {
  exchange.send(status, "application/json; charset=utf-8", go_json(body));
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}{}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), fraction(now));
}

std::string local_time(std::chrono::system_clock::time_point time) {
  const std::tm parts = fmt::localtime(std::chrono::system_clock::to_time_t(time));
  const long minutes = parts.tm_gmtoff / 60;
  const std::string offset = minutes == 0 ? "Z"
                                          : fmt::format("{}{:02}:{:02}", minutes < 0 ? '-' : '+', std::abs(minutes) / 60,
                                                        std::abs(minutes) % 60);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}{}{}", parts, fraction(time), offset);
}

boost::json::object details_json(const ModelDetails& details) {
  boost::json::value families = nullptr;
  if (!details.families.empty()) families = boost::json::array(details.families.begin(), details.families.end());
  return {{"parent_model", details.parent_model},     {"format", details.format},
          {"family", details.family},                 {"families", families},
          {"parameter_size", details.parameter_size}, {"quantization_level", details.quantization_level}};
}

std::chrono::system_clock::time_point from_unix_ns(int64_t ns) {
  return std::chrono::system_clock::time_point(std::chrono::nanoseconds(ns));
}

void handle_version(App& app, Exchange& exchange) {
  reply(exchange, boost::json::object{{"version", app.options.api_version}, {"ollamax", app.options.version}});
}

// Models of Ollama's cloud: there are none here, whatever the environment says.
void handle_status(App&, Exchange& exchange) {
  reply(exchange, boost::json::object{{"cloud", boost::json::object{{"disabled", true}, {"source", "none"}}}});
}

}  // namespace olx::server
