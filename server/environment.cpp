// ServerOptions from OLLAMA_* variables, read as Ollama reads them: spaces and quotes trimmed, a bad value means the default.
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "server/json/duration.h"
#include "server/server.h"

namespace olx::server {
namespace {

std::string variable(const char* name) {
  const char* set = std::getenv(name);
  std::string text = set == nullptr ? "" : set;
  for (const char* outer : {" \t\r\n", "\"'"}) {
    text.erase(0, text.find_first_not_of(outer));
    text.erase(text.find_last_not_of(outer) + 1);
  }
  return text;
}

// 0 means "you choose", but where it is a value as any other.
int number(const char* name, int otherwise, int lowest, int highest) {
  const std::string text = variable(name);
  if (text.empty()) return otherwise;
  const bool is_number = text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
  const int value = is_number ? std::stoi(text) : -1;
  if (is_number && value == 0 && lowest > 0) return otherwise;
  if (is_number && value >= lowest && value <= highest) return value;
  std::cerr << "warning: " << name << ": expected a number from " << lowest << " to " << highest << ", got '" << text << "'; using "
            << otherwise << "\n";
  return otherwise;
}

uint64_t bytes(const char* name) {
  const std::string text = variable(name);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  if (!text.empty()) std::cerr << "warning: " << name << ": expected a number of bytes, got '" << text << "'; using 0\n";
  return 0;
}

// Go's ParseBool; other text that is not empty counts as true.
bool flag(const char* name) {
  const std::string text = variable(name);
  for (const char* no : {"", "0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return true;
}

// A switch of this program's own, on where nothing says no.
bool is_on(const char* name) {
  const std::string text = variable(name);
  return text.empty() || (flag(name) && text != "off" && text != "no");
}

// Seconds or a Go duration; negative is for ever.
int64_t keep_alive(const char* name, int64_t otherwise) {
  const std::string text = variable(name);
  if (text.empty()) return otherwise;
  char* end = nullptr;
  const long long seconds = std::strtoll(text.c_str(), &end, 10);
  if (*end == '\0') return seconds < 0 ? -1 : std::min<int64_t>(seconds, INT64_MAX / 1'000'000'000) * 1'000'000'000;
  int64_t nanoseconds = 0;
  if (!parse_go_duration(text, nanoseconds).empty()) return otherwise;
  return nanoseconds < 0 ? -1 : nanoseconds;
}

}  // namespace

HostAddress parse_host(std::string_view given) {
  HostAddress address;
  std::string text(given);
  if (const size_t scheme_end = text.find("://"); scheme_end != std::string::npos) {
    address.scheme = text.substr(0, scheme_end);
    if (address.scheme == "http") address.port = 80;
    if (address.scheme == "https") address.port = 443;
    text.erase(0, scheme_end + 3);
  }
  if (const size_t slash = text.find('/'); slash != std::string::npos) {
    address.path_prefix = text.substr(slash);
    while (address.path_prefix.ends_with('/')) address.path_prefix.pop_back();
    text.erase(slash);
  }
  // "[v6]:port", "[v6]", "host:port", "host", ":port"; more than one colon without brackets is a bare IPv6 address.
  std::string port;
  bool is_empty_host = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end != std::string::npos && end + 1 < text.size() && text[end + 1] == ':') port = text.substr(end + 2);
    text = text.substr(1, end == std::string::npos ? end : end - 1);
  } else if (const size_t colon = text.find(':'); colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
    port = text.substr(colon + 1);
    text.erase(colon);
    is_empty_host = text.empty();
  }
  if (!text.empty()) address.host = text;
  if (is_empty_host) address.host = "";
  const bool is_number = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && std::stoi(port) <= 65'535) address.port = static_cast<uint16_t>(std::stoi(port));
  return address;
}

HostAddress host_from_environment() { return parse_host(variable("OLLAMA_HOST")); }

ServerOptions ServerOptions::from_environment() {
  ServerOptions options;
  const HostAddress address = host_from_environment();
  options.host = address.host;
  options.port = address.port;
  options.models_dir = variable("OLLAMA_MODELS");
  if (options.models_dir.empty()) {
    const char* home = std::getenv("HOME");
    options.models_dir = std::string(home == nullptr ? "/root" : home) + "/.ollama/models";
  }
  options.origins = variable("OLLAMA_ORIGINS");
  options.keep_alive_ns = keep_alive("OLLAMA_KEEP_ALIVE", options.keep_alive_ns);
  options.n_ctx = number("OLLAMA_CONTEXT_LENGTH", options.n_ctx, 4, 1 << 24);
  options.n_parallel = number("OLLAMA_NUM_PARALLEL", options.n_parallel, 1, 256);
  options.max_loaded_models = number("OLLAMA_MAX_LOADED_MODELS", options.max_loaded_models, 1, 1000);
  options.max_queue = number("OLLAMA_MAX_QUEUE", options.max_queue, 1, 1'000'000);
  if (const std::string type = variable("OLLAMA_KV_CACHE_TYPE"); !type.empty()) options.kv_cache_type = type;
  const std::string device = variable("OLLAMAX_DEVICE");
  options.device = device.empty() ? "auto" : device;
  options.gpu_overhead_bytes = bytes("OLLAMA_GPU_OVERHEAD");
  if (const std::string speculate = variable("OLLAMAX_SPECULATE"); speculate == "always") options.speculate = ServerOptions::Speculate::kAlways;
  else if (!is_on("OLLAMAX_SPECULATE")) options.speculate = ServerOptions::Speculate::kOff;
  options.draft = variable("OLLAMAX_DRAFT");
  options.api_keys = variable("OLLAMAX_API_KEYS");
  options.hosts = variable("OLLAMAX_HOSTS");
  options.registries = variable("OLLAMAX_REGISTRIES");
  const auto mib = [](const char* name, uint64_t otherwise, int lowest) {
    return static_cast<uint64_t>(number(name, static_cast<int>(otherwise >> 20), lowest, 999'999'999)) << 20;
  };
  options.spare_disk_bytes = mib("OLLAMAX_SPARE_DISK_MIB", options.spare_disk_bytes, 0);
  options.max_blob_bytes = mib("OLLAMAX_MAX_BLOB_MIB", options.max_blob_bytes, 1);
  options.registry_stall_ms = number("OLLAMAX_REGISTRY_STALL_MS", options.registry_stall_ms, 100, 3'600'000);
  options.registry_retry_ms = number("OLLAMAX_REGISTRY_RETRY_MS", options.registry_retry_ms, 1, 60'000);
  options.isolates = is_on("OLLAMAX_ISOLATE");
  options.worker_stall_ms = number("OLLAMAX_WORKER_STALL_MS", options.worker_stall_ms, 100, 86'400'000);
  options.prunes = !flag("OLLAMA_NOPRUNE");
  if (const std::string version = variable("OLLAMAX_API_VERSION"); !version.empty()) {
    if (version.find_first_not_of("0123456789.") == std::string::npos) options.api_version = version;
    else std::cerr << "warning: OLLAMAX_API_VERSION: expected digits and dots, got '" << version << "'\n";
  }
  return options;
}

}  // namespace olx::server
