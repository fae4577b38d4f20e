// POST /api/generate: a completion of one prompt.
#include <boost/json.hpp>

#include "engine/answer/call_constraint.h"
#include "server/api/conversation.h"
#include "server/api/prompt.h"

namespace olx::server {
namespace {

namespace json = boost::json;

json::object record_head(const CompletionRequest& request) { return {{"model", request.model}, {"created_at", utc_now()}}; }

// Answers of a request without a prompt: plain JSON, whatever `stream` says.
void reply_without_prompt(Exchange& exchange, const CompletionRequest& request, const char* reason) {
  json::object record = record_head(request);
  record["response"] = "";
  record["done"] = true;
  record["done_reason"] = reason;
  reply(exchange, record);
}

}  // namespace

void handle_generate(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "GenerateRequest");
  CompletionRequest request = read_completion(fields);
  if (request.model.empty()) throw ApiError(404, "model '' not found");
  const std::string prompt = fields.text("prompt").value_or("");
  const InstalledModel installed = find_model(app, request);
  const json::array* images = fields.array("images");
  if (prompt.empty() && request.keep_alive_ns == 0 && (images == nullptr || images->empty())) {
    app.host.unload(app.store.contents(installed).gguf_path);
    return reply_without_prompt(exchange, request, "unload");
  }
  const json::array* context = fields.array("context");
  if (images != nullptr) check_count("images", images->size(), kMaxImages);
  const bool has_context = context != nullptr && !context->empty();
  const PromptParts parts{.prompt = prompt,
                          .suffix = fields.text("suffix").value_or(""),
                          .system = fields.text("system").value_or(""),
                          .template_text = fields.text("template").value_or(""),
                          .is_raw = fields.boolean("raw").value_or(false),
                          .has_context = has_context};
  if (parts.is_raw && (!parts.template_text.empty() || !parts.system.empty() || has_context))
    throw ApiError(400, "raw mode does not support template, system, or context");

  Completion completion = start_completion(app, exchange, request);
  check_generates(completion, request, parts);
  if (images != nullptr && !images->empty()) throw ApiError(400, completion.installed.name.full() + " does not support vision");
  if (prompt.empty()) return reply_without_prompt(exchange, request, "load");

  ModelHost& model = completion.lease.model();
  const engine::ChatPrompt rendered = render_prompt(completion, request, parts);
  if (request.is_render_only) {
    json::object record = record_head(request);
    record["response"] = "";
    record["done"] = false;
    record["_debug_info"] = json::object{{"rendered_template", rendered.text}};
    return reply(exchange, record);
  }
  std::vector<int32_t> tokens;
  if (has_context)
    for (const json::value& id : *context) {
      if (!id.is_int64()) throw ApiError(400, "json: cannot unmarshal a context that is not an array of integers");
      tokens.push_back(static_cast<int32_t>(std::clamp<int64_t>(id.get_int64(), -1, INT32_MAX)));
    }
  const std::vector<int32_t> prompt_tokens = model.tokenize(rendered, !has_context);
  tokens.insert(tokens.end(), prompt_tokens.begin(), prompt_tokens.end());

  RecordWriter writer(exchange, request.is_streaming);
  const engine::AnswerFormat format = prompt_format(completion, request, parts);
  completion.marks = format.marks();
  if (!completion.constraint.is_none())
    free_thinking(format, rendered.text, completion.thinks(request).value_or(true), true,
                  completion.constraint);
  AnswerReader reader(format, {}, rendered.text);
  std::string text;   // all of it, as written
  AnswerPiece whole;  // what the last record carries
  const auto on_piece = [&](AnswerPiece piece) {
    if (!writer.is_streaming()) return whole.add(std::move(piece));
    // Calls that nobody offered tools for come with the last record.
    std::move(piece.tool_calls.begin(), piece.tool_calls.end(),
              std::back_inserter(whole.tool_calls));
    piece.tool_calls.clear();
    if (piece.is_empty()) return;
    json::object record = record_head(request);
    record["response"] = piece.content;
    if (!piece.thinking.empty()) record["thinking"] = piece.thinking;
    record["done"] = false;
    if (!piece.logprobs.empty()) record["logprobs"] = piece.logprobs;
    writer.write(record);
  };
  const engine::TokenEvent last =
      run_completion(exchange, completion, request, tokens,
                     [&](const std::string& piece, const json::array& logprobs) {
                       text += piece;
                       on_piece(reader.push(piece, logprobs));
                       return true;
                     });
  on_piece(reader.finish());
  json::object record = record_head(request);
  record["response"] = whole.content;
  if (!whole.thinking.empty()) record["thinking"] = whole.thinking;
  if (!whole.tool_calls.empty()) {
    json::array calls;
    for (const engine::ToolCall& call : whole.tool_calls)
      calls.push_back(tool_call_json(call, calls.size()));
    record["tool_calls"] = std::move(calls);
  }
  record["done"] = true;
  record["done_reason"] = done_reason(last);
  if (!parts.is_raw) {
    // The conversation so far, without the BOS token: what the client sends back next time.
    json::array ids;
    if (has_context)
      for (const json::value& id : *context) ids.push_back(id);
    for (int32_t id :
         model.tokenize(engine::ChatPrompt{rendered.text + text, rendered.breaks}, false))
      ids.push_back(id);
    record["context"] = ids;
  }
  add_metrics(record, completion, last);
  if (!whole.logprobs.empty()) record["logprobs"] = whole.logprobs;
  writer.write(record);
}

}  // namespace olx::server
