#pragma once
// Scheduler: which tokens of which requests go through the network next. Continuous batching: every step takes the one
// next token of each answer being generated and fills the rest of the batch with a chunk of one prompt, as much of it as
// keeps the answers flowing. Prompts take turns, so a long one does not hold up a short one. Driven by one thread (the
// engine's loop or a test): step().

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/grammar/token_constraint.h"
#include "engine/request.h"
#include "engine/sample/sampler.h"
#include "engine/schedule/runner.h"
#include "engine/schedule/speculate.h"
#include "engine/text/detokenizer.h"
#include "engine/text/marks.h"
#include "engine/text/tokenizer.h"
#include "engine/token_channel.h"

namespace olx::engine {

// A prompt that fits: unchanged, or cut in the middle after the first n_keep tokens. n_truncated counts what was left
// out. Throws EngineError(kContextTooLong) when it does not fit and may not be cut.
struct FittedPrompt {
  std::vector<int32_t> tokens;
  int64_t n_truncated = 0;
};
FittedPrompt fit_prompt(std::vector<int32_t> tokens, int64_t n_ctx, int n_keep, bool may_truncate);

// While answers are being generated, a step that also reads a prompt takes about this long: a stream that shows ten tokens
// a second still flows, and a chunk this size reads nearly as fast as a full batch.
inline constexpr double kMixedStepNs = 100e6;
inline constexpr int64_t kMinChunk = 8;  // a prompt always moves on

class Scheduler {
 public:
  using Clock = std::function<int64_t()>;  // nanoseconds, monotonic
  Scheduler(Runner& runner, const Tokenizer& tokenizer, Clock clock, SpeculateMode speculate = SpeculateMode::kOff);
  ~Scheduler();

  // The prompt must have been fitted and not be empty. `constraint`: the compiled one of the request, nullptr where it has none.
  void add(GenerateRequest request, int64_t n_truncated, std::shared_ptr<TokenStream::State> channel,
           std::unique_ptr<TokenConstraint> constraint = nullptr);
  // Runs one step. False when there was nothing to do.
  bool step();
  // So much of what the requests in work have waited for was the model being loaded.
  void count_loading(int64_t ns);
  // Ends everything that is queued or running with an error event.
  void fail_all(const std::string& error);

  // A free slot, which is empty, for work beside generation; nullopt where there is none, or where
  // it would be more than half of them while prompts are waiting. It comes back empty.
  std::optional<int32_t> borrow_slot();
  void give_slot_back(int32_t slot);

  // The last step handed out the first text of an answer that goes on.
  bool has_begun_answer() const { return has_begun_answer_; }

  int64_t n_active() const;
  int64_t n_queued() const { return static_cast<int64_t>(queue_.size()); }
  int64_t n_prompt_tokens() const { return n_prompt_tokens_; }        // evaluated so far, in all
  int64_t n_generated_tokens() const { return n_generated_tokens_; }
  int64_t n_drafted_tokens() const { return n_drafted_tokens_; }
  int64_t n_accepted_tokens() const { return n_accepted_tokens_; }

  // A smaller network that guesses for this one from now on; outlives the scheduler.
  void set_draft_model(DraftModel* model) { speculator_.set_draft_model(model); }

 private:
  struct Sequence;
  struct Slot {
    std::vector<int32_t> cached;          // tokens whose keys and values the runner holds for this slot; free: none
    std::unique_ptr<Sequence> sequence;   // nullptr: free
    bool is_borrowed = false;
    bool is_free() const { return sequence == nullptr && !is_borrowed; }
  };

  void drop_cancelled();
  void admit();
  void share_prefixes();
  void build_batch();
  std::vector<Speculator::Answer> plan_drafts();
  void adapt_chunk(int64_t step_ns);
  bool shift_or_stop(Slot& slot);
  void take_results();
  void on_token(Slot& slot, int64_t row);
  int64_t candidates_of(const Sequence& sequence) const;
  int64_t wanted_candidates() const;
  int32_t draw(Sequence& sequence, int64_t row) const;
  void finish(Slot& slot, DoneReason reason, const std::string& error = "");

  Runner& runner_;
  const Tokenizer& tokenizer_;
  MarkTokens mark_tokens_;
  Clock clock_;
  std::deque<std::unique_ptr<Sequence>> queue_;
  std::vector<Slot> slots_;
  std::vector<BatchToken> batch_;
  struct Wanting {
    int slot;
    int32_t draft;  // the token evaluated, where it is a guess; else -1
  };
  std::vector<Wanting> wanting_;  // whose logits the batch asks for, in order
  int64_t n_candidates_ = 0;      // of each row, that the step was asked for
  Speculator speculator_;
  size_t next_prompt_ = 0;        // slot whose prompt is served first
  bool has_begun_answer_ = false;
  bool is_pure_ = false;          // the batch holds nothing but answers' tokens
  bool is_mixed_ = false;         // the batch holds both answers' tokens and a chunk of a prompt
  int64_t n_chunk_ = 64;          // prompt tokens of a mixed step
  int64_t n_prompt_tokens_ = 0;
  int64_t n_generated_tokens_ = 0;
  int64_t n_drafted_tokens_ = 0;
  int64_t n_accepted_tokens_ = 0;
};

}  // namespace olx::engine
