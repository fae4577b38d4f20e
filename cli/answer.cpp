#include "cli/answer.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "server/wire.h"

namespace olx::cli {
namespace {

namespace json = boost::json;

struct sigaction g_previous_action;

void on_interrupt(int) { Client::interrupt(); }

void print_rate(const json::object& record, const char* name, const char* count_key, const char* duration_key) {
  const int64_t count = number_of(record, count_key), ns = number_of(record, duration_key);
  if (count > 0) std::fprintf(stderr, "%s count:%*s%lld token(s)\n", name, name[0] == 'p' ? 4 : 11, "", static_cast<long long>(count));
  if (ns <= 0) return;
  std::fprintf(stderr, "%s duration:%*s%s\n", name, name[0] == 'p' ? 1 : 8, "", server::go_duration(ns).c_str());
  std::fprintf(stderr, "%s rate:%*s%.2f tokens/s\n", name, name[0] == 'p' ? 5 : 12, "",
               static_cast<double>(count) * 1e9 / static_cast<double>(ns));
}

}  // namespace

InterruptGuard::InterruptGuard() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, &g_previous_action);
}

InterruptGuard::~InterruptGuard() { ::sigaction(SIGINT, &g_previous_action, nullptr); }

AnswerPrinter::AnswerPrinter(bool is_wrapped, bool is_thinking_hidden)
    : wrapper_(is_wrapped), is_thinking_hidden_(is_thinking_hidden) {}

void AnswerPrinter::print(const json::object& record) {
  last_ = record;
  const json::value* message = record.if_contains("message");
  const json::object& from = message && message->is_object() ? message->as_object() : record;
  const std::string thinking = text_of(from, "thinking");
  const std::string text = text_of(from, message ? "content" : "response");
  const bool is_grey = is_terminal(STDOUT_FILENO);
  if (!thinking.empty()) {
    thinking_ += thinking;
    if (!is_thinking_hidden_) {
      if (!is_in_thinking_) wrapper_.write(is_grey ? "\x1b[90mThinking...\n" : "Thinking...\n");
      is_in_thinking_ = true;
      wrapper_.write(thinking);
    }
  }
  if (!text.empty()) {
    if (is_in_thinking_) {
      wrapper_.write(std::string(thinking_.ends_with('\n') ? "" : "\n") + "...done thinking.\n\n" + (is_grey ? "\x1b[0m" : ""));
      is_in_thinking_ = false;
    }
    text_ += text;
    has_printed_ = true;
    wrapper_.write(text);
  }
  if (const json::value* calls = from.if_contains("tool_calls"); calls && calls->is_array())
    for (const json::value& call : calls->as_array())
      if (const json::value* function = call.as_object().if_contains("function"); function && function->is_object()) {
        const json::value* arguments = function->as_object().if_contains("arguments");
        wrapper_.write("  Model called a non-existent function '" + text_of(function->as_object(), "name") +
                       "()' with arguments: " + (arguments ? json::serialize(*arguments) : "{}") + "\n");
        has_printed_ = true;
      }
}

void AnswerPrinter::finish(bool is_verbose) {
  if (is_in_thinking_ && is_terminal(STDOUT_FILENO)) std::fputs("\x1b[0m", stdout);
  if (has_printed_ || is_in_thinking_) std::fputs("\n\n", stdout);
  std::fflush(stdout);
  if (const int64_t n = number_of(last_, "prompt_truncated_count"); n > 0)
    std::fprintf(stderr, "Warning: %lld tokens of the prompt did not fit into the context and were left out; a larger num_ctx holds more\n",
                 static_cast<long long>(n));
  if (!is_verbose) return;
  if (const int64_t ns = number_of(last_, "total_duration"); ns > 0)
    std::fprintf(stderr, "total duration:       %s\n", server::go_duration(ns).c_str());
  if (const int64_t ns = number_of(last_, "load_duration"); ns > 0)
    std::fprintf(stderr, "load duration:        %s\n", server::go_duration(ns).c_str());
  print_rate(last_, "prompt eval", "prompt_eval_count", "prompt_eval_duration");
  print_rate(last_, "eval", "eval_count", "eval_duration");
  if (const int64_t n = number_of(last_, "draft_count"); n > 0)
    std::fprintf(stderr, "drafts accepted:      %lld of %lld token(s)\n", static_cast<long long>(number_of(last_, "draft_accepted_count")),
                 static_cast<long long>(n));
}

}  // namespace olx::cli
