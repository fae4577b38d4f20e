#include "engine/text/control_guard.h"

#include <algorithm>
#include <functional>

#include "engine/error.h"

namespace olx::engine {
namespace {

constexpr int kMaxDepth = 100;  // of values; the JSON they come from is less deep

using OnText = std::function<void(std::string& text, bool is_answer)>;

void each_text(Value& value, const OnText& on_text, int depth = 0) {
  if (depth > kMaxDepth)
    throw EngineError(ErrorCode::kInvalidRequest,
                      "a tool or argument is nested deeper than the limit of 100");
  if (const std::string* text = value.as_string()) {
    std::string changed = *text;
    on_text(changed, false);
    if (changed != *text) value = Value(std::move(changed));
  } else if (ValueList* list = value.as_list()) {
    for (Value& item : *list) each_text(item, on_text, depth + 1);
  } else if (ValueMap* map = value.as_map()) {
    for (auto& [key, member] : *map) each_text(member, on_text, depth + 1);
  }
}

void each_text(ChatRequest& request, const OnText& on_text) {
  for (ChatMessage& message : request.messages) {
    const bool is_answer = message.role == "assistant";
    on_text(message.content, is_answer);
    on_text(message.thinking, is_answer);
    on_text(message.tool_name, false);
    on_text(message.tool_call_id, false);
    for (ToolCall& call : message.tool_calls) {
      on_text(call.name, false);
      each_text(call.arguments, on_text);
    }
  }
  each_text(request.tools, on_text);
}

// Unicode's noncharacters U+FDD0 to U+FDEF, which mean nothing in a text.
std::string unused_mark(ChatRequest& request) {
  for (int i = 0; i < 32; ++i) {
    const std::string mark = std::string("\xEF\xB7") + static_cast<char>(0x90 + i);
    bool is_used = false;
    each_text(request, [&](const std::string& text, bool) {
      is_used = is_used || text.find(mark) != std::string::npos;
    });
    if (!is_used) return mark;
  }
  throw EngineError(ErrorCode::kInvalidRequest,
                    "a conversation may not hold all of the noncharacters U+FDD0 to U+FDEF");
}

}  // namespace

GuardedChat guard_controls(const ChatRequest& request, const Tokenizer& tokenizer,
                           const std::vector<std::string>& answer_marks) {
  GuardedChat guarded{request, ""};
  const auto places_in = [&](std::string_view text, bool is_answer) {
    std::vector<ControlPlace> places = tokenizer.find_controls(text);
    if (is_answer)
      std::erase_if(places, [&](const ControlPlace& place) {
        const std::string_view spelling = text.substr(place.begin, place.n_bytes);
        return std::any_of(answer_marks.begin(), answer_marks.end(),
                           [&](const std::string& mark) { return mark == spelling; });
      });
    return places;
  };
  bool is_clean = true;
  each_text(guarded.request, [&](const std::string& text, bool is_answer) {
    is_clean = is_clean && places_in(text, is_answer).empty();
  });
  if (is_clean) return guarded;
  guarded.mark = unused_mark(guarded.request);
  each_text(guarded.request, [&](std::string& text, bool is_answer) {
    const std::vector<ControlPlace> places = places_in(text, is_answer);
    if (places.empty()) return;
    std::string out;
    size_t at = 0;
    for (const ControlPlace& place : places) {
      out.append(text, at, place.inside - at);
      out += guarded.mark;
      at = place.inside;
    }
    text = out.append(text, at);
  });
  return guarded;
}

ChatPrompt without_marks(std::string rendered, std::string_view mark) {
  if (mark.empty()) return {std::move(rendered), {}};
  ChatPrompt prompt;
  size_t at = 0;
  for (size_t found = rendered.find(mark); found != std::string::npos;
       found = rendered.find(mark, at)) {
    prompt.text.append(rendered, at, found - at);
    prompt.breaks.push_back(prompt.text.size());
    at = found + mark.size();
  }
  prompt.text.append(rendered, at);
  return prompt;
}

}  // namespace olx::engine
