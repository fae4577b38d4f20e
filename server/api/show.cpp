// POST /api/show: everything about an installed model.
#include <algorithm>
#include <boost/json.hpp>

#include "engine/metadata.h"
#include "gguf/reader.h"
#include "server/api/app.h"
#include "server/api/capabilities.h"
#include "server/api/model_field.h"
#include "server/modelfile/shown.h"

namespace olx::server {
namespace {

namespace json = boost::json;

std::string joined(const std::vector<std::string>& texts, const char* separator) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : separator) + text;
  return out;
}

// The request's options in place of the model's parameters of the same names.
void lay_over(Parameters& parameters, const json::object& options) {
  for (const auto& member : options) {
    const std::string name(member.key());
    const auto same = std::find_if(parameters.begin(), parameters.end(),
                                   [&](const auto& entry) { return entry.first == name; });
    if (same != parameters.end())
      same->second = to_value(member.value());
    else
      parameters.emplace_back(name, to_value(member.value()));
  }
}

}  // namespace

void handle_show(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "ShowRequest");
  const std::string text = model_field(fields);
  if (text.empty()) throw ApiError(400, "model is required");
  const auto name = ModelName::parse(text);
  if (!name) throw ApiError(400, "invalid model name");
  const auto installed = app.store.find(*name);
  if (!installed) throw ApiError(404, "model '" + name->shortest() + "' not found");
  const bool is_verbose = fields.boolean("verbose").value_or(false);
  ModelContents contents = app.store.contents(*installed);
  if (const auto system = fields.text("system"); system && !system->empty()) contents.system = *system;

  json::object answer, model_info;
  json::array tensors;
  std::vector<std::string> capabilities;
  std::string template_text = contents.template_text.value_or("");
  if (!contents.gguf_path.empty()) {
    const gguf::GgufFile file = gguf::GgufFile::open(contents.gguf_path);
    int64_t n_parameters = 0;
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      n_parameters += tensor.n_elems();
      json::array shape;
      for (int d = tensor.n_dims; d-- > 0;) shape.push_back(tensor.shape[static_cast<size_t>(d)]);  // as the file has them
      tensors.push_back(json::object{{"name", tensor.name}, {"type", gguf::dtype_info(tensor.dtype).name}, {"shape", shape}});
    }
    for (const auto& entry : file.metadata()) {
      if (entry.key == "general.name" || entry.key == "tokenizer.chat_template") continue;
      const bool is_hidden = !is_verbose && entry.value.type() == gguf::ValueType::kArray && entry.value.n_elems() > 0;
      model_info[entry.key] = is_hidden ? json::value(nullptr) : to_json(engine::metadata_value(entry.key, entry.value, UINT64_MAX));
    }
    model_info["general.parameter_count"] = n_parameters;
    capabilities = capabilities_of(contents, file);
    if (const gguf::Value* jinja = file.find("tokenizer.chat_template"); jinja && template_text.empty())
      template_text = jinja->as_string("tokenizer.chat_template");
  }
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) answer[key] = value;
  };
  add("license", joined(contents.licenses, "\n"));
  add("parameters", shown_parameters(contents.parameters));
  if (const json::object* options = fields.object("options"))
    lay_over(contents.parameters, *options);
  answer["modelfile"] = shown_modelfile(*installed, contents);
  add("template", template_text);
  add("system", contents.system);
  answer["details"] = details_json(installed->details);
  if (!contents.messages.empty()) {
    json::array messages;
    for (const engine::Value& message : contents.messages) messages.push_back(to_json(message));
    answer["messages"] = messages;
  }
  answer["model_info"] = model_info;
  if (!tensors.empty()) answer["tensors"] = tensors;
  answer["capabilities"] = json::array(capabilities.begin(), capabilities.end());
  answer["modified_at"] = local_time(from_unix_ns(installed->modified_ns));
  add("requires", contents.config.required_version);
  reply(exchange, answer);
}

}  // namespace olx::server
