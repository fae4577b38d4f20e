#include "server/registry/client.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <ctime>
#include <random>
#include <set>

#include "gguf/ascii.h"
#include "server/json/json.h"
#include "server/registry/auth.h"

namespace olx::server {
namespace {

using Kind = NetworkError::Kind;
constexpr size_t kMaxErrorBytes = 16 << 10, kMaxTokenBytes = 64 << 10;
constexpr size_t kMaxShownBytes = 500;
constexpr int kMaxBackOffMs = 30'000;

bool is_redirect(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

// Whether the same request goes to the other place. What is sent is sent there only where the answer says that it may be.
bool may_follow(const std::string& method, int status) {
  return method == "GET" || method == "HEAD" ? is_redirect(status) : status == 307 || status == 308;
}

// The text of a registry's error document, or the body itself.
std::string error_text(const std::string& body) {
  try {
    const boost::json::value value = parse_json(body);
    if (const auto* object = value.if_object()) {
      if (const auto* errors = object->if_contains("errors"); errors != nullptr && errors->is_array() && !errors->get_array().empty())
        if (const auto* first = errors->get_array()[0].if_object())
          if (const auto* message = first->if_contains("message"); message != nullptr && message->is_string())
            return std::string(message->get_string());
      if (const auto* error = object->if_contains("error"); error != nullptr && error->is_string()) return std::string(error->get_string());
    }
  } catch (const JsonError&) {  // a plain text or a page
  }
  return body;
}

}  // namespace

std::string shown_text(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxShownBytes)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

Registry::Registry(const ModelName& name, bool is_insecure, const RegistryOptions& options) : name_(name), options_(options) {
  const auto base = parse_url((is_insecure ? "http://" : "https://") + name.host());
  if (!base) throw NetworkError(Kind::kFatal, "'" + name.host() + "' is not the host of a registry");
  base_ = *base;
}

Registry::Registry(const Url& server, const RegistryOptions& options) : name_(*ModelName::parse("file")), options_(options), base_(server) {
  base_.target = "/";
}

HttpClientOptions Registry::http_options(std::function<bool()> is_cancelled) const {
  HttpClientOptions http = options_.http;
  http.is_cancelled = std::move(is_cancelled);
  return http;
}

std::string Registry::token() {
  const std::lock_guard lock(mutex_);
  return token_;
}

void Registry::back_off(const HttpClient& client, int n) const {
  thread_local std::minstd_rand random{std::random_device{}()};
  const int longest = std::min(kMaxBackOffMs, options_.retry_delay_ms << std::min(n, 10));
  client.sleep(std::uniform_int_distribution<int>(longest / 2, longest)(random));
}

HttpReply Registry::follow(HttpClient& client, HttpCall call) {
  std::set<std::string> hosts{call.url.host};
  std::string linked_etag;  // of the file behind a redirect: only the host that was asked knows its digest
  for (int n = 0;; ++n) {
    HttpReply reply = client.call(call);
    if (const std::string* etag = reply.header("X-Linked-ETag"); etag != nullptr && call.url.has_origin_of(base_)) linked_etag = *etag;
    if (call.url.has_origin_of(base_)) {
      const std::lock_guard lock(mutex_);
      kind_ = client.peer_kind();
    }
    const std::string* location = reply.header("Location");
    if (!may_follow(call.method, reply.status) || location == nullptr) {
      // Nobody else's word counts for it.
      std::erase_if(reply.headers, [](const auto& header) { return ascii::equal_ignoring_case(header.first, "X-Linked-ETag"); });
      if (!linked_etag.empty()) reply.headers.emplace_back("X-Linked-ETag", linked_etag);
      // An address without a host is of the host that answered, which need not be the registry's.
      for (auto& [header, value] : reply.headers)
        if (ascii::equal_ignoring_case(header, "Location") || ascii::equal_ignoring_case(header, "Docker-Upload-Location"))
          if (const auto whole = resolve_url(call.url, value)) value = whole->text();
      return reply;
    }
    if (n == kMaxRedirects)
      throw NetworkError(Kind::kFatal, "maximum redirects exceeded (" + std::to_string(kMaxRedirects) + ") for directURL");
    const auto next = resolve_url(call.url, *location);
    if (!next) throw NetworkError(Kind::kFatal, "the registry redirects to something that is no http address");
    if (call.url.is_tls() && !next->is_tls()) throw NetworkError(Kind::kFatal, "the registry redirects from https to http");
    hosts.insert(next->host);
    if (hosts.size() > kMaxHostsOfAChain) throw NetworkError(Kind::kFatal, "the registry redirects over more than two hosts");
    if (!call.led_by && !next->has_origin_of(call.url)) call.led_by = client.peer_kind();
    // The token is for the registry and nobody else.
    if (!next->has_origin_of(base_)) std::erase_if(call.headers, [](const auto& header) { return header.first == "Authorization"; });
    try {
      client.read_all(kMaxErrorBytes);
    } catch (const NetworkError& error) {  // a page too long to be read: the next call makes a new connection
      if (error.kind() == Kind::kCancelled) throw;
    }
    call.url = *next;
  }
}

HttpReply Registry::send(HttpClient& client, const std::string& method, const std::string& target, const Headers& headers,
                         const HttpBody* body) {
  const auto url = resolve_url(base_, target);
  if (!url) throw NetworkError(Kind::kFatal, "the registry gave an address that is none");
  const bool is_own = url->has_origin_of(base_);
  if (base_.is_tls() && !url->is_tls()) throw NetworkError(Kind::kFatal, "the registry leads from https to http");
  for (bool is_second = false;; is_second = true) {
    HttpCall call{method, *url, {{"User-Agent", options_.user_agent}}, body, std::nullopt};
    if (!is_own) {  // an upload's address, which the registry gave
      const std::lock_guard lock(mutex_);
      call.led_by = kind_;
    }
    call.headers.insert(call.headers.end(), headers.begin(), headers.end());
    const std::string used = is_own ? token() : "";
    if (!used.empty()) call.headers.emplace_back("Authorization", "Bearer " + used);
    HttpReply reply = follow(client, std::move(call));
    if (reply.status < 300) return reply;
    if (reply.status < 400) {
      client.close();
      throw NetworkError(Kind::kFatal, "unexpected status code " + std::to_string(reply.status), reply.status);
    }
    const std::string* challenge = reply.header("WWW-Authenticate");
    const std::string text = method == "HEAD" ? "" : shown_text(error_text(client.read_all(kMaxErrorBytes)));
    if (reply.status == 401 && !is_second && challenge != nullptr && is_own) {
      fetch_token(client, *challenge, used);
      continue;
    }
    if (reply.status == 401) throw NetworkError(Kind::kFatal, "unauthorized: access denied", 401);
    if (reply.status == 404) throw NetworkError(Kind::kFatal, "file does not exist", 404);
    const bool may_pass = reply.status >= 500 || reply.status == 429 || reply.status == 408;
    throw NetworkError(may_pass ? Kind::kRetry : Kind::kFatal, std::to_string(reply.status) + ": " + text, reply.status);
  }
}

void Registry::fetch_token(HttpClient& client, const std::string& header, const std::string& used) {
  const std::lock_guard lock(mutex_);
  if (token_ != used) return;  // another thread has just done it
  const auto challenge = parse_challenge(header);
  if (!challenge) throw NetworkError(Kind::kFatal, "unauthorized: the registry asks for a way to sign in that is not supported", 401);
  HttpCall call{"GET", token_url(*challenge, base_, random_nonce(), std::time(nullptr)), {{"User-Agent", options_.user_agent}}, nullptr, std::nullopt};
  const IdentityKey key = IdentityKey::load_or_create(options_.key_folder);
  call.headers.emplace_back("Authorization", key.authorization("GET", call.url.text()));
  const HttpReply reply = client.call(call);  // no redirect is followed with a signature
  const std::string text = client.read_all(kMaxTokenBytes);
  if (reply.status >= 500) throw NetworkError(Kind::kRetry, "token: " + std::to_string(reply.status) + ": " + shown_text(text), reply.status);
  if (reply.status != 200) throw NetworkError(Kind::kFatal, "unauthorized: access denied", 401);
  std::string token;
  try {
    const boost::json::value value = parse_json(text);
    if (const auto* object = value.if_object()) {
      const Fields fields(*object, "Token");
      token = fields.text("token").value_or("");
      if (token.empty()) token = fields.text("access_token").value_or("");
    }
  } catch (const JsonError&) {  // said below
  }
  const bool is_plain = std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (token.empty() || !is_plain) throw NetworkError(Kind::kFatal, "the registry's answer holds no token");
  token_ = token;
}

}  // namespace olx::server
