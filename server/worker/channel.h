#pragma once
// Channel: frames over a stream socket between the server and a worker process. Used by
// worker_host.cpp and worker_main.cpp. What is in a frame is messages.h's matter. Neither side
// trusts a length that the other wrote.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace olx::server {

// The other side does not keep to the protocol.
class WireError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class FrameType : uint32_t {
  // To the worker.
  kLoad = 1,        // EngineOptions; the first frame
  kAllowMemory,     // answers kMemoryNeed
  kRenderChat,      // ChatRequest -> kReply with ChatPrompt
  kTokenizePrompt,  // PromptToTokenize -> kReply with ids
  kTokenizeText,    // TextToTokenize -> kReply with ids
  kSubmit,  // GenerateRequest -> kReply with the number of truncated tokens, then kEvent until done
  kEmbed,   // EmbedRequest -> a kVector for each input, then kReply
  kCancel,  // the request with this id
  kStats,   // -> kStatistics
  // From the worker.
  kLacks = 64,  // uint64_t: bits of sandbox.h; only where there are some
  kProgress,    // of loading
  kMemoryNeed,  // waits for kAllowMemory
  kReady,       // ModelInfo
  kLoadFailed,  // Failure; the last frame
  kReply,
  kFailed,      // Failure, instead of kReply
  kEvent,       // TokenEvent
  kVector,      // floats
  kStatistics,  // EngineStats
  kLost,        // the device has failed: an error follows, then the end
};

struct Frame {
  FrameType type{};
  uint64_t id = 0;  // of the request it belongs to
  std::string payload;
};

// A whole conversation of the largest body the server takes, as token ids.
inline constexpr size_t kMaxFrameBytes = 512 << 20;

class Channel {
 public:
  explicit Channel(int fd) : fd_(fd) {}  // owns it
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Any thread. False: the other side is gone.
  bool send(FrameType type, uint64_t id, std::string_view payload);
  // An empty frame, if that needs no waiting.
  bool try_send(FrameType type, uint64_t id);

  // One thread at a time. Waits up to the time given (< 0: for ever) for a whole frame; its bytes
  // that came too early are kept. Memory is taken as bytes come, not as a length says. WireError
  // for a frame longer than kMaxFrameBytes.
  enum class Receive { kFrame, kTimeout, kEnd };
  Receive receive(Frame& frame, std::chrono::milliseconds timeout);
  // Both sides' send and receive end at once; the descriptor stays until the destructor. Any
  // thread.
  void shut_down();

 private:
  bool take_frame(Frame& frame);

  const int fd_;
  std::mutex send_mutex_;
  std::string received_;  // bytes [begin_, …) are not taken yet
  size_t begin_ = 0;
};

}  // namespace olx::server
