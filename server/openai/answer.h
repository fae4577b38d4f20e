#pragma once
// Parts of answers that OpenAI's protocols share. Used by chat_completions.cpp, completions.cpp and responses.cpp.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "server/api/completion.h"

namespace olx::server {

// The members every record of one answer begins with; the id and the time are made once.
class RecordHead {
 public:
  RecordHead(std::string_view id_prefix, std::string model);
  boost::json::object record(std::string_view object) const;

 private:
  std::string id_, model_;
  int64_t created_;
};

// What an answer took.
class Usage {
 public:
  void add(const engine::GenerateStats& stats);  // one more choice for the same prompt, which counts once
  void add(const Usage& other);                  // another prompt
  boost::json::object of_chat() const;       // prompt_tokens, completion_tokens ...
  boost::json::object of_responses() const;  // input_tokens, output_tokens ...

 private:
  boost::json::object prompt_details() const;  // truncated_tokens where the prompt did not fit

  int64_t n_prompt_ = 0, n_cached_ = 0, n_truncated_ = 0, n_generated_ = 0;
};

// {"content": [...]}; each entry with top_logprobs, which the clients require.
boost::json::object logprobs_object(const boost::json::array& logprobs);

// Another seed for each further choice of a request that gives one: the same would give the same text.
void vary_seed(Completion& completion, int i_choice);

}  // namespace olx::server
