#pragma once
// Registry: one repository of one registry, as pull and push speak to it: sends calls with a token where one is asked for,
// follows redirects within the rules, and turns answers that are errors into NetworkError. May be used by several threads,
// each with its own HttpClient.

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "server/registry/http_client.h"
#include "server/store/model_name.h"

namespace olx::server {

struct RegistryOptions {
  std::string user_agent = "ollamax";
  std::filesystem::path key_folder;  // ~/.ollama
  HttpClientOptions http;            // without is_cancelled
  int n_streams = 16;                // parts of one blob at a time
  uint64_t record_bytes = 64 << 10;  // what is journalled at a time: a kill can cost n_streams of it, and what connections have received
  uint64_t sync_bytes = 4 << 20;     // written and not synced yet when a sync begins; what the power can cost is twice as much, and a kill's
  uint64_t min_part_bytes = 4 << 20;  // of one request
  int retry_delay_ms = 500;          // before the second try; doubles with each
  int max_tries = 6;                 // in a row without a byte
};

inline constexpr int kMaxRedirects = 5;
inline constexpr int kMaxHostsOfAChain = 2;

class Registry {
 public:
  // Plain HTTP when is_insecure. NetworkError when the host of the name is none.
  Registry(const ModelName& name, bool is_insecure, const RegistryOptions& options);
  // A web server, for its files: it has no repository, and an address in place of a name ("[::1]:8080") is as good.
  Registry(const Url& server, const RegistryOptions& options);

  const RegistryOptions& options() const { return options_; }
  const ModelName& name() const { return name_; }
  const Url& base() const { return base_; }
  std::string repository() const { return name_.name_space() + "/" + name_.model(); }
  std::string path(const std::string& rest) const { return "/v2/" + repository() + "/" + rest; }
  HttpClientOptions http_options(std::function<bool()> is_cancelled) const;

  using Headers = std::vector<std::pair<std::string, std::string>>;
  // `target`: a path, or an address within this registry that it gave. The reply's body is still to be read.
  // NetworkError for a status of 400 and above, in Ollama's words.
  HttpReply send(HttpClient& client, const std::string& method, const std::string& target, const Headers& headers = {},
                 const HttpBody* body = nullptr);
  // Waits before try number n (from 1), with some chance in it: so that many clients do not come back together.
  void back_off(const HttpClient& client, int n) const;

 private:
  HttpReply follow(HttpClient& client, HttpCall call);
  std::string token();
  void fetch_token(HttpClient& client, const std::string& challenge, const std::string& used);

  ModelName name_;
  RegistryOptions options_;
  Url base_;
  std::mutex mutex_;
  std::string token_;
  AddressKind kind_ = AddressKind::kPublic;  // of the network the registry is in, once it has been reached
};

// The start of a text from a registry, fit to be shown in one line.
std::string shown_text(std::string_view text);

}  // namespace olx::server
