#include "engine/text_check.h"

#include "engine/text/chat_template.h"

namespace olx::engine {

void check_go_template(std::string_view source) { make_go_chat_template(source); }

}  // namespace olx::engine
