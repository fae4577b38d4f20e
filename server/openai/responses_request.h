#pragma once
// The request of POST /v1/responses as a ChatTask. What is done with it is in responses.cpp.

#include <boost/json/object.hpp>

#include "server/api/conversation.h"

namespace olx::server {

class ResponsesRequest {
 public:
  // Throws JsonError and ApiError 400; what is wrong with an item of the input is said with its
  // index.
  explicit ResponsesRequest(const boost::json::object& body);
  ResponsesRequest(const ResponsesRequest&) = delete;
  ResponsesRequest& operator=(const ResponsesRequest&) = delete;

  const ChatTask& task() const { return task_; }
  // What the answer repeats of the request: instructions, tools, temperature ...
  const boost::json::object& echo() const { return echo_; }

 private:
  void read_tools(const Fields& fields);

  boost::json::object native_;  // task_ points into it
  boost::json::object echo_;
  ChatTask task_;
};

}  // namespace olx::server
