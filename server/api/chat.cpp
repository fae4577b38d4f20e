// POST /api/chat: the next message of a conversation.
#include <algorithm>
#include <boost/json.hpp>

#include "server/api/completion.h"

namespace olx::server {
namespace {

namespace json = boost::json;

json::object record_head(const CompletionRequest& request, const std::string& content) {
  return {{"model", request.model}, {"created_at", utc_now()}, {"message", json::object{{"role", "assistant"}, {"content", content}}}};
}

void reply_without_messages(Exchange& exchange, const CompletionRequest& request, const char* reason) {
  json::object record = record_head(request, "");
  record["done"] = true;
  record["done_reason"] = reason;
  reply(exchange, record);
}

engine::ToolCall tool_call_of(const json::value& value) {
  engine::ToolCall call;
  if (!value.is_object()) throw ApiError(400, "json: cannot unmarshal a tool call that is not an object");
  const Fields fields(value.get_object(), "ToolCall");
  call.id = fields.text("id").value_or("");
  if (const json::object* function = fields.object("function")) {
    const Fields inner(*function, "ToolCallFunction");
    call.name = inner.text("name").value_or("");
    const json::object* arguments = inner.object("arguments");
    call.arguments = arguments ? to_value(*arguments) : engine::Value(engine::ValueMap{});
  }
  return call;
}

engine::ChatMessage message_of(const json::object& object) {
  const Fields fields(object, "Message");
  engine::ChatMessage message;
  message.role = fields.text("role").value_or("");
  std::transform(message.role.begin(), message.role.end(), message.role.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  message.content = fields.text("content").value_or("");
  message.thinking = fields.text("thinking").value_or("");
  message.tool_name = fields.text("tool_name").value_or("");
  message.tool_call_id = fields.text("tool_call_id").value_or("");
  message.images = fields.texts("images");
  if (const json::array* calls = fields.array("tool_calls"))
    for (const json::value& call : *calls) message.tool_calls.push_back(tool_call_of(call));
  return message;
}

// System text of the model, stored messages, then the request's own.
std::vector<engine::ChatMessage> conversation(const Completion& completion, std::vector<engine::ChatMessage> messages) {
  std::vector<engine::ChatMessage> all;
  for (const engine::Value& stored : completion.contents.messages) {
    const json::value value = to_json(stored);
    if (value.is_object()) all.push_back(message_of(value.get_object()));
  }
  all.insert(all.end(), std::make_move_iterator(messages.begin()), std::make_move_iterator(messages.end()));
  if (!completion.contents.system.empty() && (all.empty() || all[0].role != "system"))
    all.insert(all.begin(), {.role = "system", .content = completion.contents.system});
  return all;
}

// The messages from `first` on, and the system messages before it.
engine::ChatRequest without_oldest(const engine::ChatRequest& chat, size_t first) {
  engine::ChatRequest shorter = chat;
  shorter.messages.clear();
  for (size_t i = 0; i < chat.messages.size(); ++i)
    if (i >= first || chat.messages[i].role == "system") shorter.messages.push_back(chat.messages[i]);
  return shorter;
}

// Renders, leaving out the oldest messages (but never a system message nor the last one) until the prompt fits.
std::vector<int32_t> fitting_prompt(const engine::Engine& engine, const engine::ChatRequest& chat, bool may_truncate,
                                    std::string& rendered) {
  rendered = engine.render_chat(chat);
  std::vector<int32_t> tokens = engine.tokenize(rendered, true, true);
  const auto fits = [&](size_t n_tokens) { return static_cast<int64_t>(n_tokens) <= engine.info().n_ctx; };
  if (!may_truncate || fits(tokens.size()) || chat.messages.size() < 2) return tokens;
  // By bisection: a long conversation must not be rendered once for each of its messages. Some templates refuse to begin
  // with certain roles; then the conversation begins with what the user says next.
  const size_t last = chat.messages.size() - 1;
  for (size_t low = 1, high = last; low <= high;) {
    const size_t middle = low + (high - low) / 2;
    size_t first = middle;
    std::string text;
    for (bool is_rendered = false; !is_rendered;) {
      try {
        text = engine.render_chat(without_oldest(chat, first));
        is_rendered = true;
      } catch (const engine::EngineError&) {
        if (first == last) throw;
        do ++first;
        while (first < last && chat.messages[first].role != "user");
      }
    }
    std::vector<int32_t> found = engine.tokenize(text, true, true);
    const bool is_short = fits(found.size());
    if (is_short || first == last) {
      rendered = std::move(text);
      tokens = std::move(found);
    }
    if (is_short) high = middle - 1;
    else low = first + 1;
  }
  return tokens;
}

}  // namespace

void handle_chat(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "ChatRequest");
  CompletionRequest request = read_completion(fields);
  if (request.model.empty()) throw ApiError(400, "model is required");
  std::vector<engine::ChatMessage> messages;
  if (const json::array* given = fields.array("messages"))
    for (const json::value& message : *given) {
      if (!message.is_object()) throw ApiError(400, "json: cannot unmarshal a message that is not an object");
      messages.push_back(message_of(message.get_object()));
    }
  const InstalledModel installed = find_model(app, request);
  if (messages.empty() && request.keep_alive_ns == 0) {
    app.host.unload(app.store.contents(installed).gguf_path);
    return reply_without_messages(exchange, request, "unload");
  }
  Completion completion = start_completion(app, exchange, request);
  if (!completion.can("completion")) throw ApiError(400, "\"" + request.model + "\" does not support chat");
  if (request.think.value_or(false) && !completion.can("thinking"))
    throw ApiError(400, "\"" + request.model + "\" does not support thinking");
  const json::array* tools = fields.array("tools");
  if (tools != nullptr && !tools->empty() && !completion.can("tools"))
    throw ApiError(400, completion.installed.name.full() + " does not support tools");
  const bool has_images = std::any_of(messages.begin(), messages.end(), [](const auto& message) { return !message.images.empty(); });
  if (has_images) throw ApiError(400, completion.installed.name.full() + " does not support vision");
  if (messages.empty()) return reply_without_messages(exchange, request, "load");

  engine::Engine& engine = completion.lease.engine();
  engine::ChatRequest chat;
  chat.messages = conversation(completion, std::move(messages));
  if (tools != nullptr && !tools->empty()) chat.tools = to_value(*tools);
  chat.think = completion.thinks(request);
  chat.think_level = request.think_level;
  chat.template_text = completion.contents.template_text.value_or("");
  std::string rendered;
  std::vector<int32_t> tokens = fitting_prompt(engine, chat, request.may_truncate, rendered);
  if (request.is_render_only) {
    json::object record = record_head(request, "");
    record["done"] = false;
    record["_debug_info"] = json::object{{"rendered_template", rendered}};
    return reply(exchange, record);
  }

  RecordWriter writer(exchange, request.is_streaming);
  std::string text;
  json::array all_logprobs;
  const engine::TokenEvent last = run_completion(exchange, completion, request, std::move(tokens), [&](const std::string& piece, const json::array& logprobs) {
    if (!writer.is_streaming()) {
      text += piece;
      all_logprobs.insert(all_logprobs.end(), logprobs.begin(), logprobs.end());
      return;
    }
    json::object record = record_head(request, piece);
    record["done"] = false;
    if (!logprobs.empty()) record["logprobs"] = logprobs;
    writer.write(record);
  });
  json::object record = record_head(request, text);
  record["done"] = true;
  record["done_reason"] = done_reason(last);
  add_metrics(record, completion, last);
  if (!all_logprobs.empty()) record["logprobs"] = all_logprobs;
  writer.write(record);
}

}  // namespace olx::server
