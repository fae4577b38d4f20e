#pragma once
// From a parsed Modelfile to the fields of POST /api/create: parameters with their types, messages, texts. Used by the CLI through
// server/wire.h. FROM and ADAPTER stay as written: whether each is a file or a model's name is seen, and files are sent, by the caller.

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/modelfile/modelfile.h"

namespace olx::server {

struct CreateFields {
  std::vector<std::string> from;      // every FROM, in order; at least one. One may be empty: the Modelfile's folder
  std::string adapter;                // the last ADAPTER, or empty
  std::string draft;                  // the last DRAFT, or empty
  boost::json::object body;           // template, system, license, parameters, messages, renderer, parser, requires: those given
  std::vector<std::string> warnings;  // "warning: parameter low_vram is deprecated"
};

// Throws ModelfileError in Ollama's words: an unknown parameter, or a value of another type.
CreateFields create_fields(const Modelfile& modelfile);

}  // namespace olx::server
