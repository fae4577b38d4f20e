#pragma once
// `ollamax-bench server URL --model NAME`: many clients at once against a server that is running, over Ollama's API or
// OpenAI's, and how its speed divides among them.

#include <string>

namespace olx::bench {

struct ServerBenchOptions {
  std::string url, model;
  std::string clients = "1,2,4,8";  // parse_counts()
  int n_prompt = 128;               // words
  int n_generate = 64;
  int n_requests = 3;               // of each client, one after the other
  bool is_openai = false;           // POST /v1/completions instead of /api/generate
  bool is_json = false;
};

// Prints the report. Throws std::runtime_error when an answer fails or is not whole: there are no figures then.
int run_server_bench(const ServerBenchOptions& options);

}  // namespace olx::bench
