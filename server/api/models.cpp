// The resources of the store: tags, copy, delete, ps and blobs.
#include <boost/json.hpp>
#include <vector>

#include "server/api/completion.h"
#include "server/api/model_field.h"
#include "server/store/store_error.h"

namespace olx::server {
namespace {

namespace json = boost::json;

constexpr uint64_t kCheckedBytes = 64 << 20;  // of a blob without a length: how much of it is asked room for at a time

Digest digest_of_path(const Exchange& exchange) {
  const std::string& path = exchange.request().path;
  const auto digest = Digest::parse(std::string_view(path).substr(path.rfind('/') + 1));
  if (!digest) throw ApiError(400, "invalid digest format");
  return *digest;
}

}  // namespace

void handle_tags(App& app, Exchange& exchange) {
  json::array models;
  for (InstalledModel& model : app.store.list()) {
    model.details.parent_model.clear();  // only show names it
    models.push_back(json::object{{"name", model.name.shortest()},
                                  {"model", model.name.shortest()},
                                  {"modified_at", local_time(from_unix_ns(model.modified_ns))},
                                  {"size", model.size_bytes},
                                  {"digest", model.digest.hex()},
                                  {"details", details_json(model.details)}});
  }
  reply(exchange, json::object{{"models", models}});
}

void handle_ps(App& app, Exchange& exchange) {
  json::array models;
  for (const LoadedModel& model : app.host.loaded()) {
    const uint64_t size = model.info.weight_bytes + model.info.kv_bytes;
    // "For ever" is the end of the clock, in the year 2262; a day less, so that no time zone wraps it.
    using Wall = std::chrono::system_clock;
    const auto last = Wall::time_point::max() - std::chrono::hours(24);
    const bool is_far = model.is_forever || model.time_left > last - Wall::now();
    const auto expires = is_far ? last : Wall::now() + model.time_left;
    json::object details{{"parent_model", ""},
                         {"format", "gguf"},
                         {"family", model.info.architecture},
                         {"families", json::array{json::value(model.info.architecture)}},
                         {"parameter_size", model.info.parameter_size},
                         {"quantization_level", model.info.quantization}};
    models.push_back(json::object{{"name", model.name},
                                  {"model", model.name},
                                  {"size", size},
                                  {"digest", model.digest},
                                  {"details", details},
                                  {"expires_at", local_time(expires)},
                                  {"size_vram", model.info.device_bytes},
                                  {"context_length", model.info.n_ctx}});
  }
  reply(exchange, json::object{{"models", models}});
}

void handle_copy(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "CopyRequest");
  const std::string source = model_text(fields.text("source").value_or("")),
                    destination = model_text(fields.text("destination").value_or(""));
  const auto from = ModelName::parse(source), to = ModelName::parse(destination);
  if (!from) throw ApiError(400, "source \"" + source + "\" is invalid");
  if (!to) throw ApiError(400, "destination \"" + destination + "\" is invalid");
  try {
    app.store.copy(*from, *to);
  } catch (const StoreError& error) {
    if (error.kind() == StoreError::Kind::kNotFound) throw ApiError(404, "model \"" + source + "\" not found");
    throw;
  }
  exchange.send(200, "", "");
}

void handle_delete(App& app, Exchange& exchange) {
  const json::value body = parse_body(exchange);
  const Fields fields(body.as_object(), "DeleteRequest");
  const std::string text = model_field(fields);
  if (text.empty()) throw ApiError(400, "model is required");
  const auto name = ModelName::parse(text);
  if (!name) throw ApiError(400, "name \"" + text + "\" is invalid");
  try {
    app.store.remove(*name);
  } catch (const StoreError& error) {
    if (error.kind() == StoreError::Kind::kNotFound) throw ApiError(404, "model '" + text + "' not found");
    throw;
  }
  exchange.send(200, "", "");
}

void handle_blob_head(App& app, Exchange& exchange) {
  const Digest digest = digest_of_path(exchange);
  if (exchange.request().method != "HEAD") throw ApiError(405, "405 method not allowed");
  if (!app.store.has_blob(digest)) throw ApiError(404, "blob \"" + digest.text() + "\" not found");
  exchange.send(200, "", "");
}

void handle_blob_upload(App& app, Exchange& exchange) {
  const Digest digest = digest_of_path(exchange);
  std::vector<char> piece(256 << 10);
  if (app.store.has_blob(digest)) {
    while (exchange.read_body(piece) > 0) {
    }
    exchange.send(200, "", "");
    return;
  }
  // What the head announces is held against the disk before a byte of it is read; what comes without an announcement, as it comes.
  const uint64_t most = app.options.max_blob_bytes;
  const auto check_size = [&](uint64_t n_bytes) {
    if (n_bytes > most) throw ApiError(413, "blob is longer than " + std::to_string(most) + " bytes (OLLAMAX_MAX_BLOB_MIB)");
  };
  const std::optional<uint64_t> announced = exchange.request().content_length;
  check_size(announced.value_or(0));
  app.store.files().check_room(announced.value_or(0));
  BlobWriter blob = app.store.new_blob();
  uint64_t n_checked = announced.value_or(0);
  while (const size_t n = exchange.read_body(piece)) {
    check_size(blob.size_bytes() + n);
    if (blob.size_bytes() + n > n_checked) {
      app.store.files().check_room(kCheckedBytes);
      n_checked += kCheckedBytes;
    }
    blob.write(std::string_view(piece.data(), n));
  }
  const Digest found = blob.commit(digest);
  if (found != digest)
    throw ApiError(400, "digest mismatch, expected \"" + digest.text() + "\", got \"" + found.text() + "\"");
  exchange.send(201, "", "");
}

}  // namespace olx::server
