#include "server/api/model_field.h"

#include "server/api/completion.h"

namespace olx::server {

std::string model_field(const Fields& fields) {
  std::string text = model_text(fields.text("model").value_or(""));
  return text.empty() ? model_text(fields.text("name").value_or("")) : text;
}

}  // namespace olx::server
