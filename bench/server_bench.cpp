#include "bench/server_bench.h"

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>

#include "bench/counts.h"
#include "bench/http_lines.h"
#include "bench/statistics.h"

namespace olx::bench {
namespace {

namespace json = boost::json;

struct Answer {
  double first_s = 0;  // from the request to the first text
  double total_s = 0;
  int64_t n_prompt = 0, n_generated = 0;
  double rate() const { return n_generated > 1 && total_s > first_s ? static_cast<double>(n_generated - 1) / (total_s - first_s) : 0; }
};

// Words no other request begins with, so that no cache of prefixes answers for the model.
std::string make_prompt(int n_words, uint64_t number) {
  constexpr const char* kWords[] = {"river", "stone", "cloud", "amber", "field", "north", "paper", "glass", "train", "honey", "music", "winter"};
  std::mt19937_64 random(number);
  std::string text = "Story " + std::to_string(number) + ":";
  for (int i = 0; i < n_words; ++i) text += std::string(" ") + kWords[random() % std::size(kWords)];
  return text;
}

const json::value* member(const json::value& record, const char* key) { return record.is_object() ? record.as_object().if_contains(key) : nullptr; }

int64_t count(const json::value& record, const char* key) {
  const json::value* value = member(record, key);
  return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

[[noreturn]] void refuse_answer(const std::string& why) { throw std::runtime_error("an answer is not whole: " + why); }

void check_error(const json::value& record) {
  if (const json::value* error = member(record, "error")) throw std::runtime_error("the server answered: " + json::serialize(*error));
}

json::value parse_record(std::string_view line) {
  boost::system::error_code failed;
  json::value record = json::parse(line, failed);
  if (failed) refuse_answer("expected JSON, got '" + std::string(line.substr(0, 200)) + "'");
  check_error(record);
  return record;
}

Answer ask_ollama(const ServerAddress& address, const ServerBenchOptions& options, const std::string& prompt) {
  const json::object body{{"model", options.model}, {"prompt", prompt}, {"raw", true}, {"stream", true},
                          {"options", {{"num_predict", options.n_generate}, {"temperature", 1.0}, {"seed", 1}}}};
  Answer answer;
  bool is_done = false;
  const double start = now_seconds();
  post_for_lines(address, "/api/generate", json::serialize(body), [&](std::string_view line) {
    if (line.empty()) return;
    const json::value record = parse_record(line);
    if (is_done) refuse_answer("something came after the last record");
    const json::value* text = member(record, "response");
    if (answer.first_s == 0 && text != nullptr && text->is_string() && !text->as_string().empty()) answer.first_s = now_seconds() - start;
    const json::value* done = member(record, "done");
    if (done == nullptr || !done->is_bool()) refuse_answer("expected records with \"done\"");
    is_done = done->as_bool();
    if (!is_done) return;
    answer.n_prompt = count(record, "prompt_eval_count");
    answer.n_generated = count(record, "eval_count");
  });
  answer.total_s = now_seconds() - start;
  if (!is_done) refuse_answer("the last record is missing");
  return answer;
}

Answer ask_openai(const ServerAddress& address, const ServerBenchOptions& options, const std::string& prompt) {
  const json::object body{{"model", options.model}, {"prompt", prompt}, {"stream", true}, {"stream_options", {{"include_usage", true}}},
                          {"max_tokens", options.n_generate}, {"temperature", 1.0}, {"seed", 1}};
  Answer answer;
  bool is_done = false, is_finished = false;
  const double start = now_seconds();
  post_for_lines(address, "/v1/completions", json::serialize(body), [&](std::string_view line) {
    constexpr std::string_view kData = "data: ";
    if (!line.starts_with(kData)) return;  // the line between events, or a comment
    line.remove_prefix(kData.size());
    if (is_done) refuse_answer("something came after [DONE]");
    if (line == "[DONE]") {
      is_done = true;
      return;
    }
    const json::value record = parse_record(line);
    if (const json::value* choices = member(record, "choices"); choices != nullptr && choices->is_array() && !choices->as_array().empty()) {
      const json::value& choice = choices->as_array().front();
      const json::value* text = member(choice, "text");
      if (answer.first_s == 0 && text != nullptr && text->is_string() && !text->as_string().empty()) answer.first_s = now_seconds() - start;
      const json::value* reason = member(choice, "finish_reason");
      if (reason != nullptr && reason->is_string()) is_finished = true;
    }
    if (const json::value* usage = member(record, "usage"); usage != nullptr && usage->is_object()) {
      answer.n_prompt = count(*usage, "prompt_tokens");
      answer.n_generated = count(*usage, "completion_tokens");
    }
  });
  answer.total_s = now_seconds() - start;
  if (!is_done) refuse_answer("[DONE] is missing");
  if (!is_finished) refuse_answer("no finish_reason came");
  return answer;
}

Answer ask(const ServerAddress& address, const ServerBenchOptions& options, uint64_t number) {
  const std::string prompt = make_prompt(options.n_prompt, number);
  const Answer answer = options.is_openai ? ask_openai(address, options, prompt) : ask_ollama(address, options, prompt);
  if (answer.n_generated < 1 || answer.first_s == 0) refuse_answer("no token was counted or no text came");
  if (answer.n_generated > options.n_generate)
    refuse_answer(std::to_string(answer.n_generated) + " tokens are counted, at most " + std::to_string(options.n_generate) + " were asked for");
  return answer;
}

double percentile(std::vector<double> samples, double share) {
  std::sort(samples.begin(), samples.end());
  const auto index = static_cast<size_t>(std::ceil(share * static_cast<double>(samples.size())));
  return samples[std::clamp<size_t>(index, 1, samples.size()) - 1];
}

// One number of clients.
json::object measure(const ServerAddress& address, const ServerBenchOptions& options, int n_clients, uint64_t& number) {
  std::vector<std::vector<Answer>> answers(static_cast<size_t>(n_clients));
  std::mutex mutex;
  std::exception_ptr failure;
  std::atomic<bool> has_failed{false};
  const uint64_t first_number = number;
  number += static_cast<uint64_t>(n_clients * options.n_requests);
  const double start = now_seconds();
  {
    std::vector<std::jthread> threads;
    for (int client = 0; client < n_clients; ++client)
      threads.emplace_back([&, client] {
        try {
          for (int i = 0; i < options.n_requests && !has_failed; ++i)
            answers[static_cast<size_t>(client)].push_back(ask(address, options, first_number + static_cast<uint64_t>(client * options.n_requests + i)));
        } catch (const std::exception&) {
          const std::lock_guard lock(mutex);
          has_failed = true;
          if (failure == nullptr) failure = std::current_exception();
        }
      });
  }
  const double seconds = now_seconds() - start;
  if (failure != nullptr) std::rethrow_exception(failure);
  std::vector<double> firsts;
  int64_t n_generated = 0, n_prompt = 0, n_short = 0;
  json::array rates;
  for (const std::vector<Answer>& of_client : answers) {
    std::vector<double> client_rates;
    for (const Answer& answer : of_client) {
      firsts.push_back(answer.first_s * 1e3);
      n_generated += answer.n_generated;
      n_prompt += answer.n_prompt;
      if (answer.n_generated < options.n_generate) ++n_short;
      client_rates.push_back(answer.rate());
    }
    rates.push_back(median(client_rates));
  }
  return {{"n_clients", n_clients}, {"n_answers", firsts.size()}, {"n_short_answers", n_short}, {"seconds", seconds},
          {"prompt_tokens", n_prompt}, {"generated_tokens", n_generated},
          {"tokens_per_second", static_cast<double>(n_generated) / seconds}, {"first_token_p50_ms", percentile(firsts, 0.5)},
          {"first_token_p95_ms", percentile(firsts, 0.95)}, {"client_tokens_per_second", std::move(rates)}};
}

void print_report(const ServerBenchOptions& options, const json::array& rows) {
  std::printf("ollamax-bench server %s --model %s\n\n- %s, prompts of %d words, at most %d tokens, %d answers a client, one after the other\n\n",
              options.url.c_str(), options.model.c_str(), options.is_openai ? "/v1/completions" : "/api/generate", options.n_prompt,
              options.n_generate, options.n_requests);
  std::printf("| clients | tokens/s, all | first token p50, ms | p95, ms | tokens/s of a client: least | median | most | ended early |\n"
              "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const json::value& row : rows) {
    std::vector<double> rates;
    for (const json::value& rate : row.at("client_tokens_per_second").as_array()) rates.push_back(rate.to_number<double>());
    std::printf("| %lld | %.1f | %.0f | %.0f | %.1f | %.1f | %.1f | %lld of %lld |\n", static_cast<long long>(row.at("n_clients").as_int64()),
                row.at("tokens_per_second").as_double(), row.at("first_token_p50_ms").as_double(), row.at("first_token_p95_ms").as_double(),
                *std::min_element(rates.begin(), rates.end()), median(rates), *std::max_element(rates.begin(), rates.end()),
                static_cast<long long>(row.at("n_short_answers").as_int64()), static_cast<long long>(row.at("n_answers").to_number<int64_t>()));
  }
}

}  // namespace

int run_server_bench(const ServerBenchOptions& options) {
  const ServerAddress address = parse_server_url(options.url);
  const std::vector<int> counts = parse_counts("--clients", options.clients, 256);
  uint64_t number = std::random_device{}();  // other prompts than those of a run before
  ask(address, options, number++);           // loads the model
  json::array rows;
  for (int n_clients : counts) {
    std::fprintf(stderr, "%d clients\n", n_clients);
    rows.push_back(measure(address, options, n_clients, number));
  }
  if (options.is_json) {
    const json::object report{{"command", "server"}, {"url", options.url}, {"model", options.model}, {"is_openai", options.is_openai},
                              {"n_prompt_words", options.n_prompt}, {"n_generate", options.n_generate}, {"n_requests", options.n_requests}, {"rows", rows}};
    std::puts(json::serialize(report).c_str());
  } else {
    print_report(options, rows);
  }
  return 0;
}

}  // namespace olx::bench
