// POST /v1/messages and /v1/messages/count_tokens: the next message of a conversation, as Anthropic's clients ask for it.
#include <boost/json.hpp>

#include "server/anthropic/messages_request.h"
#include "server/api/capabilities.h"
#include "server/http/event_stream.h"
#include "server/json/random_id.h"

namespace olx::server {
namespace {

namespace json = boost::json;

const char* stop_reason(const engine::TokenEvent& last, bool has_calls) {
  if (last.done == engine::DoneReason::kLength) return "max_tokens";
  return has_calls ? "tool_use" : "end_turn";
}

json::object usage_json(int64_t n_input, int64_t n_output) { return {{"input_tokens", n_input}, {"output_tokens", n_output}}; }

json::object message_json(const CompletionRequest& request, json::array content, json::value reason, json::object usage) {
  return {{"id", random_id("msg_")},        {"type", "message"},           {"role", "assistant"},   {"model", request.model},
          {"content", std::move(content)}, {"stop_reason", std::move(reason)}, {"stop_sequence", nullptr}, {"usage", std::move(usage)}};
}

json::object thinking_block(std::string_view text) { return {{"type", "thinking"}, {"thinking", text}, {"signature", ""}}; }
json::object text_block(std::string_view text) { return {{"type", "text"}, {"text", text}}; }
json::object call_block(const engine::ToolCall& call, json::value input) {
  return {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", std::move(input)}};
}

// A streamed answer: blocks one after the other, each begun, continued and ended.
class MessageStream {
 public:
  MessageStream(Exchange& exchange, const CompletionRequest& request, size_t n_prompt)
      : events_(exchange), request_(request), n_prompt_(static_cast<int64_t>(n_prompt)) {}

  void send(const AnswerPiece& piece) {
    begin();
    if (!piece.thinking.empty()) {
      open("thinking", thinking_block(""));
      delta({{"type", "thinking_delta"}, {"thinking", piece.thinking}});
    }
    if (!piece.content.empty()) {
      open("text", text_block(""));
      delta({{"type", "text_delta"}, {"text", piece.content}});
    }
    for (const engine::ToolCall& call : piece.tool_calls) {
      close();
      open("tool_use", call_block(call, json::object()));
      delta({{"type", "input_json_delta"}, {"partial_json", go_json(to_json(call.arguments))}});
      close();
      has_calls_ = true;
    }
  }
  void finish(const engine::TokenEvent& last) {
    begin();
    close();
    send_event("message_delta", {{"delta", json::object{{"stop_reason", stop_reason(last, has_calls_)}, {"stop_sequence", nullptr}}},
                                 {"usage", usage_json(last.stats.n_prompt_tokens, last.stats.n_generated_tokens)}});
    send_event("message_stop", {});
  }

 private:
  void send_event(std::string_view name, json::object members) {
    json::object event{{"type", name}};
    for (auto& member : members) event[member.key()] = std::move(member.value());
    events_.send(name, event);
  }
  void begin() {
    if (std::exchange(has_begun_, true)) return;
    send_event("message_start", {{"message", message_json(request_, {}, nullptr, usage_json(n_prompt_, 0))}});
    send_event("ping", {});
  }
  void open(std::string_view type, json::object block) {
    if (open_ == type) return;
    close();
    open_ = type;
    send_event("content_block_start", {{"index", index_}, {"content_block", std::move(block)}});
  }
  void delta(json::object part) { send_event("content_block_delta", {{"index", index_}, {"delta", std::move(part)}}); }
  void close() {
    if (open_.empty()) return;
    open_ = "";
    send_event("content_block_stop", {{"index", index_++}});
  }

  EventStream events_;
  const CompletionRequest& request_;
  int64_t n_prompt_;
  std::string_view open_;  // type of the block that is open; "": none
  int index_ = 0;
  bool has_begun_ = false, has_calls_ = false;
};

// A model that cannot think answers without, as Ollama has it on this route.
void drop_thinking_where_impossible(const App& app, CompletionRequest& request) {
  if (!request.think.value_or(false)) return;
  const InstalledModel installed = find_model(app, request);
  const ModelContents contents = app.store.contents(installed);
  if (contents.gguf_path.empty()) return;
  for (const std::string& capability : app.capabilities.of(installed, contents))
    if (capability == "thinking") return;
  request.think.reset();
  request.think_level.clear();
}

}  // namespace

void handle_anthropic_messages(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  AnthropicRequest request(body.get_object(), AnthropicRequest::Purpose::kAnswer);
  ChatTask& task = request.task();
  drop_thinking_where_impossible(app, task.request);
  ChatTurn turn = prepare_chat(app, exchange, task);
  if (task.request.is_streaming) {
    MessageStream stream(exchange, task.request, turn.prompt_tokens.size());
    stream.finish(run_chat(exchange, turn, task, [&](const AnswerPiece& piece) { stream.send(piece); }));
    return;
  }
  AnswerPiece whole;
  const engine::TokenEvent last =
      run_chat(exchange, turn, task, [&](AnswerPiece piece) { whole.add(std::move(piece)); });
  json::array content;
  if (!whole.thinking.empty()) content.push_back(thinking_block(whole.thinking));
  if (!whole.content.empty()) content.push_back(text_block(whole.content));
  for (const engine::ToolCall& call : whole.tool_calls) content.push_back(call_block(call, to_json(call.arguments)));
  reply(exchange, message_json(task.request, std::move(content), stop_reason(last, !whole.tool_calls.empty()),
                               usage_json(last.stats.n_prompt_tokens, last.stats.n_generated_tokens)));
}

void handle_anthropic_count(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  AnthropicRequest request(body.get_object(), AnthropicRequest::Purpose::kCount);
  request.task().request.may_truncate = false;  // all of it counts, also what would not fit
  drop_thinking_where_impossible(app, request.task().request);
  const ChatTurn turn = prepare_chat(app, exchange, request.task());
  reply(exchange, json::object{{"input_tokens", turn.prompt_tokens.size()}});
}

}  // namespace olx::server
