#pragma once
// Server: the whole service behind one object. Used by the CLI's serve command and by tests. No HTTP library type appears here.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace olx::server {

// OLLAMA_HOST in all its forms: "host", "host:port", ":port", "[::1]:port", "http://host/prefix".
struct HostAddress {
  std::string scheme = "http";
  std::string host = "127.0.0.1";  // "": all interfaces
  uint16_t port = 11434;
  std::string path_prefix;         // of a client's requests; "" or "/prefix"
};
HostAddress parse_host(std::string_view text);
HostAddress host_from_environment();

struct ServerOptions {
  std::string host = "127.0.0.1";  // "": all interfaces
  uint16_t port = 11434;           // 0: a free one
  std::string models_dir;
  std::string origins;             // OLLAMA_ORIGINS
  std::string hosts;               // OLLAMAX_HOSTS: names in Host headers, when it listens on more than loopback
  std::string version = "0.0.0";   // of this program
  // The version of Ollama whose API this is: what /api/version says, since clients refuse servers they take to be too old.
  // Numbers and dots only: some call int() on the parts. OLLAMAX_API_VERSION.
  std::string api_version = "0.35.0";
  int64_t keep_alive_ns = 300'000'000'000;  // < 0: for ever
  int n_ctx = 4096;                // context of a request that names none
  // OLLAMAX_SPECULATE: 0 off, 1 as much as pays, "always": for tests. The text is the same in each case.
  enum class Speculate { kOff, kAdaptive, kAlways };
  Speculate speculate = Speculate::kAdaptive;
  // OLLAMAX_DRAFT: an installed model or a GGUF file that guesses for all models with its vocabulary; "": none.
  std::string draft;
  int n_parallel = 1;
  int max_loaded_models = 3;
  int max_queue = 512;
  std::string kv_cache_type = "f16";
  // OLLAMAX_DEVICE: the backend that models run on, or "auto": the first accelerator that has a device when the server
  // starts, else "cpu". One that is found so and cannot do a model leaves it to the processor.
  std::string device = "cpu";
  bool is_device_required = true;      // false once "auto" has chosen
  uint64_t gpu_overhead_bytes = 0;     // OLLAMA_GPU_OVERHEAD: of a device's memory, left to others
  bool prunes = true;
  std::string api_keys;            // comma separated; "": everyone may come in
  std::string registries;          // OLLAMAX_REGISTRIES: hosts that callers may pull from and push to; "*": any
  uint64_t spare_disk_bytes = 2ull << 30;  // OLLAMAX_SPARE_DISK_MIB: room that models leave free on the disk
  uint64_t max_blob_bytes = 1ull << 40;    // OLLAMAX_MAX_BLOB_MIB: of one uploaded blob
  int registry_stall_ms = 30'000;  // OLLAMAX_REGISTRY_STALL_MS: how long a registry may send nothing
  int registry_retry_ms = 500;     // OLLAMAX_REGISTRY_RETRY_MS: before the second try; doubles with each
  bool logs_requests = false;      // a line on stderr for each
  // Whether models run in processes of their own, which are `worker_program worker`: the executable must have that command.
  bool isolates = false;
  std::string worker_program = "/proc/self/exe";
  int worker_stall_ms = 900'000;   // OLLAMAX_WORKER_STALL_MS: one that gets on with nothing for so long is ended
  int stop_grace_ms = 30'000;      // how long running requests may take after the first signal

  // From OLLAMA_HOST, OLLAMA_MODELS, OLLAMA_ORIGINS, OLLAMA_KEEP_ALIVE, OLLAMA_CONTEXT_LENGTH, OLLAMA_NUM_PARALLEL,
  // OLLAMA_MAX_LOADED_MODELS, OLLAMA_MAX_QUEUE, OLLAMA_KV_CACHE_TYPE, OLLAMA_GPU_OVERHEAD and OLLAMA_NOPRUNE, with Ollama's defaults; and from
  // OLLAMAX_DEVICE, OLLAMAX_API_KEYS, OLLAMAX_HOSTS, OLLAMAX_SPARE_DISK_MIB, OLLAMAX_MAX_BLOB_MIB, OLLAMAX_REGISTRIES, OLLAMAX_REGISTRY_STALL_MS,
  // OLLAMAX_REGISTRY_RETRY_MS, OLLAMAX_ISOLATE (isolates, unless it is 0) and OLLAMAX_WORKER_STALL_MS.
  static ServerOptions from_environment();
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();  // stops

  // Opens the store and listens. Throws std::runtime_error when the address or the folder cannot be used.
  void start();
  uint16_t port() const;
  void stop();
  // Refuses new requests and stops when the running ones have ended, their time is up, or is_impatient() says so. It is
  // asked again and again, and should take some milliseconds to answer.
  void stop_gently(const std::function<bool()>& is_impatient);
  // Waits for SIGINT or SIGTERM, then stops gently; a second signal stops at once. Call it on the main thread.
  void run_until_signal();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::server
