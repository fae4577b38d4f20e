// ollamax-bench: measures, and says on what machine, with which kernels, and whether the result was right.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "bench/kernel_bench.h"
#include "bench/model_bench.h"
#include "bench/peer_bench.h"
#include "bench/roofline.h"
#include "bench/server_bench.h"

constexpr const char* kCpuHelp = "portable, avx2, avxvnni, avx512, amx, neon or i8mm: forces one";

int main(int argc, char** argv) {
  CLI::App app("Measures ollamax on this machine");
  app.require_subcommand(1);

  olx::bench::ModelBenchOptions model;
  std::vector<std::string> model_plugins;
  CLI::App* model_command = app.add_subcommand("model", "Prompt and generation speed of a GGUF file");
  model_command->add_option("FILE", model.path, "a GGUF file")->required();
  model_command->add_option("--prompt", model.n_prompt, "tokens of the prompt")->check(CLI::Range(0, 1 << 20));
  model_command->add_option("--generate", model.n_generate, "tokens to generate")->check(CLI::Range(0, 1 << 20));
  model_command->add_option("--depth", model.n_depth, "tokens cached before")->check(CLI::Range(0, 1 << 20));
  model_command->add_option("--sequences", model.n_sequences, "that generate at the same time; the rate is of all")->check(CLI::Range(1, 64));
  model_command->add_option("--threads", model.n_threads, "threads (0: physical cores)")->check(CLI::Range(0, 1024));
  model_command->add_option("--repeat", model.n_repeat, "counted runs")->check(CLI::Range(1, 1000));
  model_command->add_option("--device", model.device, "a backend: cpu, cuda, hip, reference, …");
  model_command->add_option("--cpu", model.cpu_isa, kCpuHelp);
  model_command->add_option("--plugin", model_plugins, "a shared library with kernels, for OLLAMAX_KERNELS; may be repeated");
  model_command->add_option("--kv-cache-type", model.kv_cache_type, "f32, f16 or q8_0");
  model_command->add_flag("--json", model.is_json, "the report as JSON");
  model_command->add_option("--html", model.html_path, "also a page with plots, here");

  olx::bench::PeerBenchOptions peers;
  CLI::App* peers_command = app.add_subcommand("peers", "Other engines on the same file in the same run");
  peers_command->add_option("FILE", peers.path, "a GGUF file")->required();
  peers_command->add_option("--prompt", peers.n_prompt, "tokens of the prompt")->check(CLI::Range(0, 1 << 20));
  peers_command->add_option("--generate", peers.n_generate, "tokens to generate")->check(CLI::Range(0, 1 << 20));
  peers_command->add_option("--depth", peers.n_depth, "tokens cached before")->check(CLI::Range(0, 1 << 20));
  peers_command->add_option("--sequences", peers.n_sequences, "that generate at the same time; the rate is of all")->check(CLI::Range(1, 64));
  peers_command->add_option("--threads", peers.n_threads, "threads of every engine")->check(CLI::Range(1, 1024));
  peers_command->add_option("--rounds", peers.n_rounds, "runs of each engine, in turn")->check(CLI::Range(1, 1000));
  peers_command->add_option("--device", peers.device, "the backend of ollamax: cpu, cuda, hip, …");
  peers_command->add_option("--cpu", peers.cpu_isa, kCpuHelp);
  peers_command->add_option("--python", peers.python, "interpreter with llama-cpp-python");
  peers_command->add_option("--llama-bench", peers.llama_benches, "a llama-bench and its arguments; may be repeated");
  peers_command->add_flag("--json", peers.is_json, "the report as JSON");
  peers_command->add_option("--html", peers.html_path, "also a page with plots, here");

  olx::bench::KernelBenchOptions kernels;
  CLI::App* kernels_command = app.add_subcommand("kernels", "Every kernel this machine can run: its error, its speed, its share of the machine's limit");
  kernels_command->add_option("--op", kernels.op, "matmul, attention, …, or all")->capture_default_str();
  kernels_command->add_option("--dtype", kernels.dtype, "q4_k, f16, …: of weights or cache");
  kernels_command->add_option("--shape", kernels.shape, "llama-1.1b, mistral-7b, a file like those in bench/shapes, or ROWSxCOLUMNS")->capture_default_str();
  kernels_command->add_option("--tokens", kernels.tokens, "tokens of a step, such as 1,2,4 or 1-16")->capture_default_str();
  kernels_command->add_option("--depth", kernels.n_depth, "positions that attention reads")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  kernels_command->add_option("--seconds", kernels.seconds, "for each figure, about")->check(CLI::Range(0.0, 3600.0))->capture_default_str();
  kernels_command->add_option("--device", kernels.device, "a backend: cpu, cuda, hip, host_simt32, reference, …")->capture_default_str();
  kernels_command->add_option("--threads", kernels.n_threads, "threads (0: physical cores)")->check(CLI::Range(0, 1024));
  kernels_command->add_option("--cpu", kernels.cpu_isa, kCpuHelp);
  kernels_command->add_option("--plugin", kernels.plugins, "a shared library with kernels (kernels/README.md); may be repeated");
  kernels_command->add_flag("--json", kernels.is_json, "the report as JSON");
  kernels_command->add_option("--html", kernels.html_path, "also a page with plots, here");

  olx::bench::ServerBenchOptions server;
  CLI::App* server_command = app.add_subcommand("server", "Many clients at once against a server that is running");
  server_command->add_option("URL", server.url, "http://127.0.0.1:11434")->required();
  server_command->add_option("--model", server.model, "its name there")->required();
  server_command->add_option("--clients", server.clients, "how many at once, such as 1,2,4,8")->capture_default_str();
  server_command->add_option("--prompt", server.n_prompt, "words of a prompt")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  server_command->add_option("--generate", server.n_generate, "tokens to generate")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  server_command->add_option("--requests", server.n_requests, "answers a client asks for")->check(CLI::Range(1, 10000))->capture_default_str();
  server_command->add_flag("--openai", server.is_openai, "/v1/completions, which llama-server has too, instead of Ollama's API");
  server_command->add_flag("--json", server.is_json, "the report as JSON");

  int n_threads = 0;
  bool is_json = false;
  CLI::App* roofline_command = app.add_subcommand("roofline", "What this machine can read and compute at most");
  roofline_command->add_option("--threads", n_threads, "threads (0: physical cores)")->check(CLI::Range(0, 1024));
  roofline_command->add_flag("--json", is_json, "the report as JSON");

  CLI11_PARSE(app, argc, argv);
  try {
    if (*peers_command) return olx::bench::run_peer_bench(peers);
    if (*kernels_command) return olx::bench::run_kernel_bench(kernels);
    if (*server_command) return olx::bench::run_server_bench(server);
    olx::bench::load_plugins(model_plugins);
    if (*model_command) return olx::bench::run_model_bench(model);
    return olx::bench::run_roofline(n_threads, is_json);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "Error: %s\n", error.what());
    return 1;
  }
}
