#pragma once
// A listening Server with an empty store and a tiny random model to put into it, for the tests of the API.

#include <boost/json.hpp>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "server/server.h"
#include "server/wire.h"
#include "tests/support/ascii_vocabulary.h"
#include "tests/support/http_client.h"
#include "tests/support/test_paths.h"
#include "tests/support/tiny_model.h"

namespace olx::tests {

inline std::string file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class ServerFixture {
 public:
  explicit ServerFixture(int n_parallel = 1, int64_t n_ctx = 64,
                         const std::function<void(server::ServerOptions&)>& change = nullptr) {
    server::ServerOptions options;
    options.port = 0;
    options.models_dir = dir_.file("models");
    options.n_parallel = n_parallel;
    options.n_ctx = static_cast<int>(n_ctx);
    if (const char* worker = std::getenv("OLLAMAX_TEST_WORKER")) {  // the same tests, with models in processes of their own
      options.isolates = true;
      options.worker_program = worker;
    }
    options.spare_disk_bytes = 0;  // the folder for temporary files may be small
    if (change) change(options);
    server_.emplace(options);
    server_->start();
  }
  uint16_t port() const { return server_->port(); }
  server::Server& server() { return *server_; }
  std::string file(const std::string& name) const { return dir_.file(name); }

  // Uploads a file and makes a model of it; `more` are further members of the request: ",\"system\":\"x\"".
  HttpAnswer create(const std::string& name, const std::string& path, const std::string& more = "") {
    const std::string bytes = file_bytes(path), digest = server::sha256_of(bytes).text();
    http(port(), "POST", "/api/blobs/" + digest, bytes);
    return post("/api/create", "{\"model\":\"" + name + "\",\"files\":{\"m.gguf\":\"" + digest + "\"}" + more + "}");
  }
  HttpAnswer create_tiny(const std::string& name, const std::string& more = "", const std::string& jinja = "") {
    TinyModel tiny;
    tiny.more_metadata = [&](gguf::GgufWriter& writer) {
      write_ascii_vocabulary(writer);
      if (!jinja.empty()) writer.set_string("tokenizer.chat_template", jinja);
    };
    write_tiny_model("llama", tiny, file("tiny.gguf"));
    return create(name, file("tiny.gguf"), more);
  }
  HttpAnswer post(std::string_view path, std::string_view body) { return http(port(), "POST", path, body); }
  HttpAnswer get(std::string_view path) { return http(port(), "GET", path); }

 private:
  TempDir dir_;
  std::optional<server::Server> server_;
};

inline boost::json::object object_in(const HttpAnswer& answer) { return boost::json::parse(answer.body).as_object(); }

inline std::vector<boost::json::object> lines_in(const HttpAnswer& answer) {
  std::vector<boost::json::object> records;
  std::istringstream in(answer.body);
  for (std::string line; std::getline(in, line);) records.push_back(boost::json::parse(line).as_object());
  return records;
}

inline std::string keys_of(const boost::json::object& object) {
  std::string keys;
  for (const auto& member : object) (keys += keys.empty() ? "" : " ") += member.key();
  return keys;
}

}  // namespace olx::tests
