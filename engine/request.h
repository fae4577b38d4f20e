#pragma once
// What a caller asks of the engine and what comes back: plain values, so that the engine could live in another process.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/value.h"

namespace olx::engine {

// Ollama's options with Ollama's defaults.
struct SamplingOptions {
  float temperature = 0.8f;
  int top_k = 40;              // <= 0: off
  float top_p = 0.9f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  int repeat_last_n = 64;      // 0: off, -1: num_ctx
  float repeat_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int mirostat = 0;            // 0, 1, 2
  float mirostat_tau = 5.0f;
  float mirostat_eta = 0.1f;
  int64_t seed = -1;           // < 0: random
};

// What an answer must look like. Compiled by Engine::submit, which refuses with kInvalidRequest what it cannot hold to.
struct OutputConstraint {
  std::string grammar;                                 // GBNF; its rule `root` is the whole answer. "": nothing is asked
  std::vector<std::pair<std::string, Value>> schemas;  // more rules of the grammar, as JSON schemas: name, schema
  // A free part in front (thinking): an answer that begins with free_open is free until it has written free_close, and
  // the grammar holds for what follows, white space before it aside. "": no such part.
  std::string free_open, free_close;
  bool begins_free = false;                            // the prompt has opened the free part already

  bool is_none() const { return grammar.empty(); }
};

// Whether tokens are guessed ahead and verified together. The text is the same in each case.
enum class SpeculateMode {
  kOff,
  kAdaptive,  // as much as pays, by measurement
  kAlways,    // whenever there is a guess, whether it pays or not: for tests and for looking at it
};

struct GenerateRequest {
  std::vector<int32_t> prompt_tokens;
  OutputConstraint constraint;
  std::vector<std::string>
      marks;  // control tokens spelled so, or as a part of one, are part of the text (and of what
              // the grammar sees). One that ends the answer still ends it
  SamplingOptions sampling;
  std::vector<std::string> stop;   // stop strings; never part of the output
  int n_predict = -1;              // < 0: until the context is full
  int n_keep = 4;                  // tokens kept at the start when the context is shifted; -1: the whole prompt
  bool may_truncate = true;        // false: kContextTooLong when the prompt does not fit
  bool may_shift = true;           // false: stop with kLength when the context is full
  bool ignore_eos = false;
  int n_logprobs = -1;             // < 0: none; n: the chosen token and its n best rivals
  int n_draft_max = -1;            // tokens guessed ahead at most; 0: no speculation, < 0: as many as pay
};

struct TokenLogprob {
  std::string token;   // its bytes (may be a part of a character)
  int32_t id = 0;
  float logprob = 0;
  struct Rival { std::string token; int32_t id; float logprob; };
  std::vector<Rival> top;
};

struct EmbedRequest {
  std::vector<std::vector<int32_t>> inputs;  // an empty one is what the model makes of an empty text
  bool is_normalized = true;                 // vectors of length 1
};

enum class DoneReason { kNone, kStop, kLength, kCancelled, kError };

struct GenerateStats {
  int64_t n_prompt_tokens = 0;
  int64_t n_cached_tokens = 0;   // prompt tokens found in the cache
  int64_t n_generated_tokens = 0;
  int64_t prompt_ns = 0;
  int64_t generate_ns = 0;
  int64_t queue_ns = 0;
  int64_t load_ns = 0;           // of a model that was still being loaded meanwhile; in neither of the two above
  int64_t n_truncated_tokens = 0;  // prompt tokens dropped because they did not fit
  int64_t n_drafted_tokens = 0;    // guessed ahead and verified
  int64_t n_accepted_tokens = 0;   // of these, the ones that were right
};

// One piece of an answer. `text` is whole UTF-8 characters, possibly empty.
struct TokenEvent {
  std::string text;
  std::vector<int32_t> tokens;           // ids this event stands for
  std::vector<TokenLogprob> logprobs;
  DoneReason done = DoneReason::kNone;   // not kNone: the last event; stats are final
  std::string error;                     // for kError
  GenerateStats stats;
};

// The receiving end of a generation. Destroying it cancels the generation, in prefill within one micro-batch.
// Thread-safe between one consumer and the engine.
class TokenStream {
 public:
  struct State;
  explicit TokenStream(std::shared_ptr<State> state);
  ~TokenStream();
  TokenStream(TokenStream&&) noexcept;
  TokenStream& operator=(TokenStream&&) noexcept;

  // Waits for the next event. After an event with done != kNone there are no more.
  TokenEvent next();
  // Takes an event if one is there.
  std::optional<TokenEvent> poll();
  // Called from the engine's thread whenever an event has become available (once per event, and at once if some are
  // waiting). It must only hand over (post to another thread): the stream is locked against destruction meanwhile.
  void on_ready(std::function<void()> callback);
  // Prompt tokens that were left out because the prompt did not fit; known from the start.
  int64_t n_truncated_tokens() const;
  void cancel();

 private:
  std::shared_ptr<State> state_;
};

struct ToolCall {
  std::string id;
  std::string name;
  Value arguments;  // a map
};

struct ChatMessage {
  std::string role;
  std::string content;
  std::string thinking;
  std::vector<ToolCall> tool_calls;
  std::string tool_name;
  std::string tool_call_id;
  std::vector<std::string> images;  // encoded bytes
};

// Everything a chat template may look at.
struct ChatRequest {
  std::vector<ChatMessage> messages;
  Value tools;                       // list of tool definitions as the caller sent them; null: none
  std::optional<bool> think;
  std::string think_level;           // "low", "medium", "high" where given
  bool add_generation_prompt = true;
  std::string template_text;         // Go template; "": the model's own
};

// A conversation as the text a model reads.
struct ChatPrompt {
  std::string text;
  std::vector<size_t> breaks;  // ascending places in it: a control token spelled across one is text
                               // that somebody wrote
};

}  // namespace olx::engine
