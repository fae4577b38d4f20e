#pragma once
// EngineError: a request or a model that cannot be served. what() is one line for the user; code says what kind,
// so that the server can choose a status.

#include <stdexcept>
#include <string>

namespace olx::engine {

enum class ErrorCode {
  kInvalidRequest,   // the caller's fault: 400
  kUnsupported,      // a model or feature this program does not know: 400 / 500
  kModelLoad,        // file unreadable or malformed: 500
  kOutOfMemory,
  kContextTooLong,   // prompt does not fit and may not be cut
  kCancelled,
  kInternal,
  kProcessDied,      // of the process that ran the model: 500
};

class EngineError : public std::runtime_error {
 public:
  EngineError(ErrorCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace olx::engine
