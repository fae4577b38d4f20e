#include "server/api/completion.h"

#include <strings.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace olx::server {
namespace {

namespace json = boost::json;

constexpr auto kLookAtClient = std::chrono::milliseconds(50);  // how soon a client that left is noticed while nothing is generated

json::object logprob_json(const std::string& token, float logprob) {
  json::array bytes;
  for (char c : token) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token}, {"logprob", logprob}, {"bytes", bytes}};
}

json::array logprobs_json(const std::vector<engine::TokenLogprob>& logprobs, bool has_top) {
  json::array out;
  for (const engine::TokenLogprob& entry : logprobs) {
    json::object record = logprob_json(entry.token, entry.logprob);
    if (has_top) {
      json::array top;
      for (const auto& rival : entry.top) top.push_back(logprob_json(rival.token, rival.logprob));
      record["top_logprobs"] = top;
    }
    out.push_back(record);
  }
  return out;
}

void read_think(const Fields& fields, CompletionRequest& request) {
  const json::value* think = fields.find("think");
  if (think == nullptr) return;
  if (think->is_bool()) {
    request.think = think->get_bool();
  } else if (think->is_string()) {
    const std::string level(think->get_string());
    if (level == "true" || level == "false") {
      request.think = level == "true";
    } else if (level == "low" || level == "medium" || level == "high" || level == "max") {
      request.think = true;
      request.think_level = level;
    } else {
      throw ApiError(400, "invalid think value: \"" + level + "\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)");
    }
  } else {
    throw ApiError(400, "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)");
  }
}

// "format": "json" is any JSON object, an object is a schema. options.grammar is GBNF.
engine::OutputConstraint read_constraint(const Fields& fields, const json::object* options) {
  engine::OutputConstraint constraint;
  const json::value* format = fields.find("format");
  const bool has_format = format != nullptr && !(format->is_string() && format->get_string().empty());
  if (has_format) {
    const bool is_json = format->is_string() && format->get_string() == "json";
    if (!is_json && !format->is_object())
      throw ApiError(500, "invalid format: " + go_json(*format) + "; expected \"json\" or a valid JSON Schema object");
    constraint.grammar = "root ::= answer";
    constraint.schemas.emplace_back("answer", is_json ? engine::Value(engine::ValueMap{{"type", "object"}}) : to_value(*format));
  }
  const std::optional<std::string> grammar = options ? Fields(*options, "Options").text("grammar") : std::nullopt;
  if (!grammar || grammar->empty()) return constraint;
  if (has_format) throw ApiError(400, "\"format\" and the option \"grammar\" cannot be given together");
  constraint.grammar = *grammar;
  return constraint;
}

// A prompt that was cut must not pass for a whole one: the answer says so before it begins, and in its last record.
void tell_truncation(Exchange& exchange, Completion& completion, int64_t n_cut) {
  if (completion.is_truncation_told) return;  // an earlier choice for the same prompt
  completion.is_truncation_told = true;
  completion.n_left_out += n_cut;
  if (completion.n_left_out > 0) exchange.add_header("X-Prompt-Truncated", std::to_string(completion.n_left_out));
}

engine::TokenStream submit(ModelHost& model, engine::GenerateRequest generate) {
  const bool may_shift = generate.may_shift;
  try {
    return model.submit(std::move(generate));
  } catch (const engine::EngineError& error) {
    if (error.code() != engine::ErrorCode::kContextTooLong || may_shift) throw;
    throw ApiError(400,
                   "the prompt is longer than the context length currently available to the model; shorten the prompt, "
                   "adjust the context length in settings, or use a model with a longer context length");
  }
}

}  // namespace

int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check_count(std::string_view what, size_t n, size_t limit) {
  if (n > limit) throw ApiError(400, "too many " + std::string(what) + ": " + std::to_string(n) + " (at most " + std::to_string(limit) + ")");
}

std::string model_text(std::string text) {
  const size_t first = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  text = text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
  constexpr std::string_view kLocal = ":local";
  if (text.size() > kLocal.size() && ::strcasecmp(text.c_str() + text.size() - kLocal.size(), kLocal.data()) == 0)
    text.resize(text.size() - kLocal.size());
  return text;
}

CompletionRequest read_completion(const Fields& fields) {
  CompletionRequest request;
  request.model = model_text(fields.text("model").value_or(""));
  request.is_streaming = fields.boolean("stream").value_or(true);
  request.keep_alive_ns = parse_keep_alive(fields.find("keep_alive"));
  read_think(fields, request);
  request.may_truncate = fields.boolean("truncate").value_or(true);
  request.may_shift = fields.boolean("shift").value_or(true);
  const int64_t top = fields.integer("top_logprobs").value_or(0);
  if (top < 0 || top > 20) throw ApiError(400, "top_logprobs must be between 0 and 20");
  if (fields.boolean("logprobs").value_or(false)) request.n_logprobs = static_cast<int>(top);
  request.is_render_only = fields.boolean("_debug_render_only").value_or(false);
  request.options = fields.object("options");
  request.constraint = read_constraint(fields, request.options);
  request.name = ModelName::parse(request.model);
  return request;
}

InstalledModel find_model(const App& app, const CompletionRequest& request) {
  if (!request.name) throw ApiError(400, "invalid model name");
  auto found = app.store.find(*request.name);
  if (!found) throw ApiError(404, "model '" + request.model + "' not found");
  return std::move(*found);
}

bool Completion::can(std::string_view capability) const {
  return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
}

std::optional<bool> Completion::thinks(const CompletionRequest& request) const {
  return request.think || !can("thinking") ? request.think : std::optional<bool>(true);
}

namespace {

engine::SpeculateMode speculate_mode(const ServerOptions& options) {
  switch (options.speculate) {
    case ServerOptions::Speculate::kOff: return engine::SpeculateMode::kOff;
    case ServerOptions::Speculate::kAlways: return engine::SpeculateMode::kAlways;
    case ServerOptions::Speculate::kAdaptive: break;
  }
  return engine::SpeculateMode::kAdaptive;
}

// The draft model that the request names, or the server's. A request names installed models only: a path would open any
// file of this machine to whoever may ask.
void set_draft(const App& app, const RequestOptions& options, engine::EngineOptions& load) {
  if (options.draft) {
    if (options.draft->empty()) return;
    const std::optional<ModelName> name = ModelName::parse(*options.draft);
    const std::optional<InstalledModel> installed = name ? app.store.find(*name) : std::nullopt;
    if (!installed) throw ApiError(404, "draft model '" + *options.draft + "' not found");
    load.draft_path = app.store.contents(*installed).gguf_path;
    load.is_draft_required = true;
    return;
  }
  if (app.options.draft.empty()) return;
  load.draft_path = app.options.draft;
  if (const std::optional<ModelName> name = ModelName::parse(app.options.draft))
    if (const std::optional<InstalledModel> installed = app.store.find(*name))
      load.draft_path = app.store.contents(*installed).gguf_path;
  // One that is not this model's smaller sister is no reason not to answer.
  load.is_draft_required = false;
  if (load.draft_path == load.model_path) load.draft_path.clear();
}

}  // namespace

Completion start_completion(App& app, Exchange& exchange, const CompletionRequest& request) {
  const int64_t started_ns = steady_ns();
  InstalledModel installed = find_model(app, request);
  ModelContents contents = app.store.contents(installed);
  if (contents.gguf_path.empty()) throw ApiError(500, "model '" + request.model + "' has no weights");
  app.store.check_torn(installed, [&] {
    if (exchange.is_gone()) throw ApiError(499, "request canceled");
  });
  std::vector<std::string> capabilities = app.capabilities.of(installed, contents);
  RequestOptions options = merge_options(app.options, contents.parameters, request.options);
  check_count("stop strings", options.stop.size(), kMaxStops);
  for (const std::string& stop : options.stop) check_count("bytes in a stop string", stop.size(), kMaxStopBytes);

  EngineHost::Request load;
  load.name = installed.name.shortest();
  load.digest = installed.digest.hex();
  load.options.model_path = contents.gguf_path;
  load.options.adapter_paths = contents.adapter_paths;
  load.options.n_ctx = options.num_ctx;
  load.options.n_batch = options.num_batch;
  load.options.n_threads = options.num_thread;
  load.options.device = options.num_gpu == 0 ? "cpu" : app.options.device;
  load.options.main_gpu = load.options.device == "cpu" ? -1 : options.main_gpu;
  load.options.n_gpu_layers = options.num_gpu;
  load.options.gpu_spare_bytes = app.options.gpu_overhead_bytes;
  load.options.is_device_required = app.options.is_device_required;
  load.options.n_parallel = app.options.n_parallel;
  load.options.kv_cache_type = app.options.kv_cache_type;
  load.options.speculate = speculate_mode(app.options);
  set_draft(app, options, load.options);
  load.keep_alive_ns = request.keep_alive_ns;
  load.is_gone = [&exchange] { return exchange.is_gone(); };
  EngineHost::Lease lease = app.host.acquire(load);
  Completion completion{std::move(installed), std::move(contents), std::move(capabilities), std::move(options), std::move(lease), app.metrics};
  completion.constraint = request.constraint;
  completion.started_ns = started_ns;
  completion.load_ns = steady_ns() - started_ns;
  return completion;
}

engine::AnswerFormat answer_format(const Completion& completion, const std::string& go_template,
                                   const std::optional<bool>& think) {
  engine::AnswerFormat format = completion.lease.model().answer_format(go_template);
  if (!go_template.empty() && !think.value_or(true)) format.think_open = format.think_close = "";
  return format;
}

std::string think_level(const CompletionRequest& request, const engine::AnswerFormat& format) {
  const bool is_harmony = format.syntax == engine::CallSyntax::kHarmony;
  return is_harmony && request.think_level == "max" ? "high" : request.think_level;
}

engine::TokenEvent run_completion(Exchange& exchange, Completion& completion, const CompletionRequest& request,
                                  std::vector<int32_t> prompt_tokens, const OnText& on_text) {
  engine::GenerateRequest generate;
  generate.prompt_tokens = std::move(prompt_tokens);
  generate.constraint = completion.constraint;
  generate.marks = completion.marks;
  generate.sampling = completion.options.sampling;
  generate.stop = completion.options.stop;
  generate.n_predict = completion.options.num_predict;
  generate.n_keep = completion.options.num_keep;
  generate.n_draft_max = completion.options.draft_num_predict;
  generate.may_truncate = request.may_truncate && request.may_shift;
  generate.may_shift = request.may_shift;
  generate.n_logprobs = request.n_logprobs;
  // Declared before the stream: its callback may still run until the stream is gone.
  std::mutex mutex;
  std::condition_variable has_event;
  int64_t n_ready = 0;
  engine::TokenStream stream = submit(completion.lease.model(), std::move(generate));
  tell_truncation(exchange, completion, stream.n_truncated_tokens());
  stream.on_ready([&] {
    {
      const std::lock_guard lock(mutex);
      ++n_ready;
    }
    has_event.notify_one();
  });
  int64_t last_token_ns = 0;
  bool is_enough = false;
  while (true) {
    if (exchange.is_gone()) throw ApiError(499, "request canceled");
    std::optional<engine::TokenEvent> event = stream.poll();
    if (!event) {
      std::unique_lock lock(mutex);
      has_event.wait_for(lock, kLookAtClient, [&] { return n_ready > 0; });
      n_ready = 0;
      continue;
    }
    // An answer may be one token that shows nothing: the end of generation, or a piece of a character.
    const bool is_bare = event->done != engine::DoneReason::kNone && last_token_ns == 0 && event->stats.n_generated_tokens > 0;
    if (!event->tokens.empty() || is_bare) {
      // An event is one token, or the few that make up a character: the time is theirs together.
      const int64_t now_ns = steady_ns();
      const bool is_first = last_token_ns == 0;
      const double seconds = static_cast<double>(now_ns - (is_first ? completion.started_ns : last_token_ns)) * 1e-9;
      if (is_first) completion.metrics.add_first_token(seconds);
      else completion.metrics.add_token_gap(seconds);
      last_token_ns = now_ns;
    }
    if (!is_enough && (!event->text.empty() || !event->logprobs.empty()))
      is_enough = !on_text(event->text, logprobs_json(event->logprobs, request.n_logprobs > 0));
    if (is_enough) stream.cancel();
    if (event->done == engine::DoneReason::kNone) continue;
    if (is_enough) event->done = engine::DoneReason::kStop;
    event->stats.n_truncated_tokens = completion.n_left_out;
    completion.metrics.count_tokens(event->stats.n_prompt_tokens, event->stats.n_generated_tokens);
    completion.metrics.count_drafts(event->stats.n_drafted_tokens, event->stats.n_accepted_tokens);
    if (event->done == engine::DoneReason::kError)
      throw ApiError(500, "an error was encountered while running the model: " + event->error);
    return std::move(*event);
  }
}

const char* done_reason(const engine::TokenEvent& last) { return last.done == engine::DoneReason::kLength ? "length" : "stop"; }

void add_metrics(json::object& record, const Completion& completion, const engine::TokenEvent& last) {
  const auto add = [&](const char* name, int64_t value) {
    if (value != 0) record[name] = value;
  };
  add("total_duration", steady_ns() - completion.started_ns);
  add("load_duration", completion.load_ns + last.stats.load_ns);
  add("prompt_eval_count", last.stats.n_prompt_tokens);
  add("prompt_eval_duration", last.stats.prompt_ns);
  add("prompt_truncated_count", last.stats.n_truncated_tokens);
  add("eval_count", last.stats.n_generated_tokens);
  add("eval_duration", last.stats.generate_ns);
  if (!completion.options.wants_draft_counts()) return;
  add("draft_count", last.stats.n_drafted_tokens);
  add("draft_accepted_count", last.stats.n_accepted_tokens);
}

void RecordWriter::write(const json::object& record) {
  if (!is_streaming_) return reply(exchange_, record);
  if (!exchange_.has_begun()) exchange_.begin_stream("application/x-ndjson");
  if (!exchange_.write(go_json(record) + "\n")) throw ApiError(499, "request canceled");
}

}  // namespace olx::server
