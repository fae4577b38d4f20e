// POST /api/chat: the next message of a conversation.
#include <boost/json.hpp>

#include "server/api/conversation.h"

namespace olx::server {
namespace {

namespace json = boost::json;

// n_calls: how many came in earlier records; those of this one are added.
json::object record_of(const CompletionRequest& request, const AnswerPiece& piece,
                       size_t& n_calls) {
  json::object message{{"role", "assistant"}, {"content", piece.content}};
  if (!piece.thinking.empty()) message["thinking"] = piece.thinking;
  if (!piece.tool_calls.empty()) {
    json::array calls;
    for (const engine::ToolCall& call : piece.tool_calls)
      calls.push_back(tool_call_json(call, n_calls++));
    message["tool_calls"] = calls;
  }
  json::object record{{"model", request.model}, {"created_at", utc_now()}, {"message", message}};
  if (!piece.logprobs.empty()) record["logprobs"] = piece.logprobs;
  return record;
}

void reply_without_messages(Exchange& exchange, const CompletionRequest& request, const char* reason) {
  size_t n_calls = 0;
  json::object record = record_of(request, {}, n_calls);
  record["done"] = true;
  record["done_reason"] = reason;
  reply(exchange, record);
}

}  // namespace

void handle_chat(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "ChatRequest");
  ChatTask task;
  task.request = read_completion(fields);
  const CompletionRequest& request = task.request;
  if (request.model.empty()) throw ApiError(400, "model is required");
  if (const json::array* given = fields.array("messages"))
    for (const json::value& message : *given) {
      if (!message.is_object()) throw ApiError(400, "json: cannot unmarshal a message that is not an object");
      task.messages.push_back(read_message(message.get_object()));
    }
  if (const json::array* tools = fields.array("tools")) task.tools = *tools;
  task.tool_choice = read_tool_choice(fields);
  const InstalledModel installed = find_model(app, request);
  if (task.messages.empty() && request.keep_alive_ns == 0) {
    app.host.unload(app.store.contents(installed).gguf_path);
    return reply_without_messages(exchange, request, "unload");
  }
  ChatTurn turn = prepare_chat(app, exchange, task);
  if (task.messages.empty()) return reply_without_messages(exchange, request, "load");
  size_t n_calls = 0;
  if (request.is_render_only) {
    json::object record = record_of(request, {}, n_calls);
    record["done"] = false;
    record["_debug_info"] = json::object{{"rendered_template", turn.rendered}};
    return reply(exchange, record);
  }

  RecordWriter writer(exchange, request.is_streaming);
  AnswerPiece whole;
  const engine::TokenEvent last = run_chat(exchange, turn, task, [&](AnswerPiece piece) {
    if (writer.is_streaming()) {
      json::object record = record_of(request, piece, n_calls);
      record["done"] = false;
      return writer.write(record);
    }
    whole.add(std::move(piece));
  });
  json::object record = record_of(request, whole, n_calls);
  record["done"] = true;
  record["done_reason"] = done_reason(last);
  add_metrics(record, turn.completion, last);
  writer.write(record);
}

}  // namespace olx::server
