#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <exception>

#include "engine/error.h"
#include "gguf/check.h"

namespace olx::engine {

struct Scheduler::Sequence {
  Sequence(GenerateRequest r, std::shared_ptr<TokenStream::State> c, const Tokenizer& tokenizer, int64_t n_ctx)
      : request(std::move(r)), channel(std::move(c)), sampler(request.sampling, n_ctx),
        detokenizer(tokenizer, request.stop, false), tokens(request.prompt_tokens) {
    for (int32_t token : tokens) sampler.accept(token);
  }
  GenerateRequest request;
  std::shared_ptr<TokenStream::State> channel;
  Sampler sampler;
  Detokenizer detokenizer;
  Speculation speculation;
  std::unique_ptr<TokenConstraint> constraint;  // nullptr: any token may come
  std::vector<int32_t> marks;                   // control tokens that are text, sorted
  std::vector<int32_t> tokens;        // all that must be in the cache before the next is drawn
  bool is_generating = false;         // the prompt is through
  GenerateStats stats;
  int64_t added_ns = 0;
  int64_t started_ns = 0;
  int64_t generating_ns = 0;          // when the first token was drawn
  bool has_sent = false;              // text of the answer
  std::vector<int32_t> unsent;        // ids whose text is still held back
  std::vector<TokenLogprob> unsent_logprobs;
};

FittedPrompt fit_prompt(std::vector<int32_t> tokens, int64_t n_ctx, int n_keep, bool may_truncate) {
  // One position must be left for the first token of the answer.
  if (static_cast<int64_t>(tokens.size()) < n_ctx) return {std::move(tokens), 0};
  if (!may_truncate)
    throw EngineError(ErrorCode::kContextTooLong,
                      "the prompt is longer than the context length currently available to the model; shorten the prompt, "
                      "adjust the context length in settings, or use a model with a longer context length");
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  const int64_t keep = std::clamp<int64_t>(n_keep < 0 ? n_tokens : n_keep, 0, std::max<int64_t>(n_ctx - 4, 0));
  const int64_t total = std::max<int64_t>(n_ctx - std::max<int64_t>((n_ctx - keep) / 2, 1), 1);
  const int64_t tail = std::max<int64_t>(total - keep, 1);
  FittedPrompt fitted;
  fitted.tokens.assign(tokens.begin(), tokens.begin() + keep);
  fitted.tokens.insert(fitted.tokens.end(), tokens.end() - tail, tokens.end());
  fitted.n_truncated = n_tokens - static_cast<int64_t>(fitted.tokens.size());
  return fitted;
}

Scheduler::Scheduler(Runner& runner, const Tokenizer& tokenizer, Clock clock, SpeculateMode speculate)
    : runner_(runner),
      tokenizer_(tokenizer),
      mark_tokens_(tokenizer),
      clock_(std::move(clock)),
      slots_(static_cast<size_t>(runner.n_sequences())),
      speculator_(speculate, std::min(runner.n_logits(), runner.n_batch())) {
  batch_.reserve(static_cast<size_t>(runner.n_batch()));
}

Scheduler::~Scheduler() { fail_all("the model was unloaded"); }

void Scheduler::add(GenerateRequest request, int64_t n_truncated, std::shared_ptr<TokenStream::State> channel,
                    std::unique_ptr<TokenConstraint> constraint) {
  OLX_CHECK(!request.prompt_tokens.empty() && static_cast<int64_t>(request.prompt_tokens.size()) < runner_.n_ctx());
  auto sequence = std::make_unique<Sequence>(std::move(request), std::move(channel), tokenizer_, runner_.n_ctx());
  sequence->marks = mark_tokens_.of(sequence->request.marks);
  if (constraint) {
    constraint->set_marks(sequence->marks);
    sequence->constraint = std::move(constraint);
  }
  sequence->stats.n_truncated_tokens = n_truncated;
  sequence->stats.n_prompt_tokens = static_cast<int64_t>(sequence->tokens.size());
  sequence->added_ns = clock_();
  queue_.push_back(std::move(sequence));
}

int64_t Scheduler::n_active() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.sequence != nullptr; });
}

std::optional<int32_t> Scheduler::borrow_slot() {
  const auto n_borrowed = static_cast<size_t>(std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.is_borrowed; }));
  if (!queue_.empty() && n_borrowed > 0 && 2 * (n_borrowed + 1) > slots_.size()) return std::nullopt;
  const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.is_free(); });
  if (free == slots_.end()) return std::nullopt;
  free->is_borrowed = true;
  return static_cast<int32_t>(free - slots_.begin());
}

void Scheduler::give_slot_back(int32_t index) { slots_[static_cast<size_t>(index)].is_borrowed = false; }

bool Scheduler::step() {
  has_begun_answer_ = false;
  drop_cancelled();
  admit();
  build_batch();
  if (batch_.empty()) return n_active() > 0;
  // With one request in the batch its cancellation may stop the step itself; with several it waits for the step's end.
  const std::atomic<bool>* cancel = nullptr;
  int n_in_batch = 0;
  Slot* only = nullptr;
  for (size_t i = 0; i < batch_.size(); ++i)
    if (i == 0 || batch_[i].sequence != batch_[i - 1].sequence) {
      ++n_in_batch;
      only = &slots_[static_cast<size_t>(batch_[i].sequence)];
    }
  if (n_in_batch == 1) cancel = &only->sequence->channel->is_cancelled;
  try {
    const int64_t begun_ns = clock_();
    n_candidates_ = wanted_candidates();
    const bool is_done = n_candidates_ > 0 ? runner_.forward_candidates(batch_, n_candidates_, cancel) : runner_.forward(batch_, cancel);
    if (!is_done) return true;  // cancelled: the next step drops it; nothing was cached
    const int64_t step_ns = clock_() - begun_ns;
    if (is_mixed_) adapt_chunk(step_ns);
    if (is_pure_) speculator_.count_step(static_cast<int>(batch_.size()), step_ns);
    take_results();
  } catch (const std::exception& error) {
    // The step is lost for all that were in it, and so is what they had cached; the others go on.
    for (const BatchToken& token : batch_) {
      Slot& slot = slots_[static_cast<size_t>(token.sequence)];
      runner_.truncate(token.sequence, 0);
      slot.cached.clear();
      if (slot.sequence) finish(slot, DoneReason::kError, error.what());
    }
  }
  return true;
}

void Scheduler::drop_cancelled() {
  for (Slot& slot : slots_)
    if (slot.sequence && slot.sequence->channel->is_cancelled) finish(slot, DoneReason::kCancelled);
  std::erase_if(queue_, [](const auto& sequence) {
    if (!sequence->channel->is_cancelled) return false;
    sequence->channel->push({.done = DoneReason::kCancelled});
    return true;
  });
}

// First come, first served. What a request begins with and the runner remembers is not evaluated again.
void Scheduler::admit() {
  const auto is_free = [](const Slot& slot) { return slot.is_free(); };
  if (!queue_.empty() && std::any_of(slots_.begin(), slots_.end(), is_free)) share_prefixes();
  while (!queue_.empty()) {
    const auto free = std::find_if(slots_.begin(), slots_.end(), is_free);
    if (free == slots_.end()) return;
    Slot& slot = *free;
    slot.sequence = std::move(queue_.front());
    queue_.pop_front();
    Sequence& sequence = *slot.sequence;
    // The last token is always evaluated: its logits are wanted.
    const std::span<const int32_t> reusable(sequence.tokens.data(), sequence.tokens.size() - 1);
    const int64_t n_cached = runner_.attach_prefix(static_cast<int32_t>(&slot - slots_.data()), reusable);
    slot.cached.assign(reusable.begin(), reusable.begin() + n_cached);
    sequence.started_ns = clock_();
    sequence.stats.queue_ns = sequence.started_ns - sequence.added_ns;
    sequence.stats.n_cached_tokens = n_cached;
    if (sequence.request.n_predict == 0) finish(slot, DoneReason::kLength);
  }
}

// What is being read or answered now may be what a waiting request begins with.
void Scheduler::share_prefixes() {
  for (const Slot& slot : slots_)
    if (slot.sequence) runner_.keep_prefix(static_cast<int32_t>(&slot - slots_.data()), slot.cached, false);
}

void Scheduler::build_batch() {
  batch_.clear();
  wanting_.clear();
  const auto full = static_cast<size_t>(runner_.n_batch());
  const auto put = [&](size_t index, size_t n, bool is_prompt, std::span<const int32_t> draft) {
    Slot& slot = slots_[index];
    const size_t from = slot.cached.size();
    const auto sequence = static_cast<int32_t>(index);
    if (!draft.empty() && !runner_.reserve(sequence, static_cast<int64_t>(from + n + draft.size()))) draft = {};
    if (!runner_.reserve(sequence, static_cast<int64_t>(from + n))) {
      finish(slot, DoneReason::kError, "the key-value cache has no room left");
      return;
    }
    const std::vector<int32_t>& tokens = slot.sequence->tokens;
    for (size_t i = from; i < from + n; ++i)
      batch_.push_back({tokens[i], sequence, static_cast<int32_t>(i), i + 1 == tokens.size(), is_prompt});
    if (from + n == tokens.size()) wanting_.push_back({sequence, -1});
    for (size_t i = 0; i < draft.size(); ++i) {
      batch_.push_back({draft[i], sequence, static_cast<int32_t>(tokens.size() + i), true, false});
      wanting_.push_back({sequence, draft[i]});
    }
  };
  const std::vector<Speculator::Answer> drafts = plan_drafts();
  const auto draft_of = [&](size_t index) -> std::span<const int32_t> {
    for (const Speculator::Answer& answer : drafts)
      if (static_cast<size_t>(answer.sequence) == index) return answer.draft;
    return {};
  };
  // One token of each answer first, and what is guessed to follow it ...
  for (size_t i = 0; i < slots_.size() && batch_.size() < full; ++i) {
    Slot& slot = slots_[i];
    if (!slot.sequence || !slot.sequence->is_generating) continue;
    if (static_cast<int64_t>(slot.sequence->tokens.size()) > runner_.n_ctx() && !shift_or_stop(slot)) continue;
    if (slot.sequence->tokens.size() - slot.cached.size() == 1) put(i, 1, false, draft_of(i));
  }
  // ... then prompts (and tails after a shift) in turn, until the batch is full or, where answers wait for this step,
  // until it has what it can read in time.
  const size_t n_generating = batch_.size();
  const size_t room = n_generating == 0 ? full : std::min(full, n_generating + static_cast<size_t>(n_chunk_));
  const size_t first = next_prompt_;
  for (size_t k = 0; k < slots_.size() && batch_.size() < room; ++k) {
    const size_t i = (first + k) % slots_.size();
    Slot& slot = slots_[i];
    if (!slot.sequence) continue;
    const size_t pending = slot.sequence->tokens.size() - slot.cached.size();
    if (slot.sequence->is_generating && pending <= 1) continue;
    if (next_prompt_ == first) next_prompt_ = (i + 1) % slots_.size();
    put(i, std::min(pending, room - batch_.size()), true, {});
  }
  is_mixed_ = n_generating > 0 && batch_.size() > n_generating;
  is_pure_ = n_generating > 0 && !is_mixed_;
}

// What the answers of this step are guessed to go on with. Nothing where a prompt waits too: its chunk fills the step.
std::vector<Speculator::Answer> Scheduler::plan_drafts() {
  std::vector<Speculator::Answer> answers;
  if (!speculator_.is_on()) return answers;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.sequence) continue;
    Sequence& sequence = *slot.sequence;
    const auto n_tokens = static_cast<int64_t>(sequence.tokens.size());
    if (!sequence.is_generating || n_tokens != static_cast<int64_t>(slot.cached.size()) + 1 || n_tokens > runner_.n_ctx()) return {};
    // Every guess that holds is a token of the answer, and one more is drawn behind the last.
    int64_t n_room = runner_.n_ctx() - n_tokens;
    if (sequence.request.n_predict >= 0)
      n_room = std::min(n_room, sequence.request.n_predict - sequence.stats.n_generated_tokens - 1);
    if (sequence.request.n_draft_max >= 0) n_room = std::min<int64_t>(n_room, sequence.request.n_draft_max);
    answers.push_back({&sequence.speculation, static_cast<int32_t>(i), sequence.tokens, static_cast<size_t>(std::max<int64_t>(n_room, 0)), {}});
  }
  speculator_.plan(answers);
  return answers;
}

// A step that answers wait for should take kMixedStepNs: the prompt's share of it grows or shrinks towards that.
void Scheduler::adapt_chunk(int64_t step_ns) {
  const double factor = std::clamp(kMixedStepNs / static_cast<double>(std::max<int64_t>(step_ns, 1)), 0.5, 2.0);
  const auto wanted = static_cast<int64_t>(static_cast<double>(n_chunk_) * factor);
  n_chunk_ = std::clamp<int64_t>(wanted, kMinChunk, std::max<int64_t>(runner_.n_batch(), kMinChunk));
}

// The context is full: keep the first n_keep tokens and the later half of the rest, which is evaluated again.
bool Scheduler::shift_or_stop(Slot& slot) {
  Sequence& sequence = *slot.sequence;
  if (!sequence.request.may_shift) {
    finish(slot, DoneReason::kLength);
    return false;
  }
  const int64_t n_tokens = static_cast<int64_t>(sequence.tokens.size()), n_ctx = runner_.n_ctx();
  const int64_t wanted = sequence.request.n_keep < 0 ? sequence.stats.n_prompt_tokens : sequence.request.n_keep;
  const int64_t keep = std::clamp<int64_t>(wanted, 0, std::max<int64_t>(n_ctx - 4, 0));
  const int64_t discard = std::max<int64_t>((n_tokens - keep) / 2, 1);
  sequence.tokens.erase(sequence.tokens.begin() + keep, sequence.tokens.begin() + keep + discard);
  slot.cached.resize(static_cast<size_t>(keep));
  runner_.truncate(static_cast<int32_t>(&slot - slots_.data()), keep);
  return true;
}

void Scheduler::take_results() {
  for (const BatchToken& token : batch_) {
    Slot& slot = slots_[static_cast<size_t>(token.sequence)];
    if (token.position >= static_cast<int64_t>(slot.sequence->tokens.size())) continue;  // a guess
    slot.cached.push_back(token.id);
    if (!slot.sequence->is_generating) ++n_prompt_tokens_;
  }
  int rejecting = -1;  // the slot whose guesses do not hold any more
  for (size_t i = 0; i < wanting_.size(); ++i) {
    const auto [index, draft] = wanting_[i];
    Slot& slot = slots_[static_cast<size_t>(index)];
    if (!slot.sequence) continue;
    if (draft >= 0) {
      ++n_drafted_tokens_;
      ++slot.sequence->stats.n_drafted_tokens;
      if (index == rejecting) continue;
      // The token before this one was drawn as without speculation. Where it is the one guessed, this row's logits are those
      // that follow it; where it is not, they belong to another text.
      if (slot.sequence->tokens.back() != draft) {
        rejecting = index;
        runner_.truncate(index, static_cast<int64_t>(slot.cached.size()));
        continue;
      }
      ++n_accepted_tokens_;
      ++slot.sequence->stats.n_accepted_tokens;
      slot.cached.push_back(draft);
    }
    on_token(slot, static_cast<int64_t>(i));
  }
}

// A token under the request's constraint. It is drawn from all tokens first and drawn again from the allowed ones only where
// it is not allowed: most of the time the model writes what it is asked for, and then no mask is computed. For a draw from the
// whole distribution the two ways are the same: p(x) + (1 - p(allowed)) p(x) / p(allowed) = p(x) / p(allowed). With top_k,
// top_p and the like it is a mixture of two narrowed distributions, the one narrowed before and the one after masking; both
// hold allowed tokens only, in the model's own proportions. At temperature 0 it is the best allowed token either way.
int32_t Scheduler::draw(Sequence& sequence, int64_t row) const {
  // No token means anything then, at any temperature: weights that are no numbers, or sums beyond the arithmetic's range.
  // -inf is a token that a model rules out.
  const auto check_peak = [](float peak) {
    if (!std::isfinite(peak))
      throw EngineError(ErrorCode::kInternal, "the model's output holds values that are no numbers (NaN or infinity)");
  };
  if (n_candidates_ > 0 && candidates_of(sequence) > 0) {
    const CandidateRow candidates = runner_.candidates(row);
    check_peak(candidates.logits[0]);
    return sequence.sampler.sample_candidates(candidates.logits, candidates.ids);
  }
  const std::span<float> logits = runner_.logits(row);
  float peak = -INFINITY;
  bool has_nan = false;
  for (const float logit : logits) {
    peak = std::max(peak, logit);
    has_nan |= std::isnan(logit);
  }
  check_peak(has_nan ? NAN : peak);
  int32_t token = sequence.sampler.sample(logits);
  TokenConstraint* constraint = sequence.constraint.get();
  if (constraint == nullptr) return token;
  if (!constraint->allows(token)) {
    if (!constraint->mask(logits)) throw EngineError(ErrorCode::kInternal, constraint->dead_end());
    token = sequence.sampler.sample_again(logits);
    // Logits that are not numbers leave nothing to draw.
    if (!constraint->allows(token)) throw EngineError(ErrorCode::kInternal, constraint->dead_end());
  }
  constraint->accept(token);
  return token;
}

// How many of the largest logits a token of this answer is drawn from; 0: all are looked at.
int64_t Scheduler::candidates_of(const Sequence& sequence) const {
  if (sequence.constraint || sequence.request.n_logprobs >= 0) return 0;
  const int64_t n = sequence.sampler.n_candidates();
  return n <= runner_.n_candidates_max() ? n : 0;
}

int64_t Scheduler::wanted_candidates() const {
  int64_t n = 0;
  for (const Wanting& wanting : wanting_)
    if (const Slot& slot = slots_[static_cast<size_t>(wanting.slot)]; slot.sequence) n = std::max(n, candidates_of(*slot.sequence));
  return n;
}

void Scheduler::on_token(Slot& slot, int64_t row) {
  Sequence& sequence = *slot.sequence;
  if (!sequence.is_generating) {
    sequence.is_generating = true;
    sequence.generating_ns = clock_();
    sequence.stats.prompt_ns = sequence.generating_ns - sequence.started_ns;
  }
  std::vector<float> raw;
  if (sequence.request.n_logprobs >= 0) {
    const std::span<const float> logits = runner_.logits(row);
    raw.assign(logits.begin(), logits.end());
  }
  int32_t token = 0;
  try {
    token = draw(sequence, row);
  } catch (const EngineError& error) {
    return finish(slot, DoneReason::kError, error.what());  // of this answer alone: the step was sound
  }
  sequence.sampler.accept(token);
  ++sequence.stats.n_generated_tokens;
  ++n_generated_tokens_;
  const bool ends = tokenizer_.is_end_of_generation(token) && (!sequence.request.ignore_eos || sequence.constraint);
  if (ends) return finish(slot, DoneReason::kStop);
  const bool is_mark = std::binary_search(sequence.marks.begin(), sequence.marks.end(), token);
  if (sequence.request.n_logprobs >= 0) {
    const Logprobs logprobs = log_probabilities(raw, token, sequence.request.n_logprobs);
    TokenLogprob entry{tokenizer_.token_bytes(token, is_mark), token, logprobs.chosen, {}};
    for (const auto& [id, logprob] : logprobs.top) entry.top.push_back({tokenizer_.token_bytes(id), id, logprob});
    sequence.unsent_logprobs.push_back(std::move(entry));
  }
  sequence.tokens.push_back(token);
  sequence.speculation.observe(token);
  sequence.unsent.push_back(token);
  Detokenizer::Piece piece = sequence.detokenizer.push(token, is_mark);
  bool is_first = false;
  if (!piece.text.empty()) {
    TokenEvent event;
    event.text = std::move(piece.text);
    event.tokens.swap(sequence.unsent);
    event.logprobs.swap(sequence.unsent_logprobs);
    sequence.channel->push(std::move(event));
    is_first = !std::exchange(sequence.has_sent, true);
  }
  if (piece.stopped || (sequence.constraint && sequence.constraint->is_complete())) return finish(slot, DoneReason::kStop);
  const int n_predict = sequence.request.n_predict;
  if (n_predict >= 0 && sequence.stats.n_generated_tokens >= n_predict) return finish(slot, DoneReason::kLength);
  has_begun_answer_ = has_begun_answer_ || is_first;
}

void Scheduler::finish(Slot& slot, DoneReason reason, const std::string& error) {
  Sequence& sequence = *slot.sequence;
  TokenEvent event;
  if (reason != DoneReason::kCancelled) event.text = sequence.detokenizer.flush();
  event.tokens = std::move(sequence.unsent);
  event.logprobs = std::move(sequence.unsent_logprobs);
  event.done = reason;
  event.error = error;
  if (sequence.is_generating) sequence.stats.generate_ns = clock_() - sequence.generating_ns;
  event.stats = sequence.stats;
  sequence.channel->push(std::move(event));
  slot.sequence.reset();
  // Whoever goes on with this text gets its keys and values back, in whichever slot. Guesses behind its end are dropped.
  const auto index = static_cast<int32_t>(&slot - slots_.data());
  runner_.keep_prefix(index, slot.cached, true);
  runner_.truncate(index, 0);
  slot.cached.clear();
}

void Scheduler::count_loading(int64_t ns) {
  for (Slot& slot : slots_) {
    if (!slot.sequence) continue;
    Sequence& sequence = *slot.sequence;
    sequence.stats.load_ns += ns;
    (sequence.is_generating ? sequence.generating_ns : sequence.started_ns) += ns;
  }
}

void Scheduler::fail_all(const std::string& error) {
  for (Slot& slot : slots_)
    if (slot.sequence) finish(slot, DoneReason::kError, error);
  for (auto& sequence : queue_) {
    TokenEvent event;
    event.done = DoneReason::kError;
    event.error = error;
    sequence->channel->push(std::move(event));
  }
  queue_.clear();
}

}  // namespace olx::engine
