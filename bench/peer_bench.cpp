#include "bench/peer_bench.h"

#include <boost/json.hpp>
#include <boost/process.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "bench/embedded.h"
#include "bench/html_report.h"
#include "bench/json_fields.h"
#include "bench/machine.h"
#include "bench/statistics.h"

namespace olx::bench {
namespace {

namespace json = boost::json;
namespace process = boost::process;

struct Speeds {
  std::string name;   // "": as it was called
  double prompt = 0;  // tokens a second
  double generate = 0;
  double start_s = 0;  // from opening the file to the first token; 0: not told
  double start_peak_mb = 0;
};

struct Contender {
  std::vector<std::string> command;
  Speeds (*read)(const std::string& output);
  std::string name;
  std::vector<double> prompt{}, generate{}, start_s{}, start_peak_mb{};
  bool has_failed = false;
};

// Standard output of a program that is found as a shell finds it. Throws when it does not end well.
std::string run(std::vector<std::string> command) {
  const std::string name = command.front();
  process::ipstream output;
  process::child child("/usr/bin/env", process::args(std::move(command)), process::std_out > output,
                       process::std_err > process::null);
  std::ostringstream text;
  text << output.rdbuf();
  child.wait();
  if (child.exit_code() != 0)
    throw std::runtime_error(name + " ended with exit code " + std::to_string(child.exit_code()));
  return text.str();
}

bool succeeds(std::vector<std::string> command) {
  try {
    run(std::move(command));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

Speeds read_own(const std::string& output) {
  const json::value report = json::parse(output);
  if (!report.at("is_correct").as_bool())
    throw std::runtime_error("ollamax computed different logits from run to run");
  return {"", number(report, "prompt_tokens_per_second"),
          number(report, "generate_tokens_per_second"), number(report, "start_seconds"),
          number(report, "start_peak_memory_bytes") / 1e6};
}

Speeds read_llama_cpp_python(const std::string& output) {
  const json::value report = json::parse(output);
  return {std::string(report.at("name").as_string()), number(report, "prompt_tokens_per_second"),
          number(report, "generate_tokens_per_second"), number(report, "start_seconds"),
          number(report, "start_peak_memory_bytes") / 1e6};
}

// One record for the prompt and one for the generation.
Speeds read_llama_bench(const std::string& output) {
  Speeds speeds;
  const json::value records = json::parse(output);
  for (const json::value& record : records.as_array())
    (number(record, "n_gen") > 0 ? speeds.generate : speeds.prompt) = number(record, "avg_ts");
  return speeds;
}

Contender own(const PeerBenchOptions& options) {
  const auto text = [](int n) { return std::to_string(n); };
  std::vector<std::string> command{std::filesystem::read_symlink("/proc/self/exe").string(), "model", options.path,
                                   "--prompt", text(options.n_prompt), "--generate", text(options.n_generate),
                                   "--depth", text(options.n_depth), "--sequences", text(options.n_sequences),
                                   "--threads", text(options.n_threads), "--device", options.device, "--repeat", "1", "--json"};
  if (!options.cpu_isa.empty()) command.insert(command.end(), {"--cpu", options.cpu_isa});
  return {std::move(command), read_own, "ollamax" + (options.cpu_isa.empty() ? "" : " " + options.cpu_isa)};
}

std::optional<Contender> llama_cpp_python(const PeerBenchOptions& options) {
  if (!succeeds({options.python, "-c", "import llama_cpp, numpy"})) return std::nullopt;
  return Contender{{options.python, "-c", std::string(k_llama_cpp_python_py), options.path,
                    std::to_string(options.n_prompt), std::to_string(options.n_generate),
                    std::to_string(options.n_depth), std::to_string(options.n_threads),
                     std::to_string(options.n_sequences)},
                   read_llama_cpp_python,
                   "llama-cpp-python"};
}

Contender llama_bench(const std::string& text, const PeerBenchOptions& options) {
  std::istringstream stream(text);
  std::vector<std::string> command{std::istream_iterator<std::string>(stream), {}};
  const auto number = [](int n) { return std::to_string(n); };
  std::vector<std::string> work{"-p", number(options.n_prompt), "-n", number(options.n_generate)};
  if (options.n_depth > 0) {
    std::vector<std::string> help = command;
    help.emplace_back("--help");
    // Forks of before its -d time a generation behind a prompt instead, and no prompt at a depth.
    if (run(help).find("--n-depth") != std::string::npos) work.insert(work.end(), {"-d", number(options.n_depth)});
    else work = {"-p", "0", "-n", "0", "-gp", number(options.n_depth) + "," + number(options.n_generate)};
  }
  command.insert(command.end(), {"-m", options.path, "-t", number(options.n_threads), "-r", "1", "-o", "json"});
  command.insert(command.end(), work.begin(), work.end());
  return {command, read_llama_bench, text};
}

std::vector<Contender> contenders_of(const PeerBenchOptions& options) {
  std::vector<Contender> contenders{own(options)};
  if (auto peer = llama_cpp_python(options)) contenders.push_back(std::move(*peer));
  std::vector<std::string> benches = options.llama_benches;
  if (benches.empty() && succeeds({"llama-bench", "--help"})) benches.emplace_back("llama-bench");
  if (options.n_sequences > 1) benches.clear();
  for (const std::string& bench : benches) contenders.push_back(llama_bench(bench, options));
  return contenders;
}

// "| figure ± spread | ratio " of what an engine was asked for and told, a dash for what it was not.
std::string cells(const json::value& row, const char* figure, const char* spread, const char* ratio) {
  if (number(row, figure) <= 0) return "| – | – ";
  char text[96];
  std::snprintf(text, sizeof(text), "| %.*f ± %.*f | %.2f x ", number(row, figure) < 10 ? 2 : 1, number(row, figure),
                number(row, figure) < 10 ? 2 : 1, number(row, spread), number(row, ratio));
  return text;
}

}  // namespace

int run_peer_bench(const PeerBenchOptions& options) {
  std::vector<Contender> contenders = contenders_of(options);
  if (contenders.size() < 2)
    throw std::runtime_error(
        "no peer found: install llama-cpp-python for " + options.python +
        " (or name another interpreter with --python), or name a llama-bench with --llama-bench");
  for (int round = 0; round < options.n_rounds; ++round)
    for (size_t i = 0; i < contenders.size(); ++i) {
      Contender& contender = contenders[i];
      if (contender.has_failed) continue;
      std::fprintf(stderr, "round %d of %d: %s\n", round + 1, options.n_rounds,
                   contender.name.c_str());
      try {
        const Speeds speeds = contender.read(run(contender.command));
        if (!speeds.name.empty()) contender.name = speeds.name;
        contender.prompt.push_back(speeds.prompt);
        contender.generate.push_back(speeds.generate);
        contender.start_s.push_back(speeds.start_s);
        contender.start_peak_mb.push_back(speeds.start_peak_mb);
      } catch (const std::exception& error) {
        if (i == 0) throw;
        std::fprintf(stderr, "%s is left out: %s\n", contender.name.c_str(), error.what());
        contender.has_failed = true;
      }
    }
  std::erase_if(contenders, [](const Contender& contender) { return contender.has_failed; });
  if (contenders.size() < 2) throw std::runtime_error("every peer failed");

  const double own_prompt = median(contenders[0].prompt),
               own_generate = median(contenders[0].generate), own_start_s = median(contenders[0].start_s);
  const auto ratio = [](double own_speed, double speed) {
    return speed > 0 ? own_speed / speed : 0;
  };
  json::array rows;
  for (const Contender& contender : contenders) {
    const double prompt = median(contender.prompt), generate = median(contender.generate);
    rows.push_back({{"name", contender.name},
                    {"prompt_tokens_per_second", prompt},
                    {"prompt_spread", median_absolute_deviation(contender.prompt)},
                    {"generate_tokens_per_second", generate},
                    {"generate_spread", median_absolute_deviation(contender.generate)},
                    {"prompt_ratio", ratio(own_prompt, prompt)},
                    {"generate_ratio", ratio(own_generate, generate)},
                    {"start_seconds", median(contender.start_s)},
                    {"start_spread", median_absolute_deviation(contender.start_s)},
                    {"start_ratio", ratio(own_start_s, median(contender.start_s))},
                    {"start_peak_memory_mb", median(contender.start_peak_mb)}});
  }
  const json::object report{{"model", options.path},
                              {"cpu", cpu_name()},
                              {"n_threads", options.n_threads},
                              {"n_prompt", options.n_prompt},
                              {"n_generate", options.n_generate},
                              {"n_depth", options.n_depth},
                              {"n_sequences", options.n_sequences},
                              {"n_rounds", options.n_rounds},
                              {"has_asserts", has_asserts()},
                              {"contenders", rows}};
  if (!options.html_path.empty()) write_html_report(options.html_path, "peers", report);
  if (options.is_json) {
    std::puts(json::serialize(report).c_str());
    return 0;
  }
  std::printf(
      "ollamax-bench peers %s\n\n- %s, %d threads, medians of %d rounds taken in turn%s\n\n",
      options.path.c_str(), cpu_name().c_str(), options.n_threads, options.n_rounds,
      has_asserts() ? "; ollamax WITH ASSERTS" : "");
  std::printf(
      "| engine | prompt %d @ %d, tokens/s | ollamax is | generate %d @ %d, tokens/s | ollamax is | first token after, s | ollamax takes "
      "| most memory by then, MB |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
      options.n_prompt, options.n_depth, options.n_generate, options.n_depth);
  for (const json::value& row : rows) {
    std::printf("| %s %s%s%s", row.at("name").as_string().c_str(),
                cells(row, "prompt_tokens_per_second", "prompt_spread", "prompt_ratio").c_str(),
                cells(row, "generate_tokens_per_second", "generate_spread", "generate_ratio").c_str(),
                cells(row, "start_seconds", "start_spread", "start_ratio").c_str());
    const double peak_mb = number(row, "start_peak_memory_mb");
    std::puts(peak_mb > 0 ? ("| " + std::to_string(std::lround(peak_mb)) + " |").c_str() : "| – |");
  }
  return 0;
}

}  // namespace olx::bench
