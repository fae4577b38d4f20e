#include "engine/embed/embedder.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "gguf/check.h"

namespace olx::engine {
namespace {

// Tokens of a step while answers are being generated: they wait for it.
constexpr int64_t kSharedChunk = 64;

std::exception_ptr engine_error(ErrorCode code, const std::string& text) { return std::make_exception_ptr(EngineError(code, text)); }

// NaN and infinity are refused: JSON has no word for them, and no comparison a use.
std::vector<float> finished(const std::vector<double>& sum, double n_rows, bool is_normalized) {
  double squares = 0;
  for (double value : sum) squares += value * value;
  if (!std::isfinite(squares)) throw EngineError(ErrorCode::kInternal, "embedding contains NaN or Inf values");
  const double length = is_normalized ? std::sqrt(squares) : n_rows;
  std::vector<float> vector(sum.size());
  for (size_t i = 0; i < sum.size(); ++i) vector[i] = static_cast<float>(length > 0 ? sum[i] / length : 0);
  return vector;
}

}  // namespace

void Embedder::add(std::shared_ptr<EmbedJob> job) {
  auto work = std::make_unique<Work>();
  work->embeddings.resize(job->inputs.size());
  work->job = std::move(job);
  works_.push_back(std::move(work));
}

bool Embedder::step() {
  drop_cancelled();
  begin_parts();
  build_batch();
  if (batch_.empty()) return false;
  // One job alone may be stopped within the step; several wait for its end.
  const Work* only = parts_.front().work;
  for (const Part& part : parts_)
    if (part.n_new > 0 && part.work != only) only = nullptr;
  const std::atomic<bool>* cancel = only == nullptr ? nullptr : &only->job->is_cancelled;
  try {
    if (runner_.forward_hidden(batch_, cancel)) take_results();
  } catch (...) {
    // The step is lost for all that were in it.
    const std::exception_ptr error = std::current_exception();
    std::vector<Work*> lost;
    for (const Part& part : parts_)
      if (part.n_new > 0 && std::find(lost.begin(), lost.end(), part.work) == lost.end()) lost.push_back(part.work);
    for (Work* work : lost) fail(*work, error);
  }
  return true;
}

void Embedder::drop_cancelled() {
  for (size_t i = works_.size(); i-- > 0;)
    if (works_[i]->job->is_cancelled) fail(*works_[i], engine_error(ErrorCode::kCancelled, "the request was abandoned"));
}

// First come, first served, as far as there are slots and a step has room.
void Embedder::begin_parts() {
  size_t n_tokens = 0;
  for (const Part& part : parts_) n_tokens += part.tokens().size() - part.n_read;
  for (const auto& work : works_)
    while (work->n_begun < work->job->inputs.size()) {
      if (n_tokens >= static_cast<size_t>(runner_.options().n_batch)) return;
      const std::optional<int32_t> slot = scheduler_.borrow_slot();
      if (!slot) return;
      runner_.truncate(*slot, 0);
      Part part{.work = work.get(), .index = work->n_begun++, .slot = *slot};
      part.sum.assign(static_cast<size_t>(runner_.config().d_model), 0.0);
      n_tokens += part.tokens().size();
      parts_.push_back(std::move(part));
    }
}

bool Embedder::wants(const Part& part, size_t position) const {
  switch (runner_.config().pooling) {
    case Pooling::kMean: return true;
    case Pooling::kFirst: return position == 0;
    case Pooling::kLast: return position + 1 == part.tokens().size();
  }
  return false;
}

void Embedder::build_batch() {
  batch_.clear();
  const bool is_causal = runner_.config().is_causal;
  auto room = static_cast<size_t>(runner_.options().n_batch);
  if (is_causal && scheduler_.n_active() > 0) room = static_cast<size_t>(std::min<int64_t>(runner_.options().n_batch, kSharedChunk));
  for (Part& part : parts_) {
    const size_t n_left = part.tokens().size() - part.n_read;
    part.n_new = std::min(n_left, room - batch_.size());
    if (!is_causal && part.n_new < n_left) part.n_new = 0;  // every token looks at every other: all in one step
    if (part.n_new == 0) continue;
    // Within n_ctx a sequence that shares nothing always gets room.
    OLX_CHECK(runner_.reserve(part.slot, static_cast<int64_t>(part.n_read + part.n_new)));
    for (size_t i = part.n_read; i < part.n_read + part.n_new; ++i)
      batch_.push_back({part.tokens()[i], part.slot, static_cast<int32_t>(i), wants(part, i), true});
  }
}

void Embedder::take_results() {
  int64_t row = 0;
  for (Part& part : parts_) {
    for (size_t i = part.n_read; i < part.n_read + part.n_new; ++i) {
      if (!wants(part, i)) continue;
      const std::span<const float> hidden = runner_.hidden(row++);
      for (size_t k = 0; k < hidden.size(); ++k) part.sum[k] += static_cast<double>(hidden[k]);
    }
    part.n_read += part.n_new;
    if (part.n_read == part.tokens().size()) finish(part);
  }
  std::erase_if(parts_, [](const Part& part) { return part.n_read == part.tokens().size(); });
  for (size_t i = works_.size(); i-- > 0;) {
    Work& work = *works_[i];
    if (work.error) {
      fail(work, work.error);
    } else if (work.n_done == work.embeddings.size()) {
      work.job->result.set_value(std::move(work.embeddings));
      works_.erase(works_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

void Embedder::finish(const Part& part) {
  Work& work = *part.work;
  release(part);
  try {
    const double n_rows = runner_.config().pooling == Pooling::kMean ? static_cast<double>(part.tokens().size()) : 1.0;
    work.embeddings[part.index] = finished(part.sum, n_rows, work.job->is_normalized);
    ++work.n_done;
  } catch (...) {
    work.error = std::current_exception();
  }
}

void Embedder::release(const Part& part) {
  runner_.truncate(part.slot, 0);
  scheduler_.give_slot_back(part.slot);
}

void Embedder::fail(Work& work, const std::exception_ptr& error) {
  for (const Part& part : parts_)
    if (part.work == &work) release(part);
  std::erase_if(parts_, [&](const Part& part) { return part.work == &work; });
  work.job->result.set_exception(error);
  std::erase_if(works_, [&](const auto& other) { return other.get() == &work; });
}

void Embedder::fail_all(const std::string& error) {
  while (!works_.empty()) fail(*works_.front(), engine_error(ErrorCode::kCancelled, error));
}

}  // namespace olx::engine
