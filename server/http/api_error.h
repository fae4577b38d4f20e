#pragma once
// ApiError: a request that is answered with a status and {"error": what()}.

#include <stdexcept>
#include <string>

namespace olx::server {

class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& what) : std::runtime_error(what), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

}  // namespace olx::server
