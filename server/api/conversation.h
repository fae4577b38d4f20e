#pragma once
// One turn of a conversation, whatever protocol asks for it: /api/chat, /v1/chat/completions, /v1/responses, /v1/messages.
// A handler turns its request into a ChatTask and the pieces of the answer into its own records; what lies between is here.

#include <boost/json/array.hpp>
#include <functional>
#include <string>
#include <vector>

#include "server/api/completion.h"

namespace olx::server {

struct ToolChoice {
  enum class Kind { kAuto, kNone, kRequired, kNamed };  // kRequired: some tool; kNamed: the one called `name`
  Kind kind = Kind::kAuto;
  std::string name;
  bool allows_parallel = true;  // more than one call in an answer
};

struct ChatTask {
  CompletionRequest request;
  std::vector<engine::ChatMessage> messages;
  boost::json::array tools;  // as Ollama and OpenAI write them: {"type":"function","function":{"name",...}}
  ToolChoice tool_choice;
};

// A part of an answer, in the order the model wrote it. Some fields may be empty, not all.
struct AnswerPiece {
  std::string thinking;
  std::string content;
  std::vector<engine::ToolCall> tool_calls;  // whole calls, with ids
  boost::json::array logprobs;
};

// A task with its model loaded and its prompt made.
struct ChatTurn {
  Completion completion;
  std::string rendered;               // the prompt as text
  std::vector<int32_t> prompt_tokens;
};

// A message as Ollama writes it. ApiError 400.
engine::ChatMessage read_message(const boost::json::object& object);
// A tool call as Ollama writes it; {"function":{"name","arguments"}} with an id where there is one.
boost::json::object tool_call_json(const engine::ToolCall& call);

// Loads the model, checks that it can do what is asked, renders the prompt. An empty conversation only loads.
// ApiError in Ollama's words.
ChatTurn prepare_chat(App& app, Exchange& exchange, const ChatTask& task);

// Runs the turn, calling on_piece for each part of the answer. Returns the last event; ApiError as run_completion.
using OnPiece = std::function<void(AnswerPiece piece)>;
engine::TokenEvent run_chat(Exchange& exchange, ChatTurn& turn, const ChatTask& task, const OnPiece& on_piece);

}  // namespace olx::server
