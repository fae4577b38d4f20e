#include "engine/engine.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/embed/embedder.h"
#include "engine/file_type.h"
#include "engine/grammar/compile.h"
#include "engine/model/model_runner.h"
#include "engine/schedule/scheduler.h"
#include "engine/text/chat_template.h"
#include "engine/text/control_guard.h"
#include "engine/text/tokenizer.h"
#include "engine/token_channel.h"
#include "gguf/ascii.h"
#include "gguf/reader.h"

namespace olx::engine {
namespace {

constexpr size_t kMaxQueuedCommands = 100'000;  // far above any server's own limit; a guard, not a policy

// Who opens a model for a request submits that within this time. Later the model is being kept for somebody who is still typing.
constexpr std::chrono::milliseconds kRequestFollows{100};

// How long the processors are left to those who hand on the first text of an answer: through the server, three threads and the
// client wake one another. Where this engine takes every processor, Linux may let each of them wait for its next tick, 4 ms: behind
// 1000 tokens of SmolLM2 the client had the first text after 18.8 ms instead of 13.4. Less than this was too short.
constexpr std::chrono::microseconds kHandingOver{800};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class ModelRunnerAdapter final : public Runner {
 public:
  explicit ModelRunnerAdapter(ModelRunner& runner) : runner_(runner) {}
  int64_t n_ctx() const override { return runner_.options().n_ctx; }
  int n_sequences() const override { return runner_.options().n_sequences; }
  int n_batch() const override { return runner_.options().n_batch; }
  int n_logits() const override { return runner_.options().n_logits_max; }
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel) override { return runner_.forward(tokens, cancel); }
  std::span<float> logits(int64_t i) override { return runner_.logits(i); }
  int64_t n_candidates_max() const override { return runner_.n_candidates_max(); }
  bool forward_candidates(std::span<const BatchToken> tokens, int64_t n, const std::atomic<bool>* cancel) override {
    return runner_.forward(tokens, cancel, n);
  }
  CandidateRow candidates(int64_t i) override { return runner_.candidates(i); }
  int64_t n_positions(int32_t sequence) const override { return runner_.n_positions(sequence); }
  bool reserve(int32_t sequence, int64_t n_positions) override { return runner_.reserve(sequence, n_positions); }
  void truncate(int32_t sequence, int64_t n_positions) override { runner_.truncate(sequence, n_positions); }
  int64_t attach_prefix(int32_t sequence, std::span<const int32_t> tokens) override { return runner_.attach_prefix(sequence, tokens); }
  void keep_prefix(int32_t sequence, std::span<const int32_t> tokens, bool is_final) override { runner_.keep_prefix(sequence, tokens, is_final); }

 private:
  ModelRunner& runner_;
};

// The guessed token is the same number to both networks, so their vocabularies must agree. Control tokens may differ: they
// are guessed wrong, at worst. Larger families pad the list for some sizes, so the shorter one counts.
void check_vocabulary(const Tokenizer& model, const Tokenizer& draft, const std::string& path) {
  constexpr int32_t kMaxPadding = 1024;
  const auto refuse = [&](const std::string& why) {
    throw EngineError(ErrorCode::kInvalidRequest, "draft model " + path + ": " + why + "; a draft model must have the vocabulary of the model it drafts for");
  };
  if (std::abs(model.vocab_size() - draft.vocab_size()) > kMaxPadding)
    refuse("expected " + std::to_string(model.vocab_size()) + " tokens, got " + std::to_string(draft.vocab_size()));
  for (int32_t id = 0; id < std::min(model.vocab_size(), draft.vocab_size()); ++id)
    if (model.kind(id) == TokenKind::kNormal && draft.kind(id) == TokenKind::kNormal && model.text(id) != draft.text(id))
      refuse("token " + std::to_string(id) + ": expected \"" + std::string(model.text(id)) + "\", got \"" + std::string(draft.text(id)) + "\"");
}

gguf::GgufFile open_file(const std::string& path, int fd) { return fd < 0 ? gguf::GgufFile::open(path) : gguf::GgufFile::adopt(fd, path); }

// The draft model of EngineOptions, with what it needs.
struct OpenDraft {
  // `options`: the model's own; the draft model's context is cut to what it was trained for.
  OpenDraft(const std::string& path, int fd, RunnerOptions options, const Tokenizer& model_tokenizer)
      : runner(open(path, fd, std::move(options), model_tokenizer)),
        adapter(*runner),
        model(adapter, static_cast<int32_t>(std::min<int64_t>(runner->config().vocab_size, model_tokenizer.vocab_size())), now_ns) {}

  static std::unique_ptr<ModelRunner> open(const std::string& path, int fd, RunnerOptions options, const Tokenizer& model_tokenizer) {
    gguf::GgufFile file = open_file(path, fd);
    const ModelConfig config = read_model_config(file);
    if (!config.is_causal) throw EngineError(ErrorCode::kInvalidRequest, "draft model " + path + ": it does not generate text");
    check_vocabulary(model_tokenizer, *make_tokenizer(file), path);
    if (config.n_ctx_train > 0) options.n_ctx = static_cast<int>(std::min<int64_t>(options.n_ctx, config.n_ctx_train));
    options.n_logits_max = options.n_sequences;
    options.makes_embeddings = false;
    options.n_deferred_bytes_min = -1;
    options.n_gpu_layers = options.n_gpu_layers == 0 ? 0 : -1;  // the number was of the other model's layers
    return ModelRunner::open(std::move(file), options);
  }

  std::unique_ptr<ModelRunner> runner;
  ModelRunnerAdapter adapter;
  DraftModel model;
};

gguf::DType kv_dtype(const std::string& name) {
  const gguf::DTypeInfo* info = gguf::find_dtype(name);
  if (info != nullptr)
    for (gguf::DType dtype : {gguf::DType::kF32, gguf::DType::kF16, gguf::DType::kQ8_0})
      if (info->dtype == dtype) return dtype;
  throw EngineError(ErrorCode::kInvalidRequest, "key-value cache type: expected f32, f16 or q8_0, got '" + name + "'");
}

std::string text_or(const gguf::GgufFile& file, std::string_view key, const std::string& otherwise) {
  const gguf::Value* value = file.find(key);
  return value == nullptr ? otherwise : std::string(value->as_string(key));
}

// llama.cpp's and so Ollama's choice for chats with a GGUF that has no template at all.
constexpr const char* kChatMlTemplate =
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

}  // namespace

struct Engine::Impl {
  EngineOptions options;
  ModelInfo info;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;  // nullptr: template_fault says why
  std::string template_fault;
  std::once_flag trie_flag;
  std::optional<TokenTrie> trie;  // of the vocabulary; made for the first constrained request
  AnswerFormat answer_format;
  std::unique_ptr<ModelRunner> runner;
  std::unique_ptr<ModelRunnerAdapter> adapter;
  std::unique_ptr<OpenDraft> draft;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<Embedder> embedder;

  // What other threads ask of the engine's thread.
  std::mutex mutex;
  std::condition_variable has_work;
  std::condition_variable has_answer;
  struct Submission {
    GenerateRequest request;
    int64_t n_truncated;
    std::shared_ptr<TokenStream::State> channel;
    std::unique_ptr<TokenConstraint> constraint;
  };
  std::deque<Submission> submissions;
  std::deque<std::shared_ptr<EmbedJob>> embed_jobs;
  std::deque<std::function<void()>> exclusive;  // run when no sequence is active
  bool is_stopping = false;
  std::atomic<int64_t> n_active{0}, n_queued{0}, n_prompt_tokens{0}, n_generated_tokens{0}, n_kv_pages_used{0};
  std::atomic<int64_t> n_kv_pages_cached{0}, n_prefix_hits{0}, n_prefix_tokens{0}, n_prefix_evictions{0};
  std::atomic<int64_t> n_drafted_tokens{0}, n_accepted_tokens{0}, n_steps{0};
  std::jthread thread;

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      is_stopping = true;
    }
    has_work.notify_all();
    if (thread.joinable()) thread.join();
  }

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
  bool has_commands() const { return !submissions.empty() || !embed_jobs.empty() || !exclusive.empty(); }
  void check_token(int32_t token) const {
    if (token >= 0 && token < info.vocab_size) return;
    throw EngineError(ErrorCode::kInvalidRequest,
                      "token id: expected 0 to " + std::to_string(info.vocab_size - 1) + ", got " + std::to_string(token));
  }
  void finish_loading();
  void loop();
  void publish_stats() {
    n_active = scheduler->n_active();
    n_queued = scheduler->n_queued();
    n_prompt_tokens = scheduler->n_prompt_tokens();
    n_generated_tokens = scheduler->n_generated_tokens();
    n_kv_pages_used = runner->n_kv_pages_used();
    n_kv_pages_cached = runner->n_kv_pages_cached();
    n_prefix_hits = runner->prefix_stats().n_hits;
    n_prefix_tokens = runner->prefix_stats().n_tokens_saved;
    n_prefix_evictions = runner->prefix_stats().n_evicted;
    n_drafted_tokens = scheduler->n_drafted_tokens();
    n_accepted_tokens = scheduler->n_accepted_tokens();
  }
};

// Errors are told to whoever is in the next step, which tries again.
void Engine::Impl::finish_loading() {
  try {
    runner->finish_loading([this](float) {
      ++n_steps;
      const std::lock_guard lock(mutex);
      return !is_stopping;
    });
  } catch (const std::exception&) {
  }
}

// One of the three places that catch errors: the scheduler ends the sequences concerned, this loop goes on.
void Engine::Impl::loop() {
  bool is_idle = true;
  bool is_loading_due = !runner->is_loaded();  // tried once
  while (true) {
    std::function<void()> call;
    bool is_kept_ready = false;
    {
      std::unique_lock lock(mutex);
      const auto is_wanted = [&] { return is_stopping || has_commands(); };
      if (is_idle && is_loading_due) is_kept_ready = !has_work.wait_for(lock, kRequestFollows, is_wanted);
      else if (is_idle) has_work.wait(lock, is_wanted);
      if (is_stopping) break;
      while (!submissions.empty()) {
        Submission& next = submissions.front();
        scheduler->add(std::move(next.request), next.n_truncated, std::move(next.channel), std::move(next.constraint));
        submissions.pop_front();
      }
      while (!embed_jobs.empty()) {
        embedder->add(std::move(embed_jobs.front()));
        embed_jobs.pop_front();
      }
      if (!exclusive.empty() && scheduler->n_active() == 0 && !embedder->holds_slots()) {
        call = std::move(exclusive.front());
        exclusive.pop_front();
      }
    }
    if (call) call();
    const bool has_embedded = embedder->step();
    const bool has_stepped = scheduler->step();
    if (scheduler->has_begun_answer() && runner->takes_all_processors()) std::this_thread::sleep_for(kHandingOver);
    if (is_loading_due && (is_kept_ready || has_embedded || has_stepped)) {
      finish_loading();
      is_loading_due = false;
    }
    scheduler->count_loading(runner->take_loading_ns());
    publish_stats();
    is_idle = !has_stepped && !has_embedded && !call;
    if (!is_idle) ++n_steps;
  }
  {
    const std::lock_guard lock(mutex);
    while (!embed_jobs.empty()) {
      embedder->add(std::move(embed_jobs.front()));
      embed_jobs.pop_front();
    }
  }
  embedder->fail_all("the model was unloaded");
  scheduler->fail_all("the model was unloaded");
  publish_stats();
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelInfo& Engine::info() const { return impl_->info; }

namespace {

// The Go template of a TEMPLATE layer, else the file's own Jinja template, else ChatML.
std::unique_ptr<ChatTemplate> open_template(const gguf::GgufFile& file, const Tokenizer& tokenizer, const std::string& go_template) {
  if (!go_template.empty()) return make_go_chat_template(go_template);
  const auto spelling = [&](std::optional<int32_t> id) { return id ? std::string(tokenizer.text(*id)) : std::string(); };
  const std::string bos = spelling(tokenizer.bos()), eos = spelling(tokenizer.eos());
  const std::string jinja = text_or(file, "tokenizer.chat_template", "");
  return make_jinja_chat_template(jinja.empty() ? kChatMlTemplate : jinja, bos, eos);
}

}  // namespace

std::unique_ptr<Engine> Engine::open(const EngineOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (options.n_ctx < 4) throw EngineError(ErrorCode::kInvalidRequest, "num_ctx: expected at least 4, got " + std::to_string(options.n_ctx));
  if (options.n_parallel < 1 || options.n_parallel > 256)
    throw EngineError(ErrorCode::kInvalidRequest, "parallel sequences: expected 1 to 256, got " + std::to_string(options.n_parallel));
  if (!options.adapter_paths.empty()) throw EngineError(ErrorCode::kUnsupported, "adapters are not supported yet");
  const auto shared_file = std::make_shared<const gguf::GgufFile>(open_file(options.model_path, options.model_fd));
  const gguf::GgufFile& file = *shared_file;

  // Reading weights and building the tokenizer take about as long: side by side they hide one another.
  std::exception_ptr text_error;
  std::jthread text_thread([&] {
    try {
      impl->tokenizer = make_tokenizer(file);
      // A template that cannot be read costs the conversations that need it, not the model: raw prompts and embeddings do not.
      try {
        impl->chat_template = open_template(file, *impl->tokenizer, options.template_text);
      } catch (const EngineError& error) {
        impl->template_fault = error.what();
      }
      impl->answer_format = options.template_text.empty()
                                ? recognise_format(text_or(file, "tokenizer.chat_template", ""))
                                : recognise_go_format(options.template_text);
    } catch (...) {
      text_error = std::current_exception();
    }
  });
  RunnerOptions runner_options;
  runner_options.device = options.device;
  runner_options.main_gpu = options.main_gpu;
  runner_options.n_gpu_layers = options.n_gpu_layers;
  runner_options.gpu_spare_bytes = options.gpu_spare_bytes;
  runner_options.is_device_required = options.is_device_required;
  runner_options.cpu_isa = options.cpu_isa;
  runner_options.n_threads = options.n_threads;
  const ModelConfig config = read_model_config(file);
  runner_options.n_ctx = static_cast<int>(config.n_ctx_train > 0 ? std::min<int64_t>(options.n_ctx, config.n_ctx_train) : options.n_ctx);
  runner_options.n_sequences = options.n_parallel;
  runner_options.n_batch = std::max(options.n_batch, options.n_parallel);
  if (options.speculate != SpeculateMode::kOff) runner_options.n_logits_max = std::max(options.n_parallel, StepCosts::kMaxColumns);
  // Where every token looks at every other, an input is read in one step.
  if (!config.is_causal) runner_options.n_batch = std::max(runner_options.n_batch, runner_options.n_ctx);
  runner_options.kv_dtype = kv_dtype(options.kv_cache_type);
  runner_options.makes_embeddings = file.find(config.architecture + ".pooling_type") != nullptr;
  runner_options.n_deferred_bytes_min = options.n_deferred_bytes_min;
  runner_options.on_progress = options.on_progress;
  if (options.on_memory_need)
    runner_options.on_need = [&](const MemoryNeed& need) { options.on_memory_need(need.total_bytes()); };
  impl->runner = ModelRunner::open(shared_file, runner_options);
  text_thread.join();
  if (text_error) std::rethrow_exception(text_error);
  if (impl->tokenizer->vocab_size() > impl->runner->config().vocab_size)
    throw EngineError(ErrorCode::kModelLoad, file.path() + ": the tokenizer has " + std::to_string(impl->tokenizer->vocab_size()) +
                                                 " tokens, the network " + std::to_string(impl->runner->config().vocab_size));

  if (!options.draft_path.empty() && options.speculate != SpeculateMode::kOff) {
    try {
      impl->draft = std::make_unique<OpenDraft>(options.draft_path, options.draft_fd, runner_options, *impl->tokenizer);
    } catch (const std::exception& error) {
      if (options.is_draft_required) throw;
      std::fprintf(stderr, "warning: %s has no draft model: %s\n", options.model_path.c_str(), error.what());
    }
  }

  ModelInfo& info = impl->info;
  info.architecture = config.architecture;
  info.name = config.name;
  info.n_parameters = impl->runner->n_parameters();
  info.parameter_size = parameter_size_text(info.n_parameters);
  info.quantization = file_type_text(file);
  info.n_ctx_train = config.n_ctx_train;
  info.n_ctx = impl->runner->options().n_ctx;
  info.n_embd = config.d_model;
  info.vocab_size = impl->runner->config().vocab_size;
  info.weight_bytes = impl->runner->weight_bytes();
  info.kv_bytes = impl->runner->kv_bytes();
  info.scratch_bytes = impl->runner->scratch_bytes();
  if (impl->draft) {
    info.weight_bytes += impl->draft->runner->weight_bytes();
    info.kv_bytes += impl->draft->runner->kv_bytes();
    info.scratch_bytes += impl->draft->runner->scratch_bytes();
    info.device_bytes += impl->draft->runner->device_bytes();
  }
  info.device_bytes += impl->runner->device_bytes();
  info.n_device_layers = impl->runner->n_device_layers();
  info.n_places = impl->runner->n_places();
  info.device = info.device_bytes > 0 ? options.device : "cpu";
  info.chat_template = text_or(file, "tokenizer.chat_template", "");
  info.has_chat_template =
      !options.template_text.empty() || file.find("tokenizer.chat_template") != nullptr;
  // ChatML's marks are plain text to a model that was not trained on them, and nothing else ends
  // what it writes in that form.
  if (!info.has_chat_template) info.default_stops = {"<|im_end|>", "<|im_start|>"};
  info.is_embedding = file.find(config.architecture + ".pooling_type") != nullptr;

  impl->adapter = std::make_unique<ModelRunnerAdapter>(*impl->runner);
  impl->scheduler = std::make_unique<Scheduler>(*impl->adapter, *impl->tokenizer, now_ns, options.speculate);
  if (impl->draft) impl->scheduler->set_draft_model(&impl->draft->model);
  impl->embedder = std::make_unique<Embedder>(*impl->runner, *impl->scheduler);
  impl->thread = std::jthread([raw = impl.get()] { raw->loop(); });
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

bool Engine::is_lost() const { return impl_->runner->is_lost() || (impl_->draft && impl_->draft->runner->is_lost()); }

namespace {

// Where the assistant speaks last it has begun its answer and goes on behind what it said: as with
// llama.cpp, and as Go templates write it themselves. Not where the prompt opens something else
// first, thinking or the header of a channel.
std::string render_begun(const ChatTemplate& with, const ChatRequest& request,
                         const AnswerFormat& format) {
  const bool is_begun = request.add_generation_prompt && request.messages.size() > 1 &&
                        request.messages.back().role == "assistant" &&
                        !request.messages.back().content.empty() &&
                        request.messages.back().tool_calls.empty();
  if (!is_begun || format.syntax == CallSyntax::kHarmony) return with.render(request);
  ChatRequest before = request;
  before.messages.pop_back();
  const std::string prompt = with.render(before);
  if (!format.think_open.empty() && ascii::trimmed(prompt).ends_with(format.think_open))
    return with.render(request);
  return prompt + request.messages.back().content;
}

}  // namespace

AnswerFormat Engine::answer_format(std::string_view go_template) const {
  return go_template.empty() ? impl_->answer_format : recognise_go_format(go_template);
}

ChatPrompt Engine::render_chat(const ChatRequest& request) const {
  const AnswerFormat format = answer_format(request.template_text);
  const GuardedChat guarded =
      guard_controls(request, *impl_->tokenizer, {format.think_open, format.think_close});
  const auto render = [&] {
    if (!request.template_text.empty())
      return make_go_chat_template(request.template_text)->render(guarded.request);
    if (impl_->chat_template == nullptr)
      throw EngineError(ErrorCode::kInternal, impl_->template_fault);
    return impl_->options.template_text.empty()
               ? render_begun(*impl_->chat_template, guarded.request, format)
               : impl_->chat_template->render(guarded.request);
  };
  return without_marks(render(), guarded.mark);
}

std::vector<int32_t> Engine::tokenize(std::string_view text, bool add_bos, bool parse_special) const {
  return impl_->encode(text, {.add_special = add_bos, .parse_special = parse_special});
}

std::vector<int32_t> Engine::tokenize(const ChatPrompt& prompt, bool add_bos) const {
  return impl_->encode(prompt.text,
                       {.add_special = add_bos, .parse_special = true, .breaks = prompt.breaks});
}

std::vector<int32_t> Engine::Impl::encode(std::string_view text,
                                          const EncodeOptions& options) const {
  std::vector<int32_t> tokens = tokenizer->encode(text, options);
  // A template that prints the BOS token itself must not get a second one.
  const std::optional<int32_t> bos = tokenizer->bos();
  if (options.add_special && bos && tokenizer->adds_bos() && tokens.size() >= 2 &&
      tokens[0] == *bos && tokens[1] == *bos)
    tokens.erase(tokens.begin());
  return tokens;
}

std::string Engine::detokenize(std::span<const int32_t> tokens) const { return impl_->tokenizer->decode(tokens); }

TokenStream Engine::submit(GenerateRequest request) {
  if (request.prompt_tokens.empty()) {
    // Nothing to continue: begin as the model begins every text.
    request.prompt_tokens = impl_->tokenizer->encode("", {.add_special = true, .parse_special = false});
    if (request.prompt_tokens.empty()) throw EngineError(ErrorCode::kInvalidRequest, "the prompt is empty");
  }
  for (int32_t token : request.prompt_tokens) impl_->check_token(token);
  const bool adds_bos = impl_->tokenizer->adds_bos() && request.n_keep >= 0;
  FittedPrompt fitted = fit_prompt(std::move(request.prompt_tokens), impl_->info.n_ctx, request.n_keep + (adds_bos ? 1 : 0),
                                   request.may_truncate);
  request.prompt_tokens = std::move(fitted.tokens);
  // Without an end of its own an answer ends after ten contexts, as Ollama's does.
  const int64_t longest = 10ll * impl_->info.n_ctx;
  if (request.n_predict < 0 || request.n_predict > longest) request.n_predict = static_cast<int>(std::min<int64_t>(longest, INT32_MAX));
  std::unique_ptr<TokenConstraint> constraint;
  if (!request.constraint.is_none()) {
    std::shared_ptr<const Network> network = compile_constraint(request.constraint);
    std::call_once(impl_->trie_flag, [&] { impl_->trie.emplace(*impl_->tokenizer); });
    constraint = std::make_unique<TokenConstraint>(std::move(network), *impl_->trie, *impl_->tokenizer);
    request.constraint = {};  // the compiled one goes on
  }
  auto channel = std::make_shared<TokenStream::State>();
  channel->n_truncated = fitted.n_truncated;
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->submissions.size() >= kMaxQueuedCommands) throw EngineError(ErrorCode::kInternal, "too many requests are waiting");
    impl_->submissions.push_back({std::move(request), fitted.n_truncated, channel, std::move(constraint)});
  }
  impl_->has_work.notify_one();
  return TokenStream(std::move(channel));
}

std::vector<PositionLogits> Engine::logits(std::span<const int32_t> tokens, int n_top) {
  if (tokens.empty() || static_cast<int64_t>(tokens.size()) > impl_->info.n_ctx)
    throw EngineError(ErrorCode::kInvalidRequest, "tokens: expected 1 to " + std::to_string(impl_->info.n_ctx) + ", got " + std::to_string(tokens.size()));
  for (int32_t token : tokens) impl_->check_token(token);
  std::vector<PositionLogits> positions;
  std::exception_ptr error;
  bool is_done = false;
  const auto compute = [&] {
    ModelRunner& runner = *impl_->runner;
    runner.truncate(0, 0);  // nobody is active: sequence 0 is borrowed
    if (!runner.reserve(0, static_cast<int64_t>(tokens.size()))) throw EngineError(ErrorCode::kOutOfMemory, "the key-value cache has no room left");
    const auto step = static_cast<size_t>(std::min(runner.options().n_logits_max, runner.options().n_batch));
    std::vector<BatchToken> batch;
    for (size_t from = 0; from < tokens.size(); from += batch.size()) {
      batch.clear();
      for (size_t i = from; i < std::min(tokens.size(), from + step); ++i) batch.push_back({tokens[i], 0, static_cast<int32_t>(i), true, true});
      runner.forward(batch);
      for (size_t i = 0; i < batch.size(); ++i) {
        const std::span<const float> logits = runner.logits(static_cast<int64_t>(i));
        PositionLogits position;
        position.logsumexp = log_sum_exp(logits);
        std::vector<Candidate> candidates;
        take_top_k(logits, n_top, candidates);
        for (const Candidate& candidate : candidates)
          position.top.emplace_back(candidate.id, static_cast<double>(candidate.logit) - position.logsumexp);
        positions.push_back(std::move(position));
      }
    }
    runner.truncate(0, 0);
  };
  std::unique_lock lock(impl_->mutex);
  impl_->exclusive.push_back([&] {
    try {
      compute();
    } catch (...) {
      error = std::current_exception();
    }
    {
      const std::lock_guard done_lock(impl_->mutex);
      is_done = true;
    }
    impl_->has_answer.notify_all();
  });
  impl_->has_work.notify_one();
  impl_->has_answer.wait(lock, [&] { return is_done; });
  lock.unlock();
  if (error) std::rethrow_exception(error);
  return positions;
}

std::vector<std::vector<float>> Engine::embed(EmbedRequest request, const std::function<bool()>& is_abandoned) {
  if (request.inputs.empty()) return {};
  for (std::vector<int32_t>& tokens : request.inputs) {
    if (tokens.empty()) tokens = impl_->tokenizer->encode("", {.add_special = true, .parse_special = false});
    if (tokens.empty()) throw EngineError(ErrorCode::kInvalidRequest, "the input is empty");
    if (static_cast<int64_t>(tokens.size()) > impl_->info.n_ctx)
      throw EngineError(ErrorCode::kContextTooLong, "the input length exceeds the context length");
    for (int32_t token : tokens) impl_->check_token(token);
  }
  auto job = std::make_shared<EmbedJob>();
  job->inputs = std::move(request.inputs);
  job->is_normalized = request.is_normalized;
  std::future<Embeddings> result = job->result.get_future();
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->embed_jobs.size() >= kMaxQueuedCommands) throw EngineError(ErrorCode::kInternal, "too many requests are waiting");
    impl_->embed_jobs.push_back(job);
  }
  impl_->has_work.notify_one();
  if (is_abandoned)
    while (result.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout)
      if (is_abandoned()) job->is_cancelled = true;
  return result.get();
}

EngineStats Engine::stats() const {
  return {impl_->n_active, impl_->n_queued, impl_->n_prompt_tokens, impl_->n_generated_tokens,
          impl_->n_kv_pages_used, impl_->runner->n_kv_pages(), impl_->n_kv_pages_cached,
          impl_->n_prefix_hits, impl_->n_prefix_tokens, impl_->n_prefix_evictions,
          impl_->n_drafted_tokens, impl_->n_accepted_tokens, static_cast<int64_t>(impl_->runner->n_unread_bytes()),
          impl_->n_steps};
}

}  // namespace olx::engine
