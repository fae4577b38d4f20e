#pragma once
// The texts /api/show gives about an installed model: its Modelfile and its parameters. Used by that handler only.
// Values are printed as Go prints them, because clients parse these lines.

#include <string>

#include "server/modelfile/modelfile.h"
#include "server/store/model_store.h"

namespace olx::server {

// A Modelfile that would make the model again. Without a TEMPLATE where the model uses the one of
// its file: Ollama writes its default there, {{ .Prompt }}, which would take that one's place.
std::string shown_modelfile(const InstalledModel& model, const ModelContents& contents);

// One line for each parameter (for each of a list's items): the name padded to 30 columns, a space, the value; texts in quotes.
std::string shown_parameters(const Parameters& parameters);

}  // namespace olx::server
