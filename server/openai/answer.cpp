#include "server/openai/answer.h"

#include <boost/json.hpp>
#include <ctime>

#include "server/json/random_id.h"

namespace olx::server {

namespace json = boost::json;

RecordHead::RecordHead(std::string_view id_prefix, std::string model)
    : id_(random_id(id_prefix)), model_(std::move(model)), created_(std::time(nullptr)) {}

json::object RecordHead::record(std::string_view object) const {
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}, {"system_fingerprint", "fp_ollama"}};
}

void Usage::add(const engine::GenerateStats& stats) {
  if (n_prompt_ == 0) {
    n_prompt_ = stats.n_prompt_tokens;
    n_cached_ = stats.n_cached_tokens;
  }
  n_truncated_ = stats.n_truncated_tokens;
  n_generated_ += stats.n_generated_tokens;
}

void Usage::add(const Usage& other) {
  n_prompt_ += other.n_prompt_;
  n_cached_ += other.n_cached_;
  n_truncated_ += other.n_truncated_;
  n_generated_ += other.n_generated_;
}

json::object Usage::prompt_details() const {
  json::object details{{"cached_tokens", n_cached_}};
  if (n_truncated_ > 0) details["truncated_tokens"] = n_truncated_;
  return details;
}

json::object Usage::of_chat() const {
  return {{"prompt_tokens", n_prompt_},
          {"completion_tokens", n_generated_},
          {"total_tokens", n_prompt_ + n_generated_},
          {"prompt_tokens_details", prompt_details()}};
}

json::object Usage::of_responses() const {
  return {{"input_tokens", n_prompt_},
          {"input_tokens_details", json::object{{"cached_tokens", n_cached_}, {"cache_write_tokens", 0}}},
          {"output_tokens", n_generated_},
          {"output_tokens_details", json::object{{"reasoning_tokens", 0}}},
          {"total_tokens", n_prompt_ + n_generated_}};
}

json::object logprobs_object(const json::array& logprobs) {
  json::array content;
  for (const json::value& entry : logprobs) {
    json::object record = entry.as_object();
    if (!record.contains("top_logprobs")) record["top_logprobs"] = json::array();
    content.push_back(std::move(record));
  }
  return {{"content", content}, {"refusal", nullptr}};
}

void vary_seed(Completion& completion, int i_choice) {
  int64_t& seed = completion.options.sampling.seed;
  if (i_choice > 0 && seed >= 0 && seed < INT64_MAX) ++seed;
}

}  // namespace olx::server
