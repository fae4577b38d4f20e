// The resources of the store over a real socket: create, tags, show, copy, delete, blobs; and what is not there yet.
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

TEST_CASE("Api_SaysWhatItIs") {
  ServerFixture fixture;
  CHECK(fixture.get("/").body == "Ollama is running");
  CHECK(http(fixture.port(), "HEAD", "/").status == 200);
  CHECK(keys_of(object_in(fixture.get("/api/version"))) == "version ollamax");
  CHECK(object_in(fixture.get("/api/version")).at("version") == "0.35.0");  // clients refuse old servers
  CHECK(fixture.get("/api/status").body == R"({"cloud":{"disabled":true,"source":"none"}})");
  CHECK(fixture.get("/api/tags").body == R"({"models":[]})");
  CHECK(fixture.get("/api/ps").body == R"({"models":[]})");
  CHECK(fixture.get("/nothing").status == 404);
  CHECK(fixture.get("/api/chat").status == 405);
  CHECK(fixture.post("/api/pull", "{}").body == R"({"error":"invalid model name"})");
}

TEST_CASE("Api_CreatesListsShowsCopiesAndDeletes") {
  ServerFixture fixture;
  const HttpAnswer made = fixture.create_tiny("M", R"(,"system":"sys <&>","parameters":{"temperature":0.5,"stop":["a","b"]},"template":"{{ .Prompt }}","license":"free")");
  REQUIRE(made.status == 200);
  CHECK(lines_in(made).back().at("status") == "success");

  const json::object tags = object_in(fixture.get("/api/tags"));
  REQUIRE(tags.at("models").as_array().size() == 1);
  const json::object& listed = tags.at("models").at(0).as_object();
  CHECK(keys_of(listed).starts_with("name model modified_at size digest details"));
  CHECK(listed.at("name") == "M:latest");
  CHECK(listed.at("digest").as_string().size() == 64);
  CHECK(keys_of(listed.at("details").as_object()).starts_with("parent_model format family families parameter_size quantization_level"));

  const HttpAnswer shown = fixture.post("/api/show", R"({"name":"m"})");
  REQUIRE(shown.status == 200);
  CHECK(shown.body.find("sys \\u003c\\u0026\\u003e") != std::string::npos);
  const json::object show = object_in(shown);
  CHECK(show.at("template") == "{{ .Prompt }}");
  CHECK(show.at("license") == "free");
  CHECK(show.at("model_info").at("general.architecture") == "llama");
  CHECK(show.at("model_info").at("tokenizer.ggml.tokens").is_null());
  CHECK(show.at("capabilities") == json::value(json::array{"completion"}));
  CHECK(std::string(show.at("parameters").as_string()).find("stop                           \"a\"") != std::string::npos);
  CHECK(object_in(fixture.post("/api/show", R"({"model":"m","verbose":true})")).at("model_info").at("tokenizer.ggml.tokens").as_array().size() == 97);

  CHECK(fixture.post("/api/copy", R"({"source":"m","destination":"n:v2"})").status == 200);
  CHECK(object_in(fixture.get("/api/tags")).at("models").as_array().size() == 2);
  CHECK(http(fixture.port(), "DELETE", "/api/delete", R"({"model":"m"})").status == 200);
  CHECK(fixture.post("/api/show", R"({"model":"m"})").body == R"({"error":"model 'm:latest' not found"})");
  CHECK(http(fixture.port(), "DELETE", "/api/delete", R"({"model":"m"})").body == R"({"error":"model 'm' not found"})");
  CHECK(fixture.post("/api/show", R"({"model":"n:v2"})").status == 200);
}

TEST_CASE("Api_ShowsAModelfileThatMakesTheSameModel") {
  ServerFixture fixture;
  const auto shown = [&](const std::string& request) {
    return object_in(fixture.post("/api/show", request));
  };
  REQUIRE(
      fixture
          .create_tiny("own", R"(,"requires":"0.14.0","parameters":{"top_k":3})", "{{ messages }}")
          .status == 200);
  const json::object own = shown(R"({"model":"own"})");
  CHECK(own.at("template") == "{{ messages }}");
  CHECK(own.at("requires") == "0.14.0");
  // {{ .Prompt }} there would take the place of the file's own template.
  const auto modelfile_of = [](const json::object& answer) {
    return std::string(answer.at("modelfile").as_string());
  };
  CHECK(modelfile_of(own).find("TEMPLATE") == std::string::npos);
  CHECK(modelfile_of(own).find("PARAMETER top_k 3\n") != std::string::npos);
  REQUIRE(
      fixture.post("/api/create", R"({"model":"layered","from":"own","template":"{{ .Prompt }}"})")
          .status == 200);
  CHECK(modelfile_of(shown(R"({"model":"layered"})")).find("\nTEMPLATE {{ .Prompt }}\n") !=
        std::string::npos);
  // What the request gives is laid over it, and over nothing else.
  const json::object laid = shown(R"({"model":"own","system":"s","options":{"top_k":5,"seed":1}})");
  CHECK(modelfile_of(laid).find("SYSTEM s\nPARAMETER top_k 5\nPARAMETER seed 1\n") !=
        std::string::npos);
  CHECK(laid.at("parameters") == own.at("parameters"));
}

TEST_CASE("Api_NamesMayHaveBlanksAroundThem") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny(" m ").status == 200);
  CHECK(fixture.post("/api/show", R"({"name":" m\t"})").status == 200);
  CHECK(fixture.post("/api/show", R"({"model":" ","name":"m:local"})").status == 200);
  CHECK(fixture.post("/api/copy", R"({"source":" m","destination":"n "})").status == 200);
  CHECK(fixture.post("/api/create", R"({"model":"o ","from":" n"})").status == 200);
  for (const char* name : {"m ", " n", "o"})
    CHECK(http(fixture.port(), "DELETE", "/api/delete", "{\"model\":\"" + std::string(name) + "\"}")
              .status == 200);
  CHECK(fixture.get("/api/tags").body == R"({"models":[]})");
}

TEST_CASE("Api_CreateRefusesParametersThatNoRequestCouldUse") {
  ServerFixture fixture;
  const HttpAnswer refused = fixture.create_tiny("m", R"(,"parameters":{"num_ctx":"abc"})");
  CHECK(refused.status == 400);
  CHECK(refused.body == R"({"error":"option \"num_ctx\" must be of type integer"})");
  CHECK(fixture.get("/api/tags").body == R"({"models":[]})");
  CHECK(fixture.create_tiny("m", R"(,"parameters":{"num_ctx":16,"of_a_later_time":"x"})").status ==
        200);
}

TEST_CASE("Api_CreateRefusesInOllamasWords") {
  ServerFixture fixture;
  const auto error = [&](const char* body) {
    const HttpAnswer answer = fixture.post("/api/create", body);
    CHECK(answer.status >= 400);
    return std::string(object_in(answer).at("error").as_string());
  };
  CHECK(error("{}") == "invalid model name");
  CHECK(error(R"({"model":"m"})") == "neither 'from' or 'files' was specified");
  CHECK(error(R"({"model":"m","files":{"../x":"sha256:0"}})") == "file path must be relative");
  CHECK(error(R"({"model":"m","files":{"x.gguf":""}})") == "invalid digest format");
  CHECK(error(R"({"model":"m","from":"x","template":"{{ .Prompt"})").size() > 5);
}

TEST_CASE("Api_KeepsBlobsThatAreWhatTheySay", "[T-81]") {
  ServerFixture fixture;
  const std::string path = "/api/blobs/" + olx::server::sha256_of("hello").text();
  CHECK(http(fixture.port(), "HEAD", path).status == 404);
  CHECK(fixture.post(path, "hullo").status == 400);
  CHECK(http(fixture.port(), "HEAD", path).status == 404);
  CHECK(fixture.post(path, "hello").status == 201);
  CHECK(fixture.post(path, "hello").status == 200);
  CHECK(http(fixture.port(), "HEAD", path).status == 200);
  CHECK(fixture.post("/api/blobs/sha256:..%2f", "x").status == 400);
}

TEST_CASE("Api_BlobsAreRefusedWhereThereIsNoRoomForThem", "[T-75][T-81]") {
  const std::string path = "/api/blobs/" + olx::server::sha256_of("hello").text();
  const std::string chunked = "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  const auto sent_in_chunks = [&](ServerFixture& fixture) {
    HttpConnection connection(fixture.port());
    connection.send(chunked);
    return connection.read();
  };
  const auto is_empty = [&](const ServerFixture& fixture) {
    for (const char* folder : {"models/blobs", "models/.ollamax/tmp"})
      if (!std::filesystem::is_empty(fixture.file(folder))) return false;
    return true;
  };
  {
    ServerFixture full(1, 64, [](auto& options) { options.spare_disk_bytes = 1ull << 60; });
    for (const HttpAnswer& answer : {full.post(path, "hello"), sent_in_chunks(full)}) {
      CHECK(answer.status == 507);
      CHECK(answer.body.find("not enough space on the disk") != std::string::npos);
      CHECK(answer.body.find(full.file("")) == std::string::npos);
    }
    CHECK(is_empty(full));
  }
  {
    ServerFixture small(1, 64, [](auto& options) { options.max_blob_bytes = 4; });
    for (const HttpAnswer& answer : {small.post(path, "hello"), sent_in_chunks(small)}) {
      CHECK(answer.status == 413);
      CHECK(answer.body.find("OLLAMAX_MAX_BLOB_MIB") != std::string::npos);
    }
    CHECK(is_empty(small));
    CHECK(small.post("/api/blobs/" + olx::server::sha256_of("four").text(), "four").status == 201);
  }
  ServerFixture fitting(1, 64, [](auto& options) { options.max_blob_bytes = 5; });
  CHECK(sent_in_chunks(fitting).status == 201);
}
