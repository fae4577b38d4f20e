// POST /api/create: a model from files, or from another model with something laid over it.
#include <boost/json.hpp>

#include "engine/error.h"
#include "engine/text_check.h"
#include "server/api/completion.h"
#include "server/api/model_field.h"
#include "server/api/transfer.h"

namespace olx::server {
namespace {

namespace json = boost::json;

NamedDigests named_digests(const Fields& fields, const char* name) {
  NamedDigests out;
  const json::object* object = fields.object(name);
  if (object == nullptr) return out;
  for (const auto& member : *object) {
    if (!member.value().is_string()) throw ApiError(400, "invalid digest format");
    out.emplace_back(std::string(member.key()), std::string(member.value().get_string()));
  }
  return out;
}

std::vector<std::string> one_or_many(const Fields& fields, const char* name) {
  const json::value* value = fields.find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {std::string(value->get_string())};
  return fields.texts(name);
}

}  // namespace

void handle_create(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "CreateRequest");
  const auto name = ModelName::parse(model_field(fields));
  if (!name) throw ApiError(400, "invalid model name");
  for (const char* key : {"quantize", "quantization"})
    if (!fields.text(key).value_or("").empty()) throw ApiError(400, "quantize is not supported yet: create the model from a quantized GGUF file");

  CreateRequest request{.name = *name};
  if (const std::string from = model_text(fields.text("from").value_or("")); !from.empty()) {
    request.from = ModelName::parse(from);
    if (!request.from) throw ApiError(400, "invalid model name");
    if (!is_registry_allowed(app.options, request.from->host()) && !app.store.find(*request.from))
      throw ApiError(404, "model '" + from + "' not found, try pulling it first");
  }
  request.is_named_after_file = fields.boolean("named_after_file").value_or(false);
  if (request.is_named_after_file && fields.boolean("check").value_or(false)) {
    app.store.check_not_taken(*name);
    return reply(exchange, json::object{{"status", "success"}});
  }
  request.files = named_digests(fields, "files");
  request.adapters = named_digests(fields, "adapters");
  request.template_text = fields.text("template");
  if (request.template_text && !request.template_text->empty()) {
    try {
      engine::check_go_template(*request.template_text);
    } catch (const engine::EngineError& error) {
      throw ApiError(400, std::string("template error: ") + error.what());
    }
  }
  request.system = fields.text("system");
  request.licenses = one_or_many(fields, "license");
  request.renderer = fields.text("renderer").value_or("");
  request.parser = fields.text("parser").value_or("");
  request.required_version = fields.text("requires").value_or("");
  if (const json::object* parameters = fields.object("parameters"))
    for (const auto& member : *parameters) request.parameters.emplace_back(std::string(member.key()), to_value(member.value()));
  try {  // a value that no request to the model could use would be found by every one of them
    merge_options(app.options, request.parameters, nullptr);
  } catch (const ApiError& error) {
    throw ApiError(400, error.what());
  }
  if (const json::array* messages = fields.array("messages"))
    for (const json::value& message : *messages) {
      if (!message.is_object()) throw ApiError(400, "json: cannot unmarshal a message that is not an object");
      request.messages.push_back(to_value(message));
    }

  const bool is_streaming = fields.boolean("stream").value_or(true);
  if (request.from && !app.store.find(*request.from)) pull_for(app, exchange, *request.from, false, is_streaming, false);
  app.store.create(request, [&](const std::string& status) {
    if (!is_streaming) return;
    if (!exchange.has_begun()) exchange.begin_stream("application/x-ndjson");
    if (!exchange.write(go_json(json::object{{"status", status}}) + "\n")) throw ApiError(499, "request canceled");
  });
  if (!is_streaming) reply(exchange, json::object{{"status", "success"}});
}

}  // namespace olx::server
