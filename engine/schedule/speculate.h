#pragma once
// Speculation: tokens guessed ahead, which the network then verifies in one step instead of making
// them one by one. The scheduler draws every token from the network's own distribution and keeps
// guesses only as long as they are what was drawn, so text and random numbers are those of an
// answer without speculation. This decides what to guess, and how much: as many tokens as pay, by
// the guesses' hits and the steps' times so far; none where they do not. Used by the scheduler
// alone, in its thread.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/schedule/draft_model.h"
#include "engine/schedule/prompt_lookup.h"
#include "engine/schedule/step_costs.h"

namespace olx::engine {

// What is remembered of one answer.
class Speculation {
 public:
  // Tells the next token of the text, whether it was guessed or not.
  void observe(int32_t token);

 private:
  friend class Speculator;
  PromptLookup lookup_;
  bool is_reading_ = false;        // lookup_ has seen the text so far
  HitRate draft_rate_{0.6, 4};     // of the draft model
  std::vector<int32_t> expected_;  // what the draft model guessed last
  size_t n_expected_hit_ = 0;
};

class Speculator {
 public:
  // n_columns: tokens of a step that may be verified or generated together.
  Speculator(SpeculateMode mode, int n_columns);
  void set_draft_model(DraftModel* model) { model_ = model; }

  bool is_on() const { return mode_ != SpeculateMode::kOff && n_columns_ > 1; }

  struct Answer {
    Speculation* state = nullptr;
    int32_t sequence = 0;
    std::span<const int32_t> tokens;  // the last of them is evaluated in this step
    size_t n_room = 0;                // guesses at most
    std::vector<int32_t> draft;       // the result
  };
  // Fills the drafts of the answers of one step. An empty one costs a step nothing.
  void plan(std::span<Answer> answers);
  // A step of so many generated tokens, and nothing else, took so long.
  void count_step(int n_columns, int64_t ns) { costs_.count(n_columns, ns); }

 private:
  struct Choice {  // of one answer
    bool is_model = false;
    size_t n = 0;
    double chance = 1;  // that all n hit
  };
  double next_chance(const Answer& answer, const Choice& choice) const;
  struct Plan {
    std::vector<Choice> choices;
    double tokens_per_ns = 0;
  };
  Plan choose(std::span<const Answer> answers, bool with_model) const;
  void ask_model(std::span<Answer> answers, std::span<const Choice> choices);

  SpeculateMode mode_;
  int n_columns_;
  DraftModel* model_ = nullptr;
  StepCosts costs_;
};

}  // namespace olx::engine
