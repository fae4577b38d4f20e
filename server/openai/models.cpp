// GET /v1/models and /v1/models/{model}: what is installed, as OpenAI's (and Anthropic's) clients ask for it.
#include <boost/json.hpp>

#include "gguf/ascii.h"
#include "server/api/app.h"

namespace olx::server {
namespace {

namespace json = boost::json;

json::object model_json(const InstalledModel& model, std::string_view id) {
  return {{"id", id}, {"object", "model"}, {"created", model.modified_ns / 1'000'000'000}, {"owned_by", model.name.name_space()}};
}

// %XX as the byte it stands for; clients escape the ':' and '/' of a name. What is no escape stays.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? ascii::hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? ascii::hex_digit(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

void handle_openai_models(App& app, Exchange& exchange) {
  json::array models;
  for (const InstalledModel& model : app.store.list()) models.push_back(model_json(model, model.name.shortest()));
  reply(exchange, json::object{{"object", "list"}, {"data", models}});
}

void handle_openai_model(App& app, Exchange& exchange) {
  const std::string id = unescape(std::string_view(exchange.request().path).substr(std::string_view("/v1/models/").size()));
  const auto name = ModelName::parse(id);
  const auto model = name ? app.store.find(*name) : std::nullopt;
  if (!model) throw ApiError(404, "model '" + (name ? name->shortest() : id) + "' not found");
  reply(exchange, model_json(*model, id));
}

}  // namespace olx::server
