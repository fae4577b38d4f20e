// `inspect`: what is inside a model file, a vocabulary, a template; what a network predicts. The one command that talks
// to the engine directly: it looks at files, and no server is needed for that.

#include <boost/json.hpp>
#include <filesystem>
#include <iostream>

#include "cli/commands.h"
#include "engine/inspect.h"

namespace olx::cli {
namespace {

// A path as it is; anything else is the name of an installed model, whose file the server knows.
std::string model_file(const std::string& name) {
  if (std::filesystem::exists(name) || name.find('/') == 0 || name.ends_with(".gguf")) return name;
  const Session session = open_session();
  const boost::json::object shown = session.client->send("POST", "/api/show", boost::json::object{{"model", name}}).as_object();
  const std::string modelfile = text_of(shown, "modelfile");
  const size_t from = modelfile.find("\nFROM ");
  if (from == std::string::npos) throw CommandError("model '" + name + "' has no file");
  const size_t end = modelfile.find('\n', from + 1);
  return modelfile.substr(from + 6, end == std::string::npos ? end : end - from - 6);
}

int parse_count(const std::string& text, const char* name) {
  try {
    size_t used = 0;
    const int value = std::stoi(text, &used);
    if (used == text.size() && value >= 1 && value <= 1'000'000) return value;
  } catch (const std::exception&) {  // said below
  }
  throw CommandError(std::string(name) + ": expected a number from 1 to 1000000, got '" + text + "'");
}

}  // namespace

int command_inspect(const std::vector<std::string>& words) {
  bool as_json = false, with_special = false, is_nul_separated = false;
  std::optional<std::string> device, top;
  CommandLine line("inspect", "gguf|tokens|template|logits FILE", "Look inside a file");
  line.flag("--json", as_json, "gguf: print one JSON object");
  line.flag("--special", with_special, "tokens: add BOS/EOS as the model does, parse special tokens");
  line.flag("-0,--null", is_nul_separated, "tokens: strings on standard input are separated by NUL");
  line.value("--device", device, "logits: where to compute (cpu, reference)");
  line.value("--top", top, "logits: how many tokens a position (10)");
  line.arguments(2, 2);
  if (!line.parse(words)) return 0;
  const std::string &what = line.args()[0], &file = line.args()[1];
  std::ios::sync_with_stdio(false);
  if (what == "gguf") engine::inspect_gguf(model_file(file), as_json, std::cout);
  else if (what == "tokens") engine::inspect_tokens(model_file(file), with_special, is_nul_separated, std::cin, std::cout);
  else if (what == "template") engine::inspect_template(file, std::cin, std::cout);
  else if (what == "logits")
    engine::inspect_logits(model_file(file), device.value_or("cpu"), top ? parse_count(*top, "--top") : 10, std::cin, std::cout);
  else throw CommandError("inspect: expected gguf, tokens, template or logits, got '" + what + "'");
  std::cout.flush();
  if (!std::cout) throw CommandError("writing to standard output failed");
  return 0;
}

}  // namespace olx::cli
