#pragma once
// Reads the calls out of the text between the marks of a call. One reader for each CallSyntax; used by AnswerParser only.

#include <string>
#include <string_view>
#include <vector>

#include "engine/answer/answer_format.h"
#include "engine/answer/literal_reader.h"
#include "engine/request.h"

namespace olx::engine {

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

// Appends the calls of `body` to `calls`. kUnfinished: it may become whole when more follows. Nothing is appended unless kWhole.
ReadResult read_calls(std::string_view body, const AnswerFormat& format, const ToolSet& tools, std::vector<ToolCall>& calls);

}  // namespace olx::engine
