#include "tests/support/registry_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>

#include "server/store/digest.h"
#include "server/store/manifest.h"
#include "tests/support/socket_text.h"

namespace olx::tests {
namespace {

constexpr int kWorkers = 8;

std::string lowered(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string digest_of(const std::string& bytes) { return server::sha256_of(bytes).text(); }

}  // namespace

struct RegistryServer::Request {
  std::string method, path, query;
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
  std::string parameter(const std::string& name) const {
    for (size_t at = 0; at < query.size();) {
      const size_t end = std::min(query.find('&', at), query.size());
      const std::string pair = query.substr(at, end - at);
      if (pair.starts_with(name + "=")) return unescaped(pair.substr(name.size() + 1));
      at = end + 1;
    }
    return "";
  }
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct RegistryServer::Reply {
  int status = 404;
  std::string headers;  // whole lines
  std::string body;
  bool is_blob = false;
};

RegistryServer::RegistryServer() {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || ::bind(listener_, generic, size) != 0 || ::listen(listener_, 128) != 0 || ::getsockname(listener_, generic, &size) != 0)
    throw std::runtime_error("no port on loopback for the registry of the test");
  host_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  for (int i = 0; i < kWorkers; ++i) workers_.emplace_back([this] { serve_until_stopped(); });
}

RegistryServer::~RegistryServer() {
  is_stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& worker : workers_) worker.join();
  ::close(listener_);
}

void RegistryServer::add_blob(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  now_.blobs[digest_of(bytes)] = bytes;
}

void RegistryServer::add_manifest(const std::string& path, const std::string& text) {
  const std::lock_guard lock(mutex_);
  now_.manifests[path] = text;
}

std::string RegistryServer::manifest(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto found = now_.manifests.find(path);
  return found == now_.manifests.end() ? "" : found->second;
}

void RegistryServer::keep() {
  const std::lock_guard lock(mutex_);
  kept_ = now_;
}

void RegistryServer::reset() {
  while (n_busy_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // with what a killed client had sent
  const std::lock_guard lock(mutex_);
  now_ = kept_;
  n_blob_bytes_sent_ = 0;
}

std::string RegistryServer::complaint() const {
  const std::lock_guard lock(mutex_);
  for (const auto& [path, text] : now_.manifests) {
    const server::Manifest manifest = server::parse_manifest(text);
    std::vector<server::Layer> layers = manifest.layers;
    layers.push_back(manifest.config);
    for (const server::Layer& layer : layers)
      if (!now_.blobs.contains(layer.digest.text())) return path + " names " + layer.digest.text() + ", which was not sent";
  }
  return "";
}

void RegistryServer::serve_until_stopped() {
  while (!is_stopping_) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ++n_busy_;
    {
      const std::lock_guard lock(mutex_);
      open_.insert(fd);
    }
    serve(fd);
    {
      const std::lock_guard lock(mutex_);
      open_.erase(fd);
    }
    ::close(fd);
    --n_busy_;
  }
}

void RegistryServer::serve(int fd) {
  for (std::string input; !is_stopping_;) {
    Request request;
    if (!read_request(fd, input, request)) return;
    const Reply reply = answer(request);
    std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " x\r\n" + reply.headers;
    // A HEAD has the length of what a GET would bring.
    head += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
    if (request.method != "HEAD") head += reply.body;
    if (reply.is_blob && request.method != "HEAD") n_blob_bytes_sent_ += reply.body.size();
    if (!send_all(fd, head)) return;
  }
}

// What of a chunk has come when its connection ends belongs to the upload: a client that asks is told so.
bool RegistryServer::read_request(int fd, std::string& input, Request& request) {
  const std::optional<std::string> taken = take_head(fd, input);
  if (!taken) return false;
  const std::string& head = *taken;
  const size_t line_end = head.find("\r\n"), first = head.find(' '), second = head.find(' ', first + 1);
  if (second == std::string::npos || second > line_end) return false;
  request.method = head.substr(0, first);
  request.path = head.substr(first + 1, second - first - 1);
  if (const size_t mark = request.path.find('?'); mark != std::string::npos) {
    request.query = request.path.substr(mark + 1);
    request.path.resize(mark);
  }
  for (size_t at = line_end + 2; at < head.size();) {
    const size_t next = head.find("\r\n", at), colon = head.find(':', at);
    if (colon == std::string::npos || colon > next) return false;
    const size_t value = head.find_first_not_of(' ', colon + 1);
    request.headers[lowered(head.substr(at, colon - at))] = head.substr(value, next - value);
    at = next + 2;
  }
  const size_t n_body = std::strtoull(request.header("content-length").c_str(), nullptr, 10);
  while (input.size() < n_body) {
    if (read_more(fd, input)) continue;
    request.body = input;
    if (request.method == "PATCH") answer(request);
    return false;
  }
  request.body = input.substr(0, n_body);
  input.erase(0, n_body);
  return true;
}

RegistryServer::Reply RegistryServer::answer(const Request& request) {
  const std::lock_guard lock(mutex_);
  if (!request.path.starts_with("/v2/")) return {};
  const std::string path = request.path.substr(4);
  const auto split = [&](const char* at) -> std::optional<std::pair<std::string, std::string>> {
    const size_t found = path.find(at);
    if (found == std::string::npos) return std::nullopt;
    return std::pair(path.substr(0, found), path.substr(found + std::string_view(at).size()));
  };
  if (const auto parts = split("/manifests/")) return answer_manifest(request, parts->first + "/" + parts->second);
  if (split("/blobs/uploads/")) return answer_upload(request, path);
  if (const auto parts = split("/blobs/")) return answer_blob(request, parts->second);
  return {};
}

RegistryServer::Reply RegistryServer::answer_manifest(const Request& request, const std::string& path) {
  if (request.method == "PUT") {
    const server::Manifest manifest = server::parse_manifest(request.body);
    std::vector<server::Layer> layers = manifest.layers;
    layers.push_back(manifest.config);
    for (const server::Layer& layer : layers)
      if (!now_.blobs.contains(layer.digest.text())) return {400, "", R"({"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]})"};
    now_.manifests[path] = request.body;
    return {201, "Docker-Content-Digest: " + digest_of(request.body) + "\r\n"};
  }
  const auto found = now_.manifests.find(path);
  if (found == now_.manifests.end()) return {};
  return {200, "Docker-Content-Digest: " + digest_of(found->second) + "\r\n", found->second};
}

RegistryServer::Reply RegistryServer::answer_blob(const Request& request, const std::string& digest) {
  const auto found = now_.blobs.find(digest);
  if (found == now_.blobs.end()) return {};
  const std::string& bytes = found->second;
  unsigned long long begin = 0, last = 0;
  if (std::sscanf(request.header("range").c_str(), "bytes=%llu-%llu", &begin, &last) != 2) return {200, "", bytes, true};
  if (begin > last || last >= bytes.size()) return {416};
  return {206, "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(last) + "/" + std::to_string(bytes.size()) + "\r\n",
          bytes.substr(begin, last - begin + 1), true};
}

RegistryServer::Reply RegistryServer::answer_upload(const Request& request, const std::string& path) {
  const std::string id = path.substr(path.rfind('/') + 1);
  if (request.method == "POST") {
    if (now_.blobs.contains(request.parameter("mount"))) return {201};
    const std::string fresh = std::to_string(++n_uploads_);
    now_.uploads[fresh];
    return {202, "Location: /v2/" + path + fresh + "\r\nRange: 0-0\r\n"};
  }
  const auto upload = now_.uploads.find(id);
  if (upload == now_.uploads.end()) return {};
  const auto state = [&](int status) {
    const size_t last = upload->second.empty() ? 0 : upload->second.size() - 1;
    return Reply{status, "Location: /v2/" + path + "\r\nRange: 0-" + std::to_string(last) + "\r\n"};
  };
  if (request.method == "GET") return state(204);
  if (request.method == "PATCH") {
    if (std::strtoull(request.header("content-range").c_str(), nullptr, 10) != upload->second.size()) return state(416);
    upload->second += request.body;
    return state(202);
  }
  const std::string digest = request.parameter("digest");
  if (request.method != "PUT" || digest_of(upload->second) != digest) return {400, "", R"({"errors":[{"code":"DIGEST_INVALID","message":"digest"}]})"};
  now_.blobs[digest] = upload->second;
  now_.uploads.erase(upload);
  return {201};
}

}  // namespace olx::tests
