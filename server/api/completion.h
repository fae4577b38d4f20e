#pragma once
// What generate and chat share: finding and loading the model, the fields both have, and the loop from tokens to records.

#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/api/app.h"
#include "server/api/options.h"

namespace olx::server {

// The fields generate and chat have in common, checked.
struct CompletionRequest {
  std::string model;         // as the client sent it
  std::optional<ModelName> name;
  bool is_streaming = true;
  std::optional<int64_t> keep_alive_ns;
  std::optional<bool> think;
  std::string think_level;
  bool may_truncate = true;
  bool may_shift = true;
  int n_logprobs = -1;
  bool is_render_only = false;
  engine::OutputConstraint constraint;  // of "format" or options.grammar
  const boost::json::object* options = nullptr;
};
// fields must outlive the result. ApiError for what Ollama refuses at this point.
CompletionRequest read_completion(const Fields& fields);

// How much one request may hold.
inline constexpr size_t kMaxMessages = 4096;
inline constexpr size_t kMaxTools = 256;
inline constexpr size_t kMaxImages = 32;
inline constexpr size_t kMaxStops = 16;
inline constexpr size_t kMaxStopBytes = 4 << 10;
// ApiError 400 that says the limit.
void check_count(std::string_view what, size_t n, size_t limit);

// A model's name as Ollama reads it: without blanks at the ends and ":local".
std::string model_text(std::string text);
// The installed model of a request. 404 in the words of generate and chat.
InstalledModel find_model(const App& app, const CompletionRequest& request);

// A loaded model in use, with the request's options resolved.
struct Completion {
  InstalledModel installed;
  ModelContents contents;
  std::vector<std::string> capabilities;
  RequestOptions options;
  EngineHost::Lease lease;
  Metrics& metrics;
  engine::OutputConstraint constraint;  // what the answer must look like: the request's, or one made of it
  std::vector<std::string> marks;       // control tokens that are part of its text
  int64_t n_left_out = 0;           // tokens of the prompt that did not fit
  bool is_truncation_told = false;
  int64_t load_ns = 0;
  int64_t started_ns = 0;

  bool can(std::string_view capability) const;
  // As the request says; a model that can think does so unless told otherwise.
  std::optional<bool> thinks(const CompletionRequest& request) const;
};
// Loads where it must; the client may leave meanwhile.
Completion start_completion(App& app, Exchange& exchange, const CompletionRequest& request);

// How the model writes its answer to a prompt of the template given ("": the file's own). Of a
// TEMPLATE layer's model that was told not to think, thinking that comes all the same is content,
// as Ollama has it.
engine::AnswerFormat answer_format(const Completion& completion, const std::string& go_template,
                                   const std::optional<bool>& think);
// The request's, in the words that the model's template knows.
std::string think_level(const CompletionRequest& request, const engine::AnswerFormat& format);

// Generates, calling on_text for each piece (text, logprobs) until it returns false: the answer
// needs no more. Returns the last event. ApiError when the engine fails, 499 when the client has
// gone.
using OnText = std::function<bool(const std::string& text, const boost::json::array& logprobs)>;
engine::TokenEvent run_completion(Exchange& exchange, Completion& completion, const CompletionRequest& request,
                                  std::vector<int32_t> prompt_tokens, const OnText& on_text);

// "stop" or "length".
const char* done_reason(const engine::TokenEvent& last);
// Adds total_duration and so on to the last record; zero values are left out.
void add_metrics(boost::json::object& record, const Completion& completion, const engine::TokenEvent& last);

int64_t steady_ns();

// Writes records as NDJSON, or keeps them back for one object at the end.
class RecordWriter {
 public:
  RecordWriter(Exchange& exchange, bool is_streaming) : exchange_(exchange), is_streaming_(is_streaming) {}
  bool is_streaming() const { return is_streaming_; }
  // ApiError 499 when the client has gone.
  void write(const boost::json::object& record);

 private:
  Exchange& exchange_;
  bool is_streaming_;
};

}  // namespace olx::server
