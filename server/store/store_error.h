#pragma once
// StoreError: why a model cannot be made, found or read. what() is one line for the user, without paths of this machine;
// kind() chooses the HTTP status. Failures of the disk itself are std::system_error.

#include <stdexcept>
#include <string>

namespace olx::server {

class StoreError : public std::runtime_error {
 public:
  enum class Kind {
    kInvalid,   // the request is wrong: 400
    kNotFound,  // no such model or blob: 404
    kDamaged,   // what is on disk does not keep to the format: 500
    kNoRoom,    // the disk has no room for it: 507
    kTaken,     // another model has the name: 409
  };
  StoreError(Kind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace olx::server
