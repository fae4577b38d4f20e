#include "engine/schedule/speculate.h"

#include <algorithm>
#include <exception>

namespace olx::engine {
namespace {

// What a draft must promise: measured times and shares of hits are uncertain, and a draft in vain
// is felt.
constexpr double kLeastGain = 1.04;
constexpr double kForgetDraftRate =
    0.9995;  // a draft model that was given up is tried again after a thousand tokens

}  // namespace

void Speculation::observe(int32_t token) {
  // Before the first plan() nothing is kept: an answer that is not speculated on costs nothing.
  if (is_reading_) lookup_.observe(token);
  draft_rate_.forget(kForgetDraftRate);
  if (n_expected_hit_ >= expected_.size()) return;
  const bool is_hit = expected_[n_expected_hit_] == token;
  draft_rate_.count(is_hit);
  if (is_hit)
    ++n_expected_hit_;
  else
    expected_.clear();
}

Speculator::Speculator(SpeculateMode mode, int n_columns)
    : mode_(mode), n_columns_(std::min(n_columns, StepCosts::kMaxColumns)) {}

double Speculator::next_chance(const Answer& answer, const Choice& choice) const {
  if (choice.n >= answer.n_room) return 0;
  return choice.chance * (choice.is_model ? answer.state->draft_rate_.rate()
                                          : answer.state->lookup_.chance(choice.n));
}

// Columns are given one by one to the answer where the next one is most likely to hit. The best
// count of them is the one with the most tokens for its time.
Speculator::Plan Speculator::choose(std::span<const Answer> answers, bool with_model) const {
  Plan plan{std::vector<Choice>(answers.size()), 0};
  for (size_t i = 0; with_model && i < answers.size(); ++i) {
    const Answer& answer = answers[i];
    plan.choices[i].is_model =
        model_->has_room(answer.tokens.size() + static_cast<size_t>(n_columns_)) &&
        answer.state->lookup_.chance(0) < answer.state->draft_rate_.rate();
  }
  const auto n_answers = static_cast<int>(answers.size());
  const double alone = costs_.expected(n_answers);
  double n_tokens = n_answers;
  plan.tokens_per_ns = n_tokens / alone * (mode_ == SpeculateMode::kAdaptive ? kLeastGain : 0);
  std::vector<Choice> choices = plan.choices;
  size_t n_rounds = 0;
  for (int n_columns = n_answers + 1; n_columns <= n_columns_; ++n_columns) {
    size_t next = 0;
    double chance = 0;
    for (size_t i = 0; i < answers.size(); ++i)
      if (const double p = next_chance(answers[i], choices[i]); p > chance) {
        chance = p;
        next = i;
      }
    if (chance <= 0) break;
    Choice& choice = choices[next];
    choice.chance = chance;
    ++choice.n;
    n_tokens += chance;
    if (choice.is_model) n_rounds = std::max(n_rounds, choice.n);
    double cost = costs_.expected(n_columns);
    if (n_rounds > 0)
      cost +=
          static_cast<double>(n_rounds) * (model_->round_ns() > 0 ? model_->round_ns() : alone / 4);
    const double rate = n_tokens / cost;
    if (mode_ == SpeculateMode::kAdaptive && rate <= plan.tokens_per_ns) continue;
    plan = {choices, rate};
  }
  return plan;
}

void Speculator::ask_model(std::span<Answer> answers, std::span<const Choice> choices) {
  std::vector<DraftModel::Ask> asks;
  for (size_t i = 0; i < answers.size(); ++i)
    if (choices[i].is_model && choices[i].n > 0)
      asks.push_back({answers[i].sequence, answers[i].tokens, choices[i].n, &answers[i].draft});
  if (asks.empty()) return;
  try {
    model_->guess(asks);
  } catch (const std::exception&) {
    // Guesses are nobody's answer: without them every answer goes on as it is.
    for (const DraftModel::Ask& ask : asks) ask.draft->clear();
    model_->forget_all();
    model_ = nullptr;
  }
}

void Speculator::plan(std::span<Answer> answers) {
  if (!is_on() || answers.empty()) return;
  for (Answer& answer : answers) {
    answer.draft.clear();
    answer.state->expected_.clear();
    answer.state->n_expected_hit_ = 0;
    if (!answer.state->is_reading_) answer.state->lookup_.read(answer.tokens);
    answer.state->is_reading_ = true;
  }
  Plan plan = choose(answers, false);
  // Each answer has one source a step. Which is the better one for all of them together, the times
  // decide.
  if (model_ != nullptr)
    if (Plan other = choose(answers, true);
        mode_ == SpeculateMode::kAlways || other.tokens_per_ns > plan.tokens_per_ns)
      plan = std::move(other);
  const std::vector<Choice>& choices = plan.choices;
  ask_model(answers, choices);
  for (size_t i = 0; i < answers.size(); ++i) {
    Answer& answer = answers[i];
    if (choices[i].is_model)
      answer.state->expected_ = answer.draft;
    else
      answer.state->lookup_.guess(choices[i].n, answer.draft);
  }
}

}  // namespace olx::engine
