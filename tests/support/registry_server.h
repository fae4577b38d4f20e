#pragma once
// RegistryServer: a small registry (OCI distribution: manifests, blobs with ranges, mounts, uploads in chunks) that listens on
// loopback inside the test program. It keeps to the protocol; tests/support/hostile_registry.py is the one that does not. Its
// own calls go to the kernel and not through server/store/sys.h, so that a fault script strikes the client alone.

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace olx::tests {

class RegistryServer {
 public:
  RegistryServer();
  ~RegistryServer();
  RegistryServer(const RegistryServer&) = delete;

  const std::string& host() const { return host_; }  // "127.0.0.1:<port>"
  void add_blob(const std::string& bytes);
  // `path`: "<namespace>/<model>/<tag>".
  void add_manifest(const std::string& path, const std::string& text);
  std::string manifest(const std::string& path) const;  // "" when there is none

  // What it holds now is what reset() brings back.
  void keep();
  void reset();
  // What is wrong with what clients sent: a manifest that names a blob which is not here. "" when nothing.
  std::string complaint() const;
  uint64_t n_blob_bytes_sent() const { return n_blob_bytes_sent_; }

 private:
  struct Contents {
    std::map<std::string, std::string> blobs;      // by "sha256:<hex>"
    std::map<std::string, std::string> manifests;  // by path
    std::map<std::string, std::string> uploads;    // by id
  };
  struct Request;
  struct Reply;
  void serve_until_stopped();
  void serve(int fd);
  bool read_request(int fd, std::string& input, Request& request);
  Reply answer(const Request& request);
  Reply answer_manifest(const Request& request, const std::string& path);
  Reply answer_blob(const Request& request, const std::string& digest);
  Reply answer_upload(const Request& request, const std::string& path);

  std::string host_;
  int listener_ = -1;
  std::atomic<bool> is_stopping_{false};
  std::atomic<int> n_busy_{0};
  std::atomic<uint64_t> n_blob_bytes_sent_{0};
  mutable std::mutex mutex_;  // of what follows
  Contents now_, kept_;
  int n_uploads_ = 0;
  std::set<int> open_;
  std::vector<std::thread> workers_;  // a fixed number: none begins or ends while a test forks
};

}  // namespace olx::tests
