#pragma once
// The texts /api/show gives about an installed model: its Modelfile and its parameters. Used by that handler only.
// Values are printed as Go prints them, because clients parse these lines.

#include <string>

#include "server/modelfile/modelfile.h"
#include "server/store/model_store.h"

namespace olx::server {

// A Modelfile that would make the model again. template_text: what the model uses, be it the GGUF's own.
std::string shown_modelfile(const InstalledModel& model, const ModelContents& contents, const std::string& template_text);

// One line for each parameter (for each of a list's items): the name padded to 30 columns, a space, the value; texts in quotes.
std::string shown_parameters(const Parameters& parameters);

}  // namespace olx::server
