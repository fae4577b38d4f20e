#include "server/worker/worker_host.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/token_channel.h"
#include "kernels/api/backend.h"
#include "server/worker/call_pool.h"
#include "server/worker/channel.h"
#include "server/worker/messages.h"
#include "server/worker/process.h"
#include "server/worker/sandbox.h"

namespace olx::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{
    50};  // how often a waiting request looks whether its client is still there
constexpr milliseconds kStatsWait{500};   // figures older than this are better than waiting longer
constexpr milliseconds kDeathWait{2000};  // for the kernel to say how a process ended
constexpr size_t kMaxEventBytes = 8 << 20;    // of one event
constexpr size_t kMaxUnreadBytes = 64 << 20;  // of a stream whose client does not read
// Beside what a model says it needs: the tokenizer, texts of requests, the plan for embeddings; and the stacks of threads,
// as large as this process's own may be.
uint64_t memory_beside(int n_threads) {
  rlimit stack{};
  const bool is_limited = ::getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
  const uint64_t stack_bytes = is_limited ? stack.rlim_cur : 8 << 20;
  const auto n_computing = static_cast<uint64_t>(
      n_threads > 0 ? n_threads : std::max(1u, std::thread::hardware_concurrency()));
  return (uint64_t{4} << 30) + (n_computing + CallPool::kMaxThreads + 16) * stack_bytes;
}

// A descriptor that is closed with its scope.
struct Descriptor {
  int fd = -1;
  Descriptor() = default;
  explicit Descriptor(int given) : fd(given) {}
  Descriptor(Descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (fd >= 0) ::close(fd);
    fd = std::exchange(other.fd, -1);
    return *this;
  }
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// O_NONBLOCK: a FIFO must not hold us up; what is no regular file is refused by who reads it.
Descriptor open_for_worker(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) throw std::system_error(errno, std::generic_category(), path);
  return file;
}

class WorkerHost final : public ModelHost {
 public:
  WorkerHost(const engine::EngineOptions& options, WorkerOptions worker);
  ~WorkerHost() override;

  const engine::ModelInfo& info() const override { return info_; }
  engine::AnswerFormat answer_format(std::string_view go_template) const override {
    return go_template.empty() ? answer_format_ : engine::recognise_go_format(go_template);
  }
  engine::ChatPrompt render_chat(const engine::ChatRequest& request) override {
    return decoded<engine::ChatPrompt>(call(FrameType::kRenderChat, encode(request)));
  }
  std::vector<int32_t> tokenize(const engine::ChatPrompt& prompt, bool add_bos) override {
    return decoded<std::vector<int32_t>>(
        call(FrameType::kTokenizePrompt, encode(PromptToTokenize{prompt, add_bos})));
  }
  std::vector<int32_t> tokenize(std::string_view text, bool add_bos, bool parse_special) override {
    return decoded<std::vector<int32_t>>(
        call(FrameType::kTokenizeText,
             encode(TextToTokenize{std::string(text), add_bos, parse_special})));
  }
  engine::TokenStream submit(engine::GenerateRequest request) override;
  std::vector<std::vector<float>> embed(engine::EmbedRequest request,
                                        const std::function<bool()>& is_abandoned) override;
  engine::EngineStats stats() override;
  bool is_alive() const override {
    const std::lock_guard lock(mutex_);
    return !is_ending_;
  }

 private:
  // A request that waits for kReply or kFailed.
  struct Call {
    std::condition_variable changed;
    bool is_done = false;
    std::string reply;
    std::optional<Failure> failure;
    std::vector<std::string> vectors;  // what came before the reply
    size_t n_vectors = 0;              // how many may come
    size_t vector_bytes = 0;           // and how long each is
  };
  struct Stream {
    std::shared_ptr<engine::TokenStream::State> state;
    std::deque<size_t> unread;  // bytes of the events that may still lie there, newest last
    size_t n_unread_bytes = 0;
  };
  // What the opening thread waits for.
  struct Loading {
    float progress = 0;
    std::optional<uint64_t> memory_need;
    std::optional<Failure> failure;
    bool is_ready = false;
  };

  void run();
  void load(const engine::EngineOptions& options);
  void take(Frame& frame);
  void take_event(const Frame& frame);
  bool hangs();
  void end(std::string reason);
  void touch() { last_progress_ = Clock::now(); }  // with the mutex held
  bool has_work() const {
    return !calls_.empty() || !streams_.empty() || (!loading_.is_ready && !waits_for_memory_);
  }

  std::string call(FrameType type, std::string_view payload, Call* with = nullptr,
                   const std::function<bool()>& is_abandoned = {}, uint64_t id = 0);
  uint64_t new_id() {
    const std::lock_guard lock(mutex_);
    return ++last_id_;
  }
  [[noreturn]] void throw_death() const {
    throw engine::EngineError(engine::ErrorCode::kProcessDied, death_);
  }

  // A reply that is none ends the worker: nothing more is believed of it.
  template <class T>
  T decoded(const std::string& bytes) {
    try {
      return decode<T>(bytes);
    } catch (const WireError& error) {
      throw engine::EngineError(engine::ErrorCode::kProcessDied, distrust(error));
    }
  }
  std::string distrust(const WireError& error) {
    const std::lock_guard lock(mutex_);
    if (fault_.empty()) fault_ = std::string("it broke the protocol: ") + error.what();
    channel_->shut_down();
    return "model runner has been stopped: " + fault_;
  }

  const WorkerOptions worker_;
  const std::string name_;  // of the model's file, for messages
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<WorkerProcess> process_;
  engine::ModelInfo info_;
  engine::AnswerFormat answer_format_;  // read off the template here: the parser of answers is not
                                        // handed a worker's table

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // loading_, statistics_, is_ended_
  Loading loading_;
  bool waits_for_memory_ = false;
  bool is_ending_ = false;   // it will answer nothing any more
  bool is_ended_ = false;    // and those who waited are told
  bool is_leaving_ = false;  // the end is wanted
  std::string fault_;        // why it is being ended, where that is known here
  std::string death_;        // is_ended_: what requests are told
  uint64_t last_id_ = 0;
  std::map<uint64_t, Call*> calls_;
  std::map<uint64_t, Stream> streams_;
  engine::EngineStats statistics_;
  uint64_t n_statistics_ = 0;
  Clock::time_point last_progress_ = Clock::now();
  // Starts the process, reads its frames, buries it. The process is its child in the kernel's eyes
  // too, which ends a worker with the thread that made it.
  std::thread thread_;
};

namespace {

// Whether the model's process talks to a GPU.
bool has_driver(const engine::EngineOptions& options) {
  const kernels::Backend* backend = kernels::find_backend(options.device);
  return backend != nullptr && backend->kind == kernels::BackendKind::kAccelerator;
}

}  // namespace

WorkerHost::WorkerHost(const engine::EngineOptions& given, WorkerOptions worker)
    : worker_(std::move(worker)), name_(given.model_path) {
  engine::EngineOptions options = given;
  const Descriptor model = open_for_worker(options.model_path);
  Descriptor draft;
  if (!options.draft_path.empty() && options.speculate != engine::SpeculateMode::kOff) {
    try {
      draft = open_for_worker(options.draft_path);
    } catch (const std::exception& error) {
      if (options.is_draft_required) throw;
      std::fprintf(stderr, "warning: %s has no draft model: %s\n", options.model_path.c_str(),
                   error.what());
      options.draft_path.clear();
    }
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error(errno, std::generic_category(),
                            "cannot make a socket for the model's process");
  channel_ = std::make_unique<Channel>(ends[0]);
  Descriptor for_worker(ends[1]);

  // A driver opens files of its own and talks to them all the time: that process stays outside the sandbox.
  std::vector<std::string> arguments = worker_.arguments;
  if (has_driver(options)) arguments.emplace_back(kWorkerHasDriver);

  std::exception_ptr failure;
  bool is_started = false;
  thread_ = std::thread([&, socket = for_worker.fd, model_fd = model.fd, draft_fd = draft.fd] {
    try {
      process_ = std::make_unique<WorkerProcess>(worker_.program, arguments, socket,
                                                 model_fd, draft_fd);
    } catch (...) {
      failure = std::current_exception();
    }
    const bool goes_on = failure == nullptr;
    {
      const std::lock_guard lock(mutex_);
      is_started = true;
      changed_.notify_all();
    }
    if (goes_on) run();
  });
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_started; });
  }
  // The worker's end is the worker's alone: when it dies, this side must see the socket end.
  for_worker = Descriptor();
  if (failure) {
    thread_.join();
    std::rethrow_exception(failure);
  }
  try {
    load(options);
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      is_leaving_ = true;
    }
    channel_->shut_down();
    thread_.join();
    throw;
  }
}

WorkerHost::~WorkerHost() {
  {
    const std::lock_guard lock(mutex_);
    is_leaving_ = true;
  }
  channel_->shut_down();
  thread_.join();
}

// On the opening thread: the callbacks are the caller's.
void WorkerHost::load(const engine::EngineOptions& options) {
  // What a driver reserves for its device counts as data too, and is no measure of anything.
  const bool is_limited = !has_driver(options);
  uint64_t n_memory = memory_beside(options.n_threads);
  if (is_limited) process_->limit_memory(n_memory);
  channel_->send(FrameType::kLoad, 0, encode(options));
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait_for(lock, kLook, [&] {
      return is_ended_ || loading_.memory_need || loading_.failure || loading_.is_ready;
    });
    if (loading_.failure) {
      const Failure failure = *loading_.failure;
      lock.unlock();
      failure.raise();
    }
    if (loading_.is_ready) break;
    if (is_ended_) throw_death();
    const float progress = loading_.progress;
    const std::optional<uint64_t> need = std::exchange(loading_.memory_need, std::nullopt);
    waits_for_memory_ = need.has_value();
    lock.unlock();
    if (need) {
      if (options.on_memory_need) options.on_memory_need(*need);
      n_memory += *need + *need / 4;
      if (is_limited) process_->limit_memory(n_memory);
      channel_->send(FrameType::kAllowMemory, 0, "");
    }
    if (options.on_progress && !options.on_progress(progress))
      throw engine::EngineError(engine::ErrorCode::kCancelled, name_ + ": loading was cancelled");
    lock.lock();
    if (need) touch();
    waits_for_memory_ = false;
  }
  answer_format_ = options.template_text.empty()
                       ? engine::recognise_format(info_.chat_template)
                       : engine::recognise_go_format(options.template_text);
}

void WorkerHost::run() {
  // Often enough to see a hang soon after it is one.
  const milliseconds tick = std::clamp(worker_.stall / 8, milliseconds(10), milliseconds(5000));
  std::string reason;
  try {
    auto next_look = Clock::now() + tick;
    for (Frame frame;;) {
      const Channel::Receive received = channel_->receive(frame, tick);
      if (received == Channel::Receive::kEnd) break;
      if (received == Channel::Receive::kFrame) take(frame);
      if (Clock::now() < next_look) continue;
      next_look = Clock::now() + tick;
      if (hangs()) {
        reason = fmt::format("it made no progress for {} s",
                             std::chrono::duration<double>(worker_.stall).count());
        break;
      }
    }
  } catch (const WireError& error) {
    reason = std::string("it broke the protocol: ") + error.what();
  } catch (const std::exception& error) {  // no memory for what it sent
    reason = error.what();
  }
  end(std::move(reason));
}

// Looked at now and then.
bool WorkerHost::hangs() {
  bool has_work_now = false;
  {
    const std::lock_guard lock(mutex_);
    has_work_now = has_work();
    if (!has_work_now)
      touch();
    else if (Clock::now() - last_progress_ > worker_.stall)
      return true;
  }
  // Whether the loop goes round, which a long prompt shows nothing else of.
  if (has_work_now) channel_->try_send(FrameType::kStats, 0);
  return false;
}

void WorkerHost::take(Frame& frame) {
  if (frame.type == FrameType::kEvent) return take_event(frame);
  const std::lock_guard lock(mutex_);
  const auto during_load = [&] {
    if (loading_.is_ready) throw WireError("a message of loading after it");
    touch();
    changed_.notify_all();
  };
  switch (frame.type) {
    case FrameType::kLacks: {
      during_load();
      static std::once_flag is_said;  // the machine is the same for all workers
      const auto lacks = static_cast<uint32_t>(decode<uint64_t>(frame.payload));
      std::call_once(is_said, [&] {
        std::fprintf(stderr, "warning: this kernel lacks, for the processes of models: %s\n",
                     lack_text(lacks).c_str());
      });
      return;
    }
    case FrameType::kProgress:
      during_load();
      loading_.progress = decode<float>(frame.payload);
      return;
    case FrameType::kMemoryNeed:
      during_load();
      loading_.memory_need = decode<uint64_t>(frame.payload);
      waits_for_memory_ = true;
      return;
    case FrameType::kReady:
      during_load();
      info_ = decode<engine::ModelInfo>(frame.payload);
      loading_.is_ready = true;
      return;
    case FrameType::kLoadFailed:
      during_load();
      loading_.failure = decode<Failure>(frame.payload);
      return;
    case FrameType::kLost:
      is_ending_ = true;  // no new request goes there
      return;
    case FrameType::kStatistics: {
      const auto statistics = decode<engine::EngineStats>(frame.payload);
      if (statistics.n_steps != statistics_.n_steps) touch();
      statistics_ = statistics;
      ++n_statistics_;
      changed_.notify_all();
      return;
    }
    case FrameType::kVector: {
      touch();
      const auto found = calls_.find(frame.id);
      if (found == calls_.end()) return;  // given up meanwhile
      Call& call = *found->second;
      if (call.vectors.size() >= call.n_vectors || frame.payload.size() != call.vector_bytes)
        throw WireError("a vector that nobody asked for");
      call.vectors.push_back(std::move(frame.payload));
      return;
    }
    case FrameType::kReply:
    case FrameType::kFailed: {
      touch();
      const auto found = calls_.find(frame.id);
      if (found == calls_.end()) return;
      Call& call = *found->second;
      if (frame.type == FrameType::kFailed)
        call.failure = decode<Failure>(frame.payload);
      else
        call.reply = std::move(frame.payload);
      call.is_done = true;
      call.changed.notify_all();
      calls_.erase(found);
      return;
    }
    default:
      throw WireError("an unknown message");
  }
}

void WorkerHost::take_event(const Frame& frame) {
  if (frame.payload.size() > kMaxEventBytes) throw WireError("an event is too long");
  auto event = decode<engine::TokenEvent>(frame.payload);
  std::shared_ptr<engine::TokenStream::State> state;
  {
    const std::lock_guard lock(mutex_);
    touch();
    const auto found = streams_.find(frame.id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    state = stream.state;
    size_t n_unread = 0;
    {
      const std::lock_guard state_lock(state->mutex);
      n_unread = state->events.size();
    }
    for (; stream.unread.size() > n_unread; stream.unread.pop_front())
      stream.n_unread_bytes -= stream.unread.front();
    stream.unread.push_back(frame.payload.size());
    stream.n_unread_bytes += frame.payload.size();
    if (stream.n_unread_bytes > kMaxUnreadBytes) {
      event = {};
      event.done = engine::DoneReason::kError;
      event.error = "the answer is read too slowly";
    }
    if (event.done != engine::DoneReason::kNone) streams_.erase(found);
  }
  state->push(std::move(event));
}

// The last thing the thread does: nobody waits for this worker any more, and nothing of it is left.
void WorkerHost::end(std::string reason) {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    if (reason.empty()) reason = fault_;
  }
  channel_->shut_down();
  process_->kill();  // one that has crashed is not changed by it: how it ended is decided before
                     // its socket closes
  const std::optional<std::string> how = process_->wait(kDeathWait);
  std::map<uint64_t, Stream> streams;
  {
    const std::lock_guard lock(mutex_);
    death_ = !reason.empty() ? "model runner has been stopped: " + reason
                             : "model runner has unexpectedly stopped, this may be due to resource "
                               "limitations or an internal error: " +
                                   how.value_or("it does not end");
    is_ended_ = true;
    streams.swap(streams_);
    if (!is_leaving_ && !loading_.failure)
      std::fprintf(stderr, "error: %s: %s; requests lost: %zu\n", name_.c_str(), death_.c_str(),
                   streams.size() + calls_.size());
    for (const auto& [id, call] : calls_) call->changed.notify_all();
    changed_.notify_all();
  }
  engine::TokenEvent last;
  last.done = engine::DoneReason::kError;
  last.error = death_;
  for (auto& [id, stream] : streams) stream.state->push(last);
  while (!process_->wait(std::chrono::hours(1))) {
  }
}

// Sends a request and waits for its reply. `with`: what else is expected of it.
std::string WorkerHost::call(FrameType type, std::string_view payload, Call* with,
                             const std::function<bool()>& is_abandoned, uint64_t id) {
  Call own;
  Call& call = with != nullptr ? *with : own;
  {
    const std::lock_guard lock(mutex_);
    if (is_ended_) throw_death();
    if (!has_work()) touch();
    if (id == 0) id = ++last_id_;
    calls_[id] = &call;
  }
  if (payload.size() > kMaxFrameBytes) {
    const std::lock_guard lock(mutex_);
    calls_.erase(id);
    throw engine::EngineError(engine::ErrorCode::kInvalidRequest, "the request is too long");
  }
  channel_->send(type, id, payload);  // where it fails, the end is about to be noticed
  std::unique_lock lock(mutex_);
  const auto is_over = [&] { return call.is_done || is_ended_; };
  if (!is_abandoned) call.changed.wait(lock, is_over);
  bool is_cancelled = false;
  while (!call.changed.wait_for(lock, kLook, is_over)) {
    if (is_cancelled) continue;
    lock.unlock();
    is_cancelled = is_abandoned();
    if (is_cancelled) channel_->send(FrameType::kCancel, id, "");
    lock.lock();
  }
  if (!call.is_done) {
    calls_.erase(id);
    throw_death();
  }
  lock.unlock();
  if (call.failure) call.failure->raise();
  return std::move(call.reply);
}

engine::TokenStream WorkerHost::submit(engine::GenerateRequest request) {
  const uint64_t id = new_id();
  auto state = std::make_shared<engine::TokenStream::State>();
  {
    const std::lock_guard lock(mutex_);
    if (is_ended_) throw_death();
    if (!has_work()) touch();
    streams_[id].state = state;
  }
  try {
    const auto n_truncated =
        decoded<uint64_t>(call(FrameType::kSubmit, encode(request), nullptr, {}, id));
    state->n_truncated =
        static_cast<int64_t>(std::min<uint64_t>(n_truncated, request.prompt_tokens.size()));
  } catch (...) {
    const std::lock_guard lock(mutex_);
    streams_.erase(id);
    throw;
  }
  state->on_cancel = [this, id] {
    {
      const std::lock_guard lock(mutex_);
      if (!streams_.contains(id)) return;  // it has ended by itself
    }
    channel_->send(FrameType::kCancel, id, "");
  };
  return engine::TokenStream(std::move(state));
}

std::vector<std::vector<float>> WorkerHost::embed(engine::EmbedRequest request,
                                                  const std::function<bool()>& is_abandoned) {
  if (request.inputs.empty()) return {};
  Call expected;
  expected.n_vectors = request.inputs.size();
  expected.vector_bytes = sizeof(uint64_t) + static_cast<size_t>(info_.n_embd) * sizeof(float);
  call(FrameType::kEmbed, encode(request), &expected, is_abandoned, new_id());
  if (expected.vectors.size() != request.inputs.size())
    throw engine::EngineError(engine::ErrorCode::kProcessDied,
                              distrust(WireError("too few vectors")));
  std::vector<std::vector<float>> vectors;
  for (const std::string& bytes : expected.vectors)
    vectors.push_back(decoded<std::vector<float>>(bytes));
  return vectors;
}

engine::EngineStats WorkerHost::stats() {
  std::unique_lock lock(mutex_);
  if (is_ended_) return statistics_;
  const uint64_t n_before = n_statistics_;
  lock.unlock();
  if (channel_->try_send(FrameType::kStats, 0)) {
    lock.lock();
    changed_.wait_for(lock, kStatsWait, [&] { return n_statistics_ > n_before || is_ended_; });
    return statistics_;
  }
  lock.lock();
  return statistics_;
}

}  // namespace

std::unique_ptr<ModelHost> open_in_worker(const engine::EngineOptions& options,
                                          const WorkerOptions& worker) {
  return std::make_unique<WorkerHost>(options, worker);
}

}  // namespace olx::server
