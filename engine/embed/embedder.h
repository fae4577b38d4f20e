#pragma once
// Embedder: token lists in, one vector each out. It works on slots the scheduler has free, a part at a time, so that
// answers being generated keep flowing. Driven by the engine's thread, in turn with the scheduler: step().
// It does not tokenise, nor cut what is too long.

#include <atomic>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <vector>

#include "engine/model/model_runner.h"
#include "engine/schedule/scheduler.h"

namespace olx::engine {

using Embeddings = std::vector<std::vector<float>>;

struct EmbedJob {
  std::vector<std::vector<int32_t>> inputs;  // none empty, none longer than the context (nor a batch, where not causal)
  bool is_normalized = true;                 // to length 1
  std::atomic<bool> is_cancelled{false};
  std::promise<Embeddings> result;           // in the order of inputs; EngineError where that failed
};

class Embedder {
 public:
  Embedder(ModelRunner& runner, Scheduler& scheduler) : runner_(runner), scheduler_(scheduler) {}

  void add(std::shared_ptr<EmbedJob> job);
  // Runs one step. False when there was nothing to do, or no slot to do it in.
  bool step();
  // Ends everything with an error.
  void fail_all(const std::string& error);
  bool holds_slots() const { return !parts_.empty(); }

 private:
  struct Work {  // a job and what is known of its result
    std::shared_ptr<EmbedJob> job;
    Embeddings embeddings;
    size_t n_begun = 0;
    size_t n_done = 0;
    std::exception_ptr error;
  };
  struct Part {  // an input being read
    Work* work = nullptr;
    size_t index = 0;     // of the input
    int32_t slot = 0;
    size_t n_read = 0;
    size_t n_new = 0;     // tokens of it in this step
    std::vector<double> sum;
    const std::vector<int32_t>& tokens() const { return work->job->inputs[index]; }
  };

  void drop_cancelled();
  void begin_parts();
  void build_batch();
  void take_results();
  void finish(const Part& part);
  void release(const Part& part);
  void fail(Work& work, const std::exception_ptr& error);
  bool wants(const Part& part, size_t position) const;

  ModelRunner& runner_;
  Scheduler& scheduler_;
  std::deque<std::unique_ptr<Work>> works_;
  std::vector<Part> parts_;
  std::vector<BatchToken> batch_;
};

}  // namespace olx::engine
