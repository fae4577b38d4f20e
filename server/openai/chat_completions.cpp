// POST /v1/chat/completions: the next message of a conversation, as OpenAI's clients ask for it.
#include <boost/json.hpp>

#include "server/http/event_stream.h"
#include "server/openai/answer.h"
#include "server/openai/chat_request.h"

namespace olx::server {
namespace {

namespace json = boost::json;

json::array calls_json(const std::vector<engine::ToolCall>& calls, size_t first_index) {
  json::array out;
  for (const engine::ToolCall& call : calls)
    out.push_back(json::object{
        {"id", call.id},
        {"index", first_index++},
        {"type", "function"},
        {"function", json::object{{"name", call.name}, {"arguments", go_json(to_json(call.arguments))}}}});
  return out;
}

const char* finish_reason(const engine::TokenEvent& last, bool has_calls) {
  const std::string_view reason = done_reason(last);
  if (reason == "length") return "length";
  return has_calls ? "tool_calls" : "stop";
}

// One choice of a streamed answer.
class ChoiceStream {
 public:
  ChoiceStream(EventStream& events, const RecordHead& head, int index) : events_(events), head_(head), index_(index) {}

  // Thinking goes in a chunk of its own, as clients show it apart.
  void send(AnswerPiece piece) {
    if (!piece.thinking.empty()) {
      json::object delta{{"content", ""}, {"reasoning", piece.thinking}};
      send_delta(std::move(delta), std::exchange(piece.logprobs, {}), nullptr);
      if (piece.content.empty() && piece.tool_calls.empty()) return;
    }
    json::object delta{{"content", piece.content}};
    if (!piece.tool_calls.empty()) delta["tool_calls"] = calls_json(piece.tool_calls, n_calls_);
    n_calls_ += piece.tool_calls.size();
    send_delta(std::move(delta), piece.logprobs, nullptr);
  }
  void finish(const engine::TokenEvent& last) {
    if (!has_role_) send({});
    send_delta({}, {}, finish_reason(last, n_calls_ > 0));
  }

 private:
  void send_delta(json::object delta, const json::array& logprobs, json::value reason) {
    const bool is_first = !std::exchange(has_role_, true);
    if (is_first) delta["role"] = "assistant";
    json::object choice{{"index", index_}, {"delta", std::move(delta)}, {"finish_reason", std::move(reason)}};
    if (!logprobs.empty()) choice["logprobs"] = logprobs_object(logprobs);
    json::object record = head_.record("chat.completion.chunk");
    record["choices"] = json::array{std::move(choice)};
    events_.send(record);
  }

  EventStream& events_;
  const RecordHead& head_;
  int index_;
  bool has_role_ = false;
  size_t n_calls_ = 0;
};

json::object whole_choice(int index, const AnswerPiece& whole, const engine::TokenEvent& last) {
  json::object message{{"role", "assistant"}, {"content", whole.content}};
  if (!whole.thinking.empty()) message["reasoning"] = whole.thinking;
  if (!whole.tool_calls.empty()) message["tool_calls"] = calls_json(whole.tool_calls, 0);
  json::object choice{{"index", index},
                      {"message", std::move(message)},
                      {"finish_reason", finish_reason(last, !whole.tool_calls.empty())}};
  if (!whole.logprobs.empty()) choice["logprobs"] = logprobs_object(whole.logprobs);
  return choice;
}

}  // namespace

void handle_openai_chat(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const OpenAiChatRequest request(body.get_object());
  const ChatTask& task = request.task();
  ChatTurn turn = prepare_chat(app, exchange, task);
  const RecordHead head("chatcmpl-", task.request.model);
  EventStream events(exchange);
  Usage usage;
  json::array choices;
  for (int i = 0; i < request.n_choices(); ++i) {
    vary_seed(turn.completion, i);
    engine::TokenEvent last;
    if (task.request.is_streaming) {
      ChoiceStream stream(events, head, i);
      last = run_chat(exchange, turn, task, [&](AnswerPiece piece) { stream.send(std::move(piece)); });
      stream.finish(last);
    } else {
      AnswerPiece whole;
      last =
          run_chat(exchange, turn, task, [&](AnswerPiece piece) { whole.add(std::move(piece)); });
      choices.push_back(whole_choice(i, whole, last));
    }
    usage.add(last.stats);
  }
  json::object record = head.record(task.request.is_streaming ? "chat.completion.chunk" : "chat.completion");
  record["choices"] = std::move(choices);
  record["usage"] = usage.of_chat();
  if (!task.request.is_streaming) return reply(exchange, record);
  if (request.includes_usage()) events.send(record);
  events.send_done();
}

}  // namespace olx::server
