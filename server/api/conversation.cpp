#include "server/api/conversation.h"

#include <algorithm>
#include <boost/json.hpp>

#include "engine/answer/call_constraint.h"
#include "gguf/ascii.h"
#include "server/api/history.h"

namespace olx::server {
namespace {

namespace json = boost::json;

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

// System text of the model, stored messages, then the request's own. A request that begins with a
// system message has it in the model's place.
std::vector<engine::ChatMessage> conversation(const Completion& completion, std::vector<engine::ChatMessage> messages) {
  const bool has_own_system = !messages.empty() && messages[0].role == "system";
  std::vector<engine::ChatMessage> all;
  for (const engine::Value& stored : completion.contents.messages) {
    const json::value value = to_json(stored);
    if (value.is_object()) all.push_back(read_message(value.get_object()));
  }
  all.insert(all.end(), std::make_move_iterator(messages.begin()), std::make_move_iterator(messages.end()));
  if (!completion.contents.system.empty() && !has_own_system)
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
std::vector<int32_t> fitting_prompt(ModelHost& model, const engine::ChatRequest& chat, bool may_truncate,
                                    std::string& rendered, int64_t& n_left_out) {
  engine::ChatPrompt prompt = model.render_chat(chat);
  std::vector<int32_t> tokens = model.tokenize(prompt, true);
  rendered = std::move(prompt.text);
  const auto fits = [&](size_t n_tokens) { return static_cast<int64_t>(n_tokens) <= model.info().n_ctx; };
  if (!may_truncate || fits(tokens.size()) || chat.messages.size() < 2) return tokens;
  // By bisection: a long conversation must not be rendered once for each of its messages. Some templates refuse to begin
  // with certain roles; then the conversation begins with what the user says next.
  const size_t last = chat.messages.size() - 1, n_whole = tokens.size();
  for (size_t low = 1, high = last; low <= high;) {
    const size_t middle = low + (high - low) / 2;
    size_t first = middle;
    engine::ChatPrompt shorter;
    for (bool is_rendered = false; !is_rendered;) {
      try {
        shorter = model.render_chat(without_oldest(chat, first));
        is_rendered = true;
      } catch (const engine::EngineError&) {
        if (first == last) throw;
        do ++first;
        while (first < last && chat.messages[first].role != "user");
      }
    }
    std::vector<int32_t> found = model.tokenize(shorter, true);
    const bool is_short = fits(found.size());
    if (is_short || first == last) {
      rendered = std::move(shorter.text);
      tokens = std::move(found);
    }
    if (is_short) high = middle - 1;
    else low = first + 1;
  }
  n_left_out = static_cast<int64_t>(n_whole) - static_cast<int64_t>(tokens.size());
  return tokens;
}

// The tools that the answer may call: all it was told of, or the one chosen.
engine::Value callable_tools(const engine::Value& offered, const ToolChoice& choice) {
  if (choice.kind != ToolChoice::Kind::kNamed) return offered;
  engine::ValueList chosen;
  for (const engine::Value& tool : *offered.as_list()) {
    const engine::Value* function = tool.find("function");
    const engine::Value* name = function ? function->find("name") : nullptr;
    if (name && name->as_string() && *name->as_string() == choice.name) chosen.push_back(tool);
  }
  return chosen;
}

// What tool_choice and `format` ask for together: calls where they must be, either where both may
// be.
void constrain_answer(ChatTurn& turn, const ToolChoice& choice, bool may_think) {
  engine::OutputConstraint& constraint = turn.completion.constraint;
  const bool has_content = !constraint.is_none();
  const bool has_calls = choice.must_call() || (has_content && !turn.tools.is_null());
  if (has_calls) {
    engine::OutputConstraint calls =
        constrain_calls(turn.format, callable_tools(turn.tools, choice), choice.allows_parallel);
    constraint = choice.must_call() ? std::move(calls)
                                    : constrain_either(turn.format, constraint, std::move(calls));
  }
  if (!constraint.is_none())
    free_thinking(turn.format, turn.rendered, may_think, !has_calls, constraint);
}

}  // namespace

engine::ChatMessage read_message(const json::object& object) {
  const Fields fields(object, "Message");
  engine::ChatMessage message;
  message.role = ascii::lower(fields.text("role").value_or(""));
  message.content = fields.text("content").value_or("");
  message.thinking = fields.text("thinking").value_or("");
  message.tool_name = fields.text("tool_name").value_or("");
  message.tool_call_id = fields.text("tool_call_id").value_or("");
  message.images = fields.texts("images");
  if (const json::array* calls = fields.array("tool_calls"))
    for (const json::value& call : *calls) message.tool_calls.push_back(tool_call_of(call));
  return message;
}

json::object tool_call_json(const engine::ToolCall& call, size_t index) {
  json::object function{
      {"index", index}, {"name", call.name}, {"arguments", to_json(call.arguments)}};
  json::object out;
  if (!call.id.empty()) out["id"] = call.id;
  out["function"] = std::move(function);
  return out;
}

ChatTurn prepare_chat(App& app, Exchange& exchange, const ChatTask& task) {
  const CompletionRequest& request = task.request;
  size_t n_images = 0;
  for (const engine::ChatMessage& message : task.messages) n_images += message.images.size();
  check_count("messages", task.messages.size(), kMaxMessages);
  check_count("tools", task.tools.size(), kMaxTools);
  check_count("images", n_images, kMaxImages);
  const json::array tools = offered_tools(task.tools, task.tool_choice);
  ChatTurn turn{start_completion(app, exchange, request), "", {}, {}, {}};
  Completion& completion = turn.completion;
  if (!completion.can("completion")) throw ApiError(400, "\"" + request.model + "\" does not support chat");
  if (request.think.value_or(false) && !completion.can("thinking"))
    throw ApiError(400, "\"" + request.model + "\" does not support thinking");
  if (!tools.empty() && !completion.can("tools")) throw ApiError(400, completion.installed.name.full() + " does not support tools");
  if (n_images > 0) throw ApiError(400, completion.installed.name.full() + " does not support vision");
  if (task.messages.empty()) return turn;

  engine::ChatRequest chat;
  chat.template_text = completion.contents.template_text.value_or("");
  chat.think = completion.thinks(request);
  turn.format = answer_format(completion, chat.template_text, chat.think);
  chat.think_level = think_level(request, turn.format);
  chat.messages = conversation(completion, task.messages);
  complete_history(chat.messages, turn.format);
  if (!tools.empty()) chat.tools = turn.tools = to_value(tools);
  if (chat.template_text.empty())
    for (const std::string& stop : completion.lease.model().info().default_stops)
      completion.options.stop.push_back(stop);
  turn.prompt_tokens = fitting_prompt(completion.lease.model(), chat, request.may_truncate, turn.rendered, completion.n_left_out);
  completion.marks = turn.format.marks();
  constrain_answer(turn, task.tool_choice, chat.think.value_or(true));
  return turn;
}

engine::TokenEvent run_chat(Exchange& exchange, ChatTurn& turn, const ChatTask& task, const OnPiece& on_piece) {
  AnswerReader reader(turn.format, turn.tools, turn.rendered, task.call_id_prefix,
                      task.tool_choice.allows_parallel ? 0 : 1);
  engine::TokenEvent last =
      run_completion(exchange, turn.completion, task.request, turn.prompt_tokens,
                     [&](const std::string& text, const json::array& logprobs) {
                       AnswerPiece piece = reader.push(text, logprobs);
                       if (!piece.is_empty()) on_piece(std::move(piece));
                       return !reader.is_over();
                     });
  if (AnswerPiece piece = reader.finish(); !piece.is_empty()) on_piece(std::move(piece));
  return last;
}

}  // namespace olx::server
