#pragma once
// `ollamax-bench peers FILE`: other engines on the same file, the same machine, in the same run.
// Each contender is a process of its own; they take turns, so that what the machine does meanwhile
// hits all of them.

#include <string>
#include <vector>

namespace olx::bench {

struct PeerBenchOptions {
  std::string path;
  int n_prompt = 512;
  int n_generate = 64;
  int n_depth = 0;
  int n_sequences = 1;  // that generate at the same time; llama-bench has one
  std::string device = "cpu";  // of ollamax; the peers' is in their own arguments
  std::string cpu_isa;         // of ollamax, forced; empty: the best that the processor has
  int n_threads = 2;
  int n_rounds = 5;
  std::string python =
      "python3";  // an interpreter; llama-cpp-python takes part where it can be imported
  std::vector<std::string> llama_benches;  // "PROGRAM ARGUMENTS": llama-bench of llama.cpp or of a
                                           // fork; one on PATH takes part anyway
  bool is_json = false;
  std::string html_path;  // "": none
};

// Prints medians and ratios. The exit code is not 0 when ollamax computed something wrong or there
// is no peer.
int run_peer_bench(const PeerBenchOptions& options);

}  // namespace olx::bench
