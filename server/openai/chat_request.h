#pragma once
// The request of POST /v1/chat/completions as a ChatTask. What is done with it is in chat_completions.cpp.

#include <boost/json/object.hpp>

#include "server/api/conversation.h"

namespace olx::server {

class OpenAiChatRequest {
 public:
  // Throws JsonError and ApiError 400.
  explicit OpenAiChatRequest(const boost::json::object& body);
  OpenAiChatRequest(const OpenAiChatRequest&) = delete;
  OpenAiChatRequest& operator=(const OpenAiChatRequest&) = delete;

  const ChatTask& task() const { return task_; }
  int n_choices() const { return n_choices_; }
  bool includes_usage() const { return includes_usage_; }

 private:
  boost::json::object native_;  // task_ points into it
  ChatTask task_;
  int n_choices_ = 1;
  bool includes_usage_ = false;
};

}  // namespace olx::server
