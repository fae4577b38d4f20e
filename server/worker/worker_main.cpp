#include "server/worker/worker_main.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "kernels/api/backend.h"
#include "kernels/api/registry.h"
#include "server/worker/call_pool.h"
#include "server/worker/channel.h"
#include "server/worker/messages.h"
#include "server/worker/process.h"
#include "server/worker/sandbox.h"

namespace olx::server {
namespace {

// The server has gone, or does not want this model any more. Nothing here needs an orderly end, and
// unwinding threads that compute would only keep the memory longer.
[[noreturn]] void leave() { ::_exit(0); }

class Worker {
 public:
  explicit Worker(Channel& channel) : channel_(channel) {}
  // `fault`: why it cannot be.
  void load(int n_cores, const std::exception_ptr& fault);
  [[noreturn]] void serve();

 private:
  struct Stream {
    std::mutex mutex;  // events leave in their order, whichever threads bring them
    bool is_done = false;
    std::optional<engine::TokenStream> tokens;
  };

  void send(FrameType type, uint64_t id, std::string_view payload) {
    if (!channel_.send(type, id, payload)) leave();
  }
  // Runs the call on a thread of its own and sends what it returns, or what it throws.
  void answer(uint64_t id, std::function<std::string()> call) {
    calls_.run([this, id, call = std::move(call)] {
      std::string reply;
      try {
        reply = call();
        if (reply.size() > kMaxFrameBytes)
          throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "the text is too long");
      } catch (const std::exception& error) {
        return send(FrameType::kFailed, id, encode(Failure::of(error)));
      }
      send(FrameType::kReply, id, reply);
    });
  }
  void take(Frame frame);
  void submit(uint64_t id, const std::string& payload);
  void embed(uint64_t id, const std::string& payload);
  void forward(uint64_t id, Stream& stream);
  void cancel(uint64_t id);
  void forget_finished();

  Channel& channel_;
  std::unique_ptr<engine::Engine> engine_;
  CallPool calls_;
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<Stream>> streams_;
  std::map<uint64_t, std::shared_ptr<std::atomic<bool>>> embeddings_;  // whether they were given up
};

void Worker::load(int n_cores, const std::exception_ptr& fault) {
  Frame frame;
  if (channel_.receive(frame, std::chrono::milliseconds(-1)) != Channel::Receive::kFrame) leave();
  try {
    if (fault) std::rethrow_exception(fault);
    auto options = decode<engine::EngineOptions>(frame.payload);
    if (options.n_threads == 0) options.n_threads = n_cores;
    options.model_fd = kWorkerModel;
    if (!options.draft_path.empty()) options.draft_fd = kWorkerDraft;
    options.on_progress = [&](float progress) {
      send(FrameType::kProgress, 0, encode(progress));
      return true;  // a load that is not wanted any more ends with the process
    };
    options.on_memory_need = [&](uint64_t n_bytes) {
      send(FrameType::kMemoryNeed, 0, encode(n_bytes));
      Frame answer;
      if (channel_.receive(answer, std::chrono::milliseconds(-1)) != Channel::Receive::kFrame)
        leave();
    };
    engine_ = engine::Engine::open(options);
  } catch (const std::exception& error) {
    send(FrameType::kLoadFailed, 0, encode(Failure::of(error)));
    leave();
  }
  send(FrameType::kReady, 0, encode(engine_->info()));
}

void Worker::serve() {
  for (Frame frame;
       channel_.receive(frame, std::chrono::milliseconds(-1)) == Channel::Receive::kFrame;
       frame = {}) {
    forget_finished();
    take(std::move(frame));
  }
  leave();
}

void Worker::take(Frame frame) {
  const uint64_t id = frame.id;
  switch (frame.type) {
    case FrameType::kRenderChat:
      return answer(id, [this, payload = std::move(frame.payload)] {
        return encode(engine_->render_chat(decode<engine::ChatRequest>(payload)));
      });
    case FrameType::kTokenizePrompt:
      return answer(id, [this, payload = std::move(frame.payload)] {
        const auto asked = decode<PromptToTokenize>(payload);
        return encode(engine_->tokenize(asked.prompt, asked.adds_bos));
      });
    case FrameType::kTokenizeText:
      return answer(id, [this, payload = std::move(frame.payload)] {
        const auto asked = decode<TextToTokenize>(payload);
        return encode(engine_->tokenize(asked.text, asked.adds_bos, asked.parses_special));
      });
    case FrameType::kSubmit:
      return calls_.run([this, id, payload = std::move(frame.payload)] { submit(id, payload); });
    case FrameType::kEmbed: {
      {
        const std::lock_guard lock(mutex_);
        embeddings_[id] = std::make_shared<std::atomic<bool>>(false);
      }
      return calls_.run([this, id, payload = std::move(frame.payload)] { embed(id, payload); });
    }
    case FrameType::kCancel:
      return cancel(id);
    case FrameType::kStats:
      return send(FrameType::kStatistics, id, encode(engine_->stats()));
    default:
      leave();  // not this program's server
  }
}

void Worker::submit(uint64_t id, const std::string& payload) {
  auto stream = std::make_shared<Stream>();
  try {
    stream->tokens.emplace(engine_->submit(decode<engine::GenerateRequest>(payload)));
  } catch (const std::exception& error) {
    return send(FrameType::kFailed, id, encode(Failure::of(error)));
  }
  {
    const std::lock_guard lock(mutex_);
    streams_[id] = stream;
  }
  send(FrameType::kReply, id, encode(static_cast<uint64_t>(stream->tokens->n_truncated_tokens())));
  // The stream outlives its callback: it is only forgotten once this is no longer running
  // (TokenStream::cancel).
  stream->tokens->on_ready([this, id, raw = stream.get()] { forward(id, *raw); });
}

void Worker::forward(uint64_t id, Stream& stream) {
  const std::lock_guard lock(stream.mutex);
  while (!stream.is_done) {
    const std::optional<engine::TokenEvent> event = stream.tokens->poll();
    if (!event) return;
    // Its device is gone: the server starts another one, with a driver that begins anew.
    const bool is_lost = event->done == engine::DoneReason::kError && engine_->is_lost();
    if (is_lost) send(FrameType::kLost, 0, "");
    send(FrameType::kEvent, id, encode(*event));
    stream.is_done = event->done != engine::DoneReason::kNone;
    if (is_lost) leave();
  }
}

// Streams whose last event has gone out. On the reading thread: a stream cannot go away inside its
// own callback.
void Worker::forget_finished() {
  std::vector<std::shared_ptr<Stream>> finished;
  const std::lock_guard lock(mutex_);
  for (auto it = streams_.begin(); it != streams_.end();) {
    const std::unique_lock stream_lock(it->second->mutex, std::try_to_lock);
    if (stream_lock && it->second->is_done) {
      finished.push_back(it->second);
      it = streams_.erase(it);
    } else {
      ++it;
    }
  }
}

void Worker::cancel(uint64_t id) {
  std::shared_ptr<Stream> stream;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = embeddings_.find(id); found != embeddings_.end()) *found->second = true;
    if (const auto found = streams_.find(id); found != streams_.end()) stream = found->second;
  }
  if (!stream) return;
  stream->tokens->cancel();
  // The server still wants the last event, with its figures.
  stream->tokens->on_ready([this, id, raw = stream.get()] { forward(id, *raw); });
}

void Worker::embed(uint64_t id, const std::string& payload) {
  std::shared_ptr<std::atomic<bool>> is_given_up;
  {
    const std::lock_guard lock(mutex_);
    is_given_up = embeddings_[id];
  }
  std::optional<Failure> failure;
  try {
    for (const std::vector<float>& vector :
         engine_->embed(decode<engine::EmbedRequest>(payload), [&] { return is_given_up->load(); }))
      send(FrameType::kVector, id, encode(vector));
  } catch (const std::exception& error) {
    failure = Failure::of(error);
  }
  {
    const std::lock_guard lock(mutex_);
    embeddings_.erase(id);
  }
  if (failure) {
    const bool is_lost = engine_->is_lost();
    if (is_lost) send(FrameType::kLost, 0, "");
    send(FrameType::kFailed, id, encode(*failure));
    if (is_lost) leave();
  } else {
    send(FrameType::kReply, id, "");
  }
}

// Everything that is read from the machine, while it still can be. Returns the number of cores.
// Throws what plug-ins of OLLAMAX_KERNEL_PLUGINS are refused for.
int look_around() {
  ::tzset();  // what strftime_now of a template says
  kernels::KernelRegistry::instance();
  try {
    return kernels::find_backend("cpu")->open({})->info().n_threads;
  } catch (const kernels::DeviceError&) {  // opening the model says it again
    return 0;
  }
}

void prefer_as_victim() {
  // When the system runs out of memory, this process goes before its server. Anybody may raise the
  // number.
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t n = ::write(fd, "500", 3);
  ::close(fd);
}

}  // namespace

int run_worker(const std::vector<std::string>& words) {
  const bool has_driver = std::find(words.begin(), words.end(), kWorkerHasDriver) != words.end();
  struct stat status {};
  if (::fstat(kWorkerSocket, &status) != 0 || !S_ISSOCK(status.st_mode) ||
      ::fstat(kWorkerModel, &status) != 0) {
    std::fputs("Error: 'worker' is started by 'ollamax serve' and by nothing else\n", stderr);
    return 2;
  }
  // Signals of a terminal or a service manager are for the server, which ends its workers when
  // their answers have ended.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a server that had died before is noticed by its socket
  ::prctl(PR_SET_NAME, "ollamax-worker");
  prefer_as_victim();
  int n_cores = 0;
  std::exception_ptr fault;
  try {
    n_cores = look_around();
  } catch (const std::exception&) {
    fault = std::current_exception();
  }
  const uint32_t lacks = enter_sandbox(has_driver);
  Channel channel(kWorkerSocket);
  if (lacks != 0) channel.send(FrameType::kLacks, 0, encode(static_cast<uint64_t>(lacks)));
  Worker worker(channel);
  worker.load(n_cores, fault);
  worker.serve();
}

}  // namespace olx::server
