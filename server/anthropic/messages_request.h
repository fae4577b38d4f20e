#pragma once
// The request of POST /v1/messages (and of its count_tokens) as a ChatTask. What is done with it is in messages.cpp.

#include <boost/json/object.hpp>

#include "server/api/conversation.h"

namespace olx::server {

class AnthropicRequest {
 public:
  enum class Purpose { kAnswer, kCount };  // counting needs no max_tokens
  // Throws JsonError and ApiError 400.
  AnthropicRequest(const boost::json::object& body, Purpose purpose);
  AnthropicRequest(const AnthropicRequest&) = delete;
  AnthropicRequest& operator=(const AnthropicRequest&) = delete;

  const ChatTask& task() const { return task_; }
  ChatTask& task() { return task_; }

 private:
  boost::json::object native_;  // task_ points into it
  ChatTask task_;
};

}  // namespace olx::server
