// The worker's program for tests: a worker, or one that breaks the protocol in the way its word
// says.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/worker/channel.h"
#include "server/worker/messages.h"
#include "server/worker/process.h"
#include "server/worker/worker_main.h"

using namespace olx;
using namespace olx::server;

namespace {

void send_raw(uint32_t type, uint32_t n_bytes, uint64_t id, std::string_view payload) {
  char head[16];
  std::memcpy(head, &type, 4);
  std::memcpy(head + 4, &n_bytes, 4);
  std::memcpy(head + 8, &id, 8);
  ::send(kWorkerSocket, head, sizeof head, MSG_NOSIGNAL);
  ::send(kWorkerSocket, payload.data(), payload.size(), MSG_NOSIGNAL);
}

engine::ModelInfo small_model() {
  engine::ModelInfo info;
  info.n_ctx = 64;
  info.n_embd = 8;
  info.vocab_size = 97;
  return info;
}

int misbehave(std::string_view how) {
  Channel channel(kWorkerSocket);
  Frame frame;
  const auto next = [&] {
    return channel.receive(frame, std::chrono::milliseconds(-1)) == Channel::Receive::kFrame;
  };
  next();
  if (how == "silent") {
    while (next()) {
    }
    return 0;
  }
  if (how == "leaves") return 7;
  if (how == "long") send_raw(static_cast<uint32_t>(FrameType::kReady), UINT32_MAX, 0, "x");
  if (how == "unknown") send_raw(4711, 0, 0, "");
  if (how == "garbage") {
    std::string noise(1 << 16, '\0');
    for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * 2654435761u >> 13);
    ::send(kWorkerSocket, noise.data(), noise.size(), MSG_NOSIGNAL);
  }
  engine::ModelInfo info = small_model();
  if (how == "zero") info.n_embd = 0;
  if (how == "short") channel.send(FrameType::kReady, 0, encode(info).substr(0, 20));
  if (how == "half") {  // says more than it sends
    send_raw(static_cast<uint32_t>(FrameType::kReady), 1 << 20, 0, "x");
    return 0;
  }
  channel.send(FrameType::kReady, 0, encode(info));
  while (next()) {
    const uint64_t id = frame.id;
    if (frame.type == FrameType::kStats)
      channel.send(FrameType::kStatistics, 0, encode(engine::EngineStats{}));
    if (frame.type == FrameType::kTokenizeText && how == "reply")
      channel.send(FrameType::kReply, id, "xyz");
    if (frame.type == FrameType::kTokenizeText && how == "mute") continue;
    if (frame.type == FrameType::kRenderChat)
      channel.send(FrameType::kReply, id, encode(engine::ChatPrompt{"ab", {5, 1}}));
    if (frame.type == FrameType::kEmbed && how == "vectors")
      for (int i = 0; i < 100; ++i)
        channel.send(FrameType::kVector, id, encode(std::vector<float>(8, 1.0f)));
    if (frame.type == FrameType::kEmbed && how == "few") channel.send(FrameType::kReply, id, "");
    if (frame.type == FrameType::kSubmit) {
      channel.send(FrameType::kReply, id, encode(uint64_t{1} << 60));
      engine::TokenEvent event;
      event.text = std::string(100'000, 'x');
      if (how == "flood")
        for (int i = 0; i < 2000; ++i) channel.send(FrameType::kEvent, id, encode(event));
      if (how == "negative") event.stats.n_generated_tokens = -1;
      if (how == "event") event.text = std::string(16 << 20, 'x');
      event.done = engine::DoneReason::kStop;
      channel.send(FrameType::kEvent, id, encode(event));
      channel.send(FrameType::kEvent, id + 1000, encode(event));  // a request that nobody made
    }
    if (frame.type == FrameType::kStats && how == "reload")
      channel.send(FrameType::kReady, 0, encode(info));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() > 1 && words[1] != kWorkerHasDriver) return misbehave(words[1]);
  return run_worker(words);
}
