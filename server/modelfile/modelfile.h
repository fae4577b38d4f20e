#pragma once
// Modelfile: the text format that describes a model, read and written. The CLI parses it and sends the result to
// /api/create as JSON; the server only writes it (/api/show). No file named in it is opened here.

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace olx::server {

// what() is for the user, in Ollama's words.
class ModelfileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ModelfileCommand {
  std::string name;      // lower case: "from", "parameter", "message", ...
  std::string argument;  // the parameter's name or the message's role, otherwise ""
  std::string value;
};

using Modelfile = std::vector<ModelfileCommand>;

// UTF-8, or UTF-16 with a byte order mark. Throws ModelfileError. A FROM line is required.
Modelfile parse_modelfile(std::string_view bytes);
std::string write_modelfile(const Modelfile& modelfile);

// The type of a PARAMETER by its name. nullptr: unknown.
enum class ParameterType { kInt, kFloat, kBool, kText, kDeprecated };
const ParameterType* find_parameter_type(std::string_view name);

}  // namespace olx::server
