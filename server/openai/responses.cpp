// POST /v1/responses: the next turn of a conversation, in the newer of OpenAI's protocols. Nothing
// is kept between requests.
#include <boost/json.hpp>
#include <ctime>

#include "server/http/event_stream.h"
#include "server/json/random_id.h"
#include "server/openai/answer.h"
#include "server/openai/responses_request.h"

namespace olx::server {
namespace {

namespace json = boost::json;

// The answer as it grows: its output items, and the events that tell of them where the answer is
// streamed.
class ResponseWriter {
 public:
  ResponseWriter(Exchange& exchange, const ResponsesRequest& request)
      : events_(exchange),
        request_(request),
        is_streaming_(request.task().request.is_streaming),
        created_(std::time(nullptr)) {}

  void add(const AnswerPiece& piece) {
    begin();
    if (!piece.thinking.empty()) add_thinking(piece.thinking);
    // What follows a call is dropped: clients take a turn for either calls or, at its end, text.
    if (!has_calls_) {
      logprobs_.insert(logprobs_.end(), piece.logprobs.begin(), piece.logprobs.end());
      if (!piece.content.empty()) add_text(piece.content);
    }
    for (const engine::ToolCall& call : piece.tool_calls) add_call(call);
  }

  // The whole object. Ends the stream where there is one.
  json::object finish(const engine::GenerateStats& stats) {
    begin();
    if (!has_message_ && !has_calls_) add_text("");
    close();
    Usage usage;
    usage.add(stats);
    json::object whole = record("completed", usage.of_responses());
    if (is_streaming_) send("response.completed", {{"response", whole}});
    return whole;
  }

 private:
  enum class Open { kNone, kReasoning, kMessage };

  json::object record(const char* status, json::value usage) const {
    const bool is_done = std::string_view(status) == "completed";
    json::object out{
        {"id", id_},
        {"object", "response"},
        {"created_at", created_},
        {"completed_at", is_done ? json::value(std::time(nullptr)) : json::value(nullptr)},
        {"status", status},
        {"incomplete_details", nullptr},
        {"model", request_.task().request.model},
        {"output", output_},
        {"error", nullptr}};
    for (const auto& member : request_.echo()) out[member.key()] = member.value();
    out["usage"] = std::move(usage);
    return out;
  }

  // Only with the first piece: until then what is wrong with a request can still be said in a
  // status.
  void begin() {
    if (std::exchange(has_begun_, true)) return;
    send("response.created", {{"response", record("in_progress", nullptr)}});
    send("response.in_progress", {{"response", record("in_progress", nullptr)}});
  }
  void send(std::string_view type, json::object members) {
    if (!is_streaming_) return;
    json::object event{{"type", type}, {"sequence_number", n_events_++}};
    for (auto& member : members) event[member.key()] = std::move(member.value());
    events_.send(type, event);
  }
  // An event about the item that is open.
  void send_item(std::string_view type, json::object members) {
    members["item_id"] = item_id_;
    members["output_index"] = output_.size();
    send(type, std::move(members));
  }

  json::object reasoning_item() const {
    json::array summary;
    if (!text_.empty()) summary.push_back(json::object{{"type", "summary_text"}, {"text", text_}});
    return {{"id", item_id_},
            {"type", "reasoning"},
            {"summary", summary},
            {"encrypted_content", text_}};
  }
  json::object text_part() const {
    return {{"type", "output_text"},
            {"text", text_},
            {"annotations", json::array()},
            {"logprobs", item_logprobs_}};
  }
  json::object message_item(const char* status, json::array content) const {
    return {{"id", item_id_},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }

  void open(Open kind, std::string item_id) {
    close();
    open_ = kind;
    item_id_ = std::move(item_id);
  }
  void close() {
    if (open_ == Open::kReasoning) {
      send_item("response.reasoning_summary_text.done", {{"summary_index", 0}, {"text", text_}});
      end_item(reasoning_item());
    } else if (open_ == Open::kMessage) {
      send_item("response.output_text.done",
                {{"content_index", 0}, {"text", text_}, {"logprobs", item_logprobs_}});
      send_item("response.content_part.done", {{"content_index", 0}, {"part", text_part()}});
      end_item(message_item("completed", {text_part()}));
    }
    open_ = Open::kNone;
    text_.clear();
    item_logprobs_.clear();
  }
  void begin_item(json::object item) {
    send("response.output_item.added",
         {{"output_index", output_.size()}, {"item", std::move(item)}});
  }
  void end_item(json::object item) {
    send("response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
    output_.push_back(std::move(item));
  }

  void add_thinking(const std::string& text) {
    if (open_ != Open::kReasoning) {
      open(Open::kReasoning,
           "rs_" + id_ + (n_reasoning_ == 0 ? "" : "_" + std::to_string(n_reasoning_)));
      ++n_reasoning_;
      begin_item(reasoning_item());
    }
    text_ += text;
    send_item("response.reasoning_summary_text.delta", {{"summary_index", 0}, {"delta", text}});
  }
  void add_text(const std::string& text) {
    if (open_ != Open::kMessage) {
      open(Open::kMessage, random_id("msg_"));
      has_message_ = true;
      begin_item(message_item("in_progress", {}));
      send_item("response.content_part.added", {{"content_index", 0}, {"part", text_part()}});
    }
    text_ += text;
    json::array logprobs = std::exchange(logprobs_, {});
    item_logprobs_.insert(item_logprobs_.end(), logprobs.begin(), logprobs.end());
    if (!text.empty())
      send_item("response.output_text.delta",
                {{"content_index", 0}, {"delta", text}, {"logprobs", std::move(logprobs)}});
  }
  void add_call(const engine::ToolCall& call) {
    open(Open::kNone, "fc_" + id_ + "_" + std::to_string(n_calls_++));
    has_calls_ = true;
    const std::string arguments = go_json(to_json(call.arguments));
    json::object item{{"id", item_id_},     {"type", "function_call"}, {"status", "in_progress"},
                      {"call_id", call.id}, {"name", call.name},       {"arguments", ""}};
    begin_item(item);
    send_item("response.function_call_arguments.delta", {{"delta", arguments}});
    send_item("response.function_call_arguments.done",
              {{"name", call.name}, {"arguments", arguments}});
    item["status"] = "completed";
    item["arguments"] = arguments;
    end_item(std::move(item));
  }

  EventStream events_;
  const ResponsesRequest& request_;
  bool is_streaming_;
  int64_t created_;
  std::string id_ = random_id("resp_");
  json::array output_;          // items that are whole
  Open open_ = Open::kNone;     // the item that is not
  std::string item_id_, text_;  // its id, and what it says so far
  json::array item_logprobs_;
  json::array logprobs_;  // of text that is still held back
  bool has_begun_ = false, has_message_ = false, has_calls_ = false;
  int n_calls_ = 0, n_reasoning_ = 0;
  int64_t n_events_ = 0;
};

}  // namespace

void handle_openai_responses(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const ResponsesRequest request(body.get_object());
  ChatTurn turn = prepare_chat(app, exchange, request.task());
  ResponseWriter writer(exchange, request);
  const engine::TokenEvent last = run_chat(exchange, turn, request.task(),
                                           [&](const AnswerPiece& piece) { writer.add(piece); });
  const json::object whole = writer.finish(last.stats);
  if (!request.task().request.is_streaming) reply(exchange, whole);
}

}  // namespace olx::server
