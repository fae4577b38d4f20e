#include "server/api/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace olx::server {
namespace {

using engine::ChatMessage;
using engine::ToolCall;

struct OpenCall {
  const ToolCall* call;
  bool is_answered = false;
};

void match_results(std::vector<ChatMessage>& messages) {
  std::unordered_map<std::string, const ToolCall*>
      by_id;                   // of all turns; a later call of the same id counts
  std::vector<OpenCall> open;  // of the last message with calls
  size_t n_calls = 0;
  for (ChatMessage& message : messages) {
    if (!message.tool_calls.empty()) {
      open.clear();
      for (ToolCall& call : message.tool_calls) {
        // The same in every request of a conversation, so that its prompt stays the beginning of
        // the next.
        if (call.id.empty()) call.id = fmt::format("call_{:08}", n_calls);
        ++n_calls;
        by_id[call.id] = &call;
        open.push_back({&call});
      }
    }
    if (message.role != "tool") continue;
    const auto fits = [&](const OpenCall& entry) {
      if (entry.is_answered) return false;
      return message.tool_name.empty() || entry.call->name == message.tool_name;
    };
    const ToolCall* call = nullptr;
    if (const auto found = by_id.find(message.tool_call_id);
        !message.tool_call_id.empty() && found != by_id.end())
      call = found->second;
    auto entry = std::find_if(open.begin(), open.end(), [&](const OpenCall& one) {
      return call ? one.call == call : fits(one);
    });
    if (entry != open.end()) {
      entry->is_answered = true;
      call = entry->call;
    }
    if (call == nullptr) continue;
    if (message.tool_name.empty()) message.tool_name = call->name;
    if (message.tool_call_id.empty()) message.tool_call_id = call->id;
  }
}

void drop_old_thinking(std::vector<ChatMessage>& messages, const engine::AnswerFormat& format) {
  if (format.think_open.empty()) return;
  constexpr std::string_view kSpace = " \t\r\n";
  size_t last_user = 0;
  for (size_t i = 0; i < messages.size(); ++i)
    if (messages[i].role == "user") last_user = i;
  for (size_t i = 0; i < last_user; ++i) {
    std::string& content = messages[i].content;
    if (messages[i].role != "assistant") continue;
    const size_t begin = content.find_first_not_of(kSpace);
    if (begin == std::string::npos ||
        content.compare(begin, format.think_open.size(), format.think_open) != 0)
      continue;
    const size_t close = content.find(format.think_close, begin);
    if (close == std::string::npos) continue;
    const size_t rest = content.find_first_not_of(kSpace, close + format.think_close.size());
    content = rest == std::string::npos ? "" : content.substr(rest);
  }
}

// Mistral's templates refuse an id that is not nine letters and digits.
std::string short_id(const std::string& id) {
  constexpr size_t kLength = 9;
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  const bool is_plain =
      std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
  if (id.empty() || (is_plain && id.size() == kLength)) return id;
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const unsigned char c : id) hash = (hash ^ c) * 1099511628211u;
  std::string out;
  for (size_t i = 0; i < kLength; ++i, hash /= kDigits.size())
    out += kDigits[hash % kDigits.size()];
  return out;
}

}  // namespace

void complete_history(std::vector<ChatMessage>& messages, const engine::AnswerFormat& format) {
  match_results(messages);
  drop_old_thinking(messages, format);
  if (format.call_open != "[TOOL_CALLS]") return;
  for (ChatMessage& message : messages) {
    message.tool_call_id = short_id(message.tool_call_id);
    for (ToolCall& call : message.tool_calls) call.id = short_id(call.id);
  }
}

}  // namespace olx::server
