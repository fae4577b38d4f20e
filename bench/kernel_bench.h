#pragma once
// `ollamax-bench kernels`: every row of the registry that this machine can run, held to its contract and then timed at
// the sizes of a model, beside what the machine can do.

#include <string>
#include <vector>

namespace olx::bench {

struct KernelBenchOptions {
  std::string op = "matmul";         // or "all"
  std::string dtype;                 // "": all
  std::string shape = "llama-1.1b";  // read_model_shape()
  std::string tokens = "1,2,4,8,16,512";
  std::string device = "cpu";
  std::string cpu_isa;
  std::vector<std::string> plugins;
  int n_threads = 0;
  int n_depth = 1024;
  double seconds = 0.3;  // for one figure, at least
  bool is_json = false;
  std::string html_path;
};

// Prints the report. The exit code is not 0 when a row is wrong: it is named and not timed. Throws std::runtime_error
// when nothing fits the options.
int run_kernel_bench(const KernelBenchOptions& options);

// Adds libraries to OLLAMAX_KERNEL_PLUGINS, which the registry reads when it is first used.
void load_plugins(const std::vector<std::string>& paths);

}  // namespace olx::bench
