// POST /v1/completions: a completion of one prompt or several, OpenAI's older protocol.
#include <boost/json.hpp>

#include "engine/answer/call_constraint.h"
#include "server/api/answer_reader.h"
#include "server/api/native_request.h"
#include "server/api/prompt.h"
#include "server/http/event_stream.h"
#include "server/openai/answer.h"
#include "server/openai/translate.h"

namespace olx::server {
namespace {

namespace json = boost::json;

std::vector<std::string> read_prompts(const Fields& fields) {
  const json::value* given = fields.find("prompt");
  if (given == nullptr) throw ApiError(400, "prompt is required");
  if (given->is_string()) return {std::string(given->get_string())};
  if (!given->is_array() || given->get_array().empty()) throw ApiError(400, "'prompt' must be a string or an array of strings");
  std::vector<std::string> prompts;
  for (const json::value& prompt : given->get_array()) {
    if (!prompt.is_string()) throw ApiError(400, "'prompt' must be a string or an array of strings; token ids are not supported");
    prompts.emplace_back(prompt.get_string());
  }
  if (prompts.size() > kMaxChoices) throw ApiError(400, "at most " + std::to_string(kMaxChoices) + " prompts are answered at once");
  return prompts;
}

// Ollama's request in whose words this one is.
json::object native_of(const Fields& fields) {
  NativeRequest native(fields);
  copy_sampling(fields, native);
  copy_max_tokens(fields, native);
  copy_stop(fields, native);
  if (const auto n_top = fields.integer("logprobs")) {
    native.fields["logprobs"] = true;
    native.fields["top_logprobs"] = *n_top;
  }
  return std::move(native).joined();
}

// The older form of logprobs: parallel lists. n_bytes: how much of the choice's text lies before them.
json::object parallel_logprobs(const json::array& entries, size_t& n_bytes) {
  json::array tokens, logprobs, tops, offsets;
  for (const json::value& entry : entries) {
    const json::object& token = entry.get_object();
    tokens.push_back(token.at("token"));
    logprobs.push_back(token.at("logprob"));
    json::object top;
    if (const json::value* rivals = token.if_contains("top_logprobs"))
      for (const json::value& rival : rivals->get_array()) top[rival.at("token").get_string()] = rival.at("logprob");
    tops.push_back(std::move(top));
    offsets.push_back(n_bytes);
    n_bytes += token.at("token").get_string().size();
  }
  return {{"tokens", tokens}, {"token_logprobs", logprobs}, {"top_logprobs", tops}, {"text_offset", offsets}};
}

json::object choice_json(int index, std::string_view text, const json::array& logprobs, size_t& n_bytes, json::value reason) {
  json::object choice{{"text", text}, {"index", index}, {"logprobs", nullptr}, {"finish_reason", std::move(reason)}};
  if (!logprobs.empty()) choice["logprobs"] = parallel_logprobs(logprobs, n_bytes);
  return choice;
}

}  // namespace

void handle_openai_completion(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.get_object(), "CompletionRequest");
  const json::object native = native_of(fields);
  const CompletionRequest request = read_completion(Fields(native, "CompletionRequest"));
  if (request.model.empty()) throw ApiError(400, "model is required");
  const std::vector<std::string> prompts = read_prompts(fields);
  const int n_each = read_n_choices(fields);
  const bool has_echo = fields.boolean("echo").value_or(false);
  const bool includes_usage = read_includes_usage(fields);
  PromptParts parts;
  parts.suffix = fields.text("suffix").value_or("");

  Completion completion = start_completion(app, exchange, request);
  check_generates(completion, request, parts);
  const engine::AnswerFormat format = prompt_format(completion, request, parts);
  completion.marks = format.marks();
  const int64_t seed = completion.options.sampling.seed;
  const RecordHead head("cmpl-", request.model);
  EventStream events(exchange);
  Usage usage;
  json::array choices;
  int index = 0;
  for (const std::string& prompt : prompts) {
    parts.prompt = prompt;
    const engine::ChatPrompt rendered = render_prompt(completion, request, parts);
    const std::vector<int32_t> tokens = completion.lease.model().tokenize(rendered, true);
    completion.options.sampling.seed = seed;
    completion.constraint = request.constraint;
    if (!completion.constraint.is_none())
      free_thinking(format, rendered.text, completion.thinks(request).value_or(true), true, completion.constraint);
    Usage of_prompt;
    for (int i = 0; i < n_each; ++i, ++index) {
      vary_seed(completion, i);
      std::string text = has_echo ? prompt : "";
      json::array logprobs;
      size_t n_bytes = text.size();
      const auto send = [&](std::string_view piece, const json::array& its_logprobs, json::value reason) {
        json::object record = head.record("text_completion");
        record["choices"] = json::array{choice_json(index, piece, its_logprobs, n_bytes, std::move(reason))};
        events.send(record);
      };
      if (request.is_streaming && has_echo) send(prompt, {}, nullptr);
      // This protocol has no place for thinking: it is left out.
      AnswerReader reader(format, {}, rendered.text);
      const auto on_piece = [&](const AnswerPiece& piece) {
        if (piece.content.empty() && piece.logprobs.empty()) return;
        if (request.is_streaming) return send(piece.content, piece.logprobs, nullptr);
        text += piece.content;
        logprobs.insert(logprobs.end(), piece.logprobs.begin(), piece.logprobs.end());
      };
      const engine::TokenEvent last =
          run_completion(exchange, completion, request, tokens,
                         [&](const std::string& piece, const json::array& its_logprobs) {
                           on_piece(reader.push(piece, its_logprobs));
                           return true;
                         });
      on_piece(reader.finish());
      if (request.is_streaming) send("", {}, done_reason(last));
      else choices.push_back(choice_json(index, text, logprobs, n_bytes, done_reason(last)));
      of_prompt.add(last.stats);
    }
    usage.add(of_prompt);
  }
  json::object record = head.record("text_completion");
  record["choices"] = std::move(choices);
  record["usage"] = usage.of_chat();
  if (!request.is_streaming) return reply(exchange, record);
  if (includes_usage) events.send(record);
  events.send_done();
}

}  // namespace olx::server
