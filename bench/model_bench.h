#pragma once
// `ollamax-bench model FILE`: prompt and generation speed of a whole model, held against the memory's bandwidth.

#include <string>

namespace olx::bench {

struct ModelBenchOptions {
  std::string path;
  std::string device = "cpu";
  std::string cpu_isa;
  std::string kv_cache_type = "f16";
  int n_prompt = 512;
  int n_generate = 64;
  int n_depth = 0;      // positions already cached before either is timed
  int n_sequences = 1;  // that generate at the same time
  int n_threads = 0;    // 0: physical cores
  int n_repeat = 5;
  bool is_json = false;
  std::string html_path;  // "": none
};

// Prints the report; the exit code is not 0 when what was computed is wrong.
int run_model_bench(const ModelBenchOptions& options);

}  // namespace olx::bench
