#pragma once
// Reads the calls out of the text between the marks of a call. One reader for each CallSyntax; used by AnswerParser only.

#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/answer/literal_reader.h"
#include "engine/request.h"

namespace olx::engine {

// The text of a call may be this long; a longer one is content.
constexpr size_t kMaxCallBytes = 1 << 20;

// The declared tools, as in ChatRequest::tools.
class ToolSet {
 public:
  explicit ToolSet(const Value& tools);
  bool is_empty() const { return names_.empty(); }
  bool has(std::string_view name) const;
  // Whether the declaration says that the parameter is a text (and so needs no quotes). An undeclared one is not.
  bool is_text(std::string_view tool, std::string_view parameter) const;

 private:
  std::vector<std::string> names_;
  std::vector<std::pair<std::string, std::string>> texts_;  // tool, parameter
};

struct CallsRead {
  ReadResult result = ReadResult::kBroken;
  std::vector<ToolCall> calls;  // empty unless kWhole
  size_t n_read = 0;            // bytes of the body the calls took
};

// body: the text after format.call_open, for kXml from it on. is_bare: there was no mark, so that only declared tools count.
CallsRead read_calls(std::string_view body, const AnswerFormat& format, const ToolSet& tools, bool is_bare);

}  // namespace olx::engine
