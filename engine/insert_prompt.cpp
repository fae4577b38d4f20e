#include "engine/insert_prompt.h"

#include "engine/text/chat_template.h"

namespace olx::engine {

std::string render_insert_prompt(std::string_view go_template, const std::string& prompt, const std::string& suffix) {
  return render_go_template(go_template, ValueMap{{"Prompt", prompt}, {"Suffix", suffix}, {"Response", ""}});
}

}  // namespace olx::engine
