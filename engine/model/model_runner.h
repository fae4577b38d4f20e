#pragma once
// ModelRunner: a loaded network with its KV cache: token ids in, logits out. The scheduler is its only caller.
// It knows nothing of text, sampling or requests. One thread at a time may call it.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/cache/prefix_cache.h"
#include "engine/graph/candidates.h"
#include "engine/model/model_config.h"
#include "gguf/reader.h"
#include "kernels/api/backend.h"

namespace olx::engine {

// What a model will take of the system's memory, said before any of it is taken; that of devices with memory of their
// own is not in it.
struct MemoryNeed {
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes = 0;
  uint64_t scratch_bytes = 0;  // an upper bound
  uint64_t total_bytes() const { return weight_bytes + kv_bytes + scratch_bytes; }
};

struct RunnerOptions {
  std::string device = "cpu";  // a row of backends.inc; of its devices one, or as many as it takes (placement.h)
  int main_gpu = -1;           // the one to take, as DeviceInfo::index; none has that index: as if this were not said
  // Of the layers, and the logits as one more, the last so many on devices and the others on the
  // processor; -1: as many as there is memory for. What does not fit after all is tried with fewer,
  // and a line on standard error says so.
  int n_gpu_layers = -1;
  uint64_t gpu_spare_bytes = 0;     // of each device's memory, to be left to others; heeded where n_gpu_layers is -1
  bool is_device_required = true;   // false: where the device or a kernel of it is missing, the processor does all
  // In the place of the backend's, all of them; for tests.
  std::function<std::vector<std::unique_ptr<kernels::Device>>()> open_devices;
  std::string cpu_isa;         // DeviceOptions::cpu_isa
  int n_threads = 0;           // 0: physical cores
  int n_ctx = 4096;            // most positions of one sequence
  int n_sequences = 1;         // sequence ids are 0 .. n_sequences - 1
  int n_batch = 512;           // most tokens of one forward()
  bool makes_embeddings = false;  // forward_hidden() will be called: its plan is made, and counted, at load
  int n_logits_max = 0;        // most tokens of one forward() that may want logits; 0: max(n_sequences, 8)
  gguf::DType kv_dtype = gguf::DType::kF16;  // kF32, kF16 or kQ8_0
  // Weights of at least so many bytes may be left for later (finish_loading()); -1: never.
  int64_t n_deferred_bytes_min = -1;
  // 0..1 while loading, from the opening thread. Returning false abandons the load (EngineError kCancelled).
  std::function<bool(float fraction)> on_progress;
  // Called before memory is allocated, again when that fails and fewer layers are tried; what it throws abandons the load.
  std::function<void(const MemoryNeed&)> on_need;
};

class StagedPlan;

// One token of a step. Tokens of one sequence come in order of position, each position following the cached ones; tokens of
// prompts come behind all others.
struct BatchToken {
  int32_t id = 0;        // [0, vocab_size)
  int32_t sequence = 0;
  int32_t position = 0;
  bool wants_logits = false;
  // Read along with its neighbours, not made one at a time. Kernels may take the two ways differently, but by this and
  // by nothing else in the batch, so that a token gets the same bits however a prompt is cut and whoever else is served.
  bool is_prompt = false;
};

class ModelRunner {
 public:
  // Throws EngineError (kUnsupported, kModelLoad, kOutOfMemory, kCancelled) or gguf::FormatError. The file is only needed
  // during the call, or, where matrices are left for later, until they are loaded: that is done where options allow it,
  // the processor does all, and the system has the file in memory.
  static std::unique_ptr<ModelRunner> open(std::shared_ptr<const gguf::GgufFile> file, const RunnerOptions& options);
  static std::unique_ptr<ModelRunner> open(gguf::GgufFile file, const RunnerOptions& options) {
    return open(std::make_shared<const gguf::GgufFile>(std::move(file)), options);
  }
  ~ModelRunner();

  // Whether all weights are in memory. While they are not, one step that wants output takes them from the file (FileMatmuls);
  // any other has to wait for what finish_loading() does, and fails as that does.
  bool is_loaded() const;
  // Reads what open() has left. Throws as open() does: then it can be called again. on_progress: as RunnerOptions'.
  void finish_loading(const std::function<bool(float fraction)>& on_progress = {});
  // Of the weights, what has its memory but has not used it yet. Any thread may ask.
  uint64_t n_unread_bytes() const;
  // What steps and finish_loading() have spent reading since this was last asked.
  int64_t take_loading_ns();

  const ModelConfig& config() const;
  const RunnerOptions& options() const;  // with defaults resolved (n_threads, n_logits_max)
  std::string device_name() const;       // "AMD EPYC, 2 threads, avx512"
  bool takes_all_processors() const;     // as DeviceInfo's: for a part of a step at least
  uint64_t weight_bytes() const;         // resident, packed
  uint64_t kv_bytes() const;
  uint64_t scratch_bytes() const;
  int64_t n_device_layers() const;   // as RunnerOptions::n_gpu_layers counts
  int64_t n_places() const;          // n_device_layers() of a model that runs on the device alone
  uint64_t device_bytes() const;     // of weights and cache, what is not the processor's
  // A step has failed, and since then a device refuses even to be waited for, or weights cannot be read. Any thread may ask.
  bool is_lost() const;
  int64_t n_kv_pages() const;
  int64_t n_kv_pages_used() const;    // by sequences
  int64_t n_kv_pages_cached() const;  // by nothing but remembered prefixes: room for whoever needs it
  const PrefixCacheStats& prefix_stats() const;
  int64_t n_parameters() const;
  // One line per kind of node: which kernel runs it ("matmul q4_1: matmul_q4_1_avx512 x210").
  std::string describe_plan() const;

  // Runs one step of 1 .. n_batch tokens of any mix of sequences (prefill chunks and decode rows), writing their
  // keys and values. Each token's position must equal n_positions() of its sequence at its turn, and there must be
  // room (reserve()). False when `cancel` became true in between: the step's positions are then not in the cache.
  // DeviceError, or what finish_loading() throws: the step is lost; truncate() its sequences. Ids, sequences and positions out of range, or too many wants_logits, are the caller's mistake (OLX_CHECK).
  // n_candidates, 0 .. n_candidates_max(): so many of the largest logits of each row are found too.
  bool forward(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel = nullptr, int64_t n_candidates = 0);

  // Logits of the i-th token of the last forward() that wanted them: vocab_size values, writable (a sampler may
  // change them in place), valid until the next forward() or forward_hidden().
  std::span<float> logits(int64_t i);
  // 0: the device has no kernel for it.
  int64_t n_candidates_max() const;
  // The n_candidates largest of logits(i), before anybody changed them; as long valid. Found by all threads, and a few lines of a
  // device's memory instead of a vocabulary's.
  CandidateRow candidates(int64_t i) const;

  // As forward(), but up to the hidden states behind the last norm, of which every token may want one (wants_logits).
  // Where it was not made at load (RunnerOptions::makes_embeddings), the first call makes a plan and takes its memory:
  // EngineError(kOutOfMemory) where there is none.
  bool forward_hidden(std::span<const BatchToken> tokens, const std::atomic<bool>* cancel = nullptr);
  // Hidden state of the i-th token of the last forward_hidden() that wanted one: d_model values.
  std::span<const float> hidden(int64_t i) const;

  // --- the cache ---
  int64_t n_positions(int32_t sequence) const;  // cached positions: 0 .. n_positions - 1
  // Makes sure positions [0, n_positions) of the sequence have pages. False: the pool is exhausted or n_ctx reached.
  // The pool holds n_sequences * n_ctx positions, so a sequence within n_ctx always gets room; remembered prefixes go.
  bool reserve(int32_t sequence, int64_t n_positions);
  // Forgets positions >= n_positions (0: everything).
  void truncate(int32_t sequence, int64_t n_positions);
  // Makes the sequence (emptied first) begin with as many of `tokens` as are remembered, and says how many.
  int64_t attach_prefix(int32_t sequence, std::span<const int32_t> tokens);
  // Remembers the first positions of the sequence, which must be these tokens, until their pages are needed. A sequence
  // that will go on (not is_final) keeps its last page to itself until it is full.
  void keep_prefix(int32_t sequence, std::span<const int32_t> tokens, bool is_final);
  // There is no in-place context shift: cached keys carry their absolute rotation, and a sliding-window model has
  // more than one rotation per position. To shift, truncate(sequence, n_keep) and forward() the kept tail again:
  // exact, at the cost of one prefill of the tail.

 private:
  struct Impl;
  bool loads_for_step(const std::atomic<bool>* cancel);
  bool run(StagedPlan& plan, int64_t n_outputs_max, std::span<const BatchToken> tokens, const std::atomic<bool>* cancel, int64_t n_candidates);
  explicit ModelRunner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace olx::engine
