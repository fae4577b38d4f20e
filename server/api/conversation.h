#pragma once
// One turn of a conversation, whatever protocol asks for it: /api/chat, /v1/chat/completions, /v1/responses, /v1/messages.
// A handler turns its request into a ChatTask and the pieces of the answer into its own records; what lies between is here.

#include <boost/json/array.hpp>
#include <functional>
#include <string>
#include <vector>

#include "server/api/answer_reader.h"
#include "server/api/completion.h"
#include "server/api/tool_choice.h"

namespace olx::server {

struct ChatTask {
  CompletionRequest request;
  std::vector<engine::ChatMessage> messages;
  boost::json::array tools;  // as Ollama and OpenAI write them: {"type":"function","function":{"name",...}}
  ToolChoice tool_choice;
  std::string call_id_prefix = "call_";
};

// A task with its model loaded and its prompt made.
struct ChatTurn {
  Completion completion;
  std::string rendered;               // the prompt as text
  std::vector<int32_t> prompt_tokens;
  engine::AnswerFormat format;  // of the answer
  engine::Value tools;          // those the model was told of; null: none
};

// A message as Ollama writes it. ApiError 400.
engine::ChatMessage read_message(const boost::json::object& object);
// A tool call as Ollama writes it: {"id","function":{"index","name","arguments"}}.
boost::json::object tool_call_json(const engine::ToolCall& call, size_t index);

// Loads the model, checks that it can do what is asked, renders the prompt. An empty conversation only loads.
// ApiError in Ollama's words.
ChatTurn prepare_chat(App& app, Exchange& exchange, const ChatTask& task);

// Runs the turn, calling on_piece for each part of the answer. Returns the last event; ApiError as run_completion.
using OnPiece = std::function<void(AnswerPiece piece)>;
engine::TokenEvent run_chat(Exchange& exchange, ChatTurn& turn, const ChatTask& task, const OnPiece& on_piece);

}  // namespace olx::server
