#pragma once
// Engine: one loaded model and the thread that runs it. The server's only door to computing.
// Every public function may be called from any thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/error.h"
#include "engine/request.h"

namespace olx::engine {

struct EngineOptions {
  std::string model_path;              // a GGUF file
  std::string template_text;           // Go template of a TEMPLATE layer; "": the GGUF's own chat template
  std::vector<std::string> adapter_paths;
  std::string device = "cpu";          // a row of backends.inc
  int main_gpu = -1;                   // of its devices the one to take, from 0; -1: one, or as many as it takes
  // Of the layers, and the logits as one more, so many on devices, the last ones; -1: as many as
  // there is memory for.
  int n_gpu_layers = -1;
  uint64_t gpu_spare_bytes = 0;        // of each device's memory, to be left to others
  bool is_device_required = true;      // false: where the device or a kernel of it is missing, the processor does all
  std::string cpu_isa;                 // OLLAMAX_CPU
  int n_threads = 0;                   // 0: physical cores
  int n_ctx = 4096;                    // context of one sequence, tokens; cut to the model's training context
  int n_parallel = 1;                  // sequences decoded together
  int n_batch = 512;                   // tokens of a prefill micro-batch
  std::string kv_cache_type = "f16";   // f32, f16, q8_0
  SpeculateMode speculate = SpeculateMode::kAdaptive;
  std::string draft_path;              // GGUF file of a smaller model with the same vocabulary, that guesses ahead; "": none
  bool is_draft_required = true;       // false: one that does not fit is named on standard error and left out
  // Weights of at least so many bytes may be loaded behind the first step (RunnerOptions); smaller ones are there before anybody notices. -1: never.
  int64_t n_deferred_bytes_min = 64 << 20;
  // The files, where the caller has opened them already: the paths then only name them. Owned by the engine from the call
  // of open() on.
  int model_fd = -1, draft_fd = -1;
  // 0..1 while loading, from the opening thread. Returning false abandons the load (EngineError kCancelled).
  std::function<bool(float fraction)> on_progress;
  // Called with the bytes of weights, cache and activations together, before they are allocated, from the opening thread:
  // once for the model, once for the draft model. What it throws abandons the load.
  std::function<void(uint64_t n_bytes)> on_memory_need;
};

struct ModelInfo {
  std::string architecture;        // "llama"
  std::string name;
  std::string parameter_size;      // "134.52M"
  std::string quantization;        // "Q4_1"
  int64_t n_parameters = 0;
  int64_t n_ctx_train = 0;
  int64_t n_ctx = 0;
  int64_t n_embd = 0;
  int64_t vocab_size = 0;
  uint64_t weight_bytes = 0;       // resident
  uint64_t kv_bytes = 0;
  uint64_t scratch_bytes = 0;      // activations
  std::string device;              // the backend it runs on: "cpu"; where both do, the one beside it
  int64_t n_device_layers = 0;     // on that, when it is not the processor; as EngineOptions::n_gpu_layers counts
  int64_t n_places = 0;            // of so many
  uint64_t device_bytes = 0;       // of weight_bytes and kv_bytes, what lies there
  bool has_chat_template = false;
  std::string chat_template;       // the file's own, in Jinja; "": none
  bool is_embedding = false;       // pooling declared: no generation
  std::vector<std::string> default_stops;
};

struct EngineStats {
  int64_t n_active = 0;
  int64_t n_queued = 0;
  int64_t n_prompt_tokens = 0;
  int64_t n_generated_tokens = 0;
  int64_t n_kv_pages_used = 0;  // of the key/value cache: by sequences
  int64_t n_kv_pages = 0;
  int64_t n_kv_pages_cached = 0;  // by remembered prefixes alone
  int64_t n_prefix_hits = 0;      // sequences that began with one
  int64_t n_prefix_tokens = 0;    // not evaluated for that
  int64_t n_prefix_evictions = 0; // pages that remembered one and were needed
  int64_t n_drafted_tokens = 0;   // guessed ahead and verified
  int64_t n_accepted_tokens = 0;  // of these, the ones that were right
  int64_t n_unread_bytes = 0;     // of the weights: what will still be taken of the memory there is
  int64_t n_steps = 0;            // of the loop that did something: while there is work it grows, or the engine hangs
};

// Log-probabilities after each position, for `inspect logits`.
struct PositionLogits {
  double logsumexp = 0;
  std::vector<std::pair<int32_t, double>> top;  // id, log-probability; most likely first
};

class Engine {
 public:
  // Throws EngineError (kModelLoad, kUnsupported, kOutOfMemory, kCancelled) or gguf::FormatError.
  static std::unique_ptr<Engine> open(const EngineOptions& options);
  ~Engine();

  const ModelInfo& info() const;

  // How the model marks its thinking and its calls: as the Go template given says, or the model's
  // own ("").
  AnswerFormat answer_format(std::string_view go_template) const;
  // The prompt text of a conversation. Throws EngineError(kInvalidRequest) when the template
  // refuses it. A control token that the conversation's texts spell stays text.
  ChatPrompt render_chat(const ChatRequest& request) const;
  // Special tokens in the prompt become their ids, except where its breaks forbid it.
  std::vector<int32_t> tokenize(const ChatPrompt& prompt, bool add_bos) const;
  // add_bos: apply the model's own BOS/EOS rule; parse_special: special tokens in the text become their ids.
  std::vector<int32_t> tokenize(std::string_view text, bool add_bos, bool parse_special) const;
  std::string detokenize(std::span<const int32_t> tokens) const;

  // Queues a generation. Throws EngineError(kInvalidRequest, kContextTooLong) before anything is queued.
  TokenStream submit(GenerateRequest request);

  // Runs the tokens through the network alone and returns the distribution after each. Waits its turn.
  std::vector<PositionLogits> logits(std::span<const int32_t> tokens, int n_top);

  // One vector of n_embd values for each input, in turn with running generations. Blocks; EngineError(kInvalidRequest,
  // kContextTooLong) for what cannot be embedded, kCancelled when is_abandoned (asked now and then) says so.
  std::vector<std::vector<float>> embed(EmbedRequest request, const std::function<bool()>& is_abandoned = {});

  EngineStats stats() const;
  // Its device has failed and answers nothing more: every further request ends with an error. Open it again.
  bool is_lost() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::engine
