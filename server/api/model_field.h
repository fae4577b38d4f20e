#pragma once
// The model that a request on the store names. Used by show, delete, create, pull and push.

#include <string>

#include "server/json/json.h"

namespace olx::server {

// The field "model", or "name" where that is not given; without blanks at the ends and ":local".
std::string model_field(const Fields& fields);

}  // namespace olx::server
