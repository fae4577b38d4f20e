// Ways in which servers like this one were attacked that belong to no one route: weights that are no numbers, files of other kinds,
// fields without bounds, line breaks in names, routes nobody meant to offer.
#include <set>

#include "gguf/reader.h"
#include "gguf/writer.h"
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::tests;

namespace {

constexpr const char* kGenerate = R"({"model":"m","prompt":"x y","stream":false,"options":{"num_predict":4,"stop":[]}})";

bool is_alive(ServerFixture& fixture) { return fixture.get("/api/version").status == 200; }

}  // namespace

TEST_CASE("Api_WeightsThatAreNoNumbersEndTheAnswerAndNothingElse", "[T-13][T-92][T-108]") {
  using gguf::DType;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                            DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL}) {
    INFO(gguf::dtype_info(dtype).name);
    ServerFixture fixture;
    TinyModel tiny;
    tiny.dtype = dtype;
    tiny.scale = gguf::dtype_info(dtype).block_elems == 256 ? 8 : 1;
    tiny.more_metadata = [](gguf::GgufWriter& writer) { write_ascii_vocabulary(writer); };
    const std::string path = fixture.file("tiny.gguf");
    write_tiny_model("llama", tiny, path);
    REQUIRE(fixture.create("good", path).status == 200);
    std::string bytes = file_bytes(path);
    {
      const gguf::GgufFile file = gguf::GgufFile::open(path);
      const gguf::TensorInfo* output = file.find_tensor("output.weight");
      REQUIRE(output != nullptr);
      REQUIRE(output->dtype == dtype);
      // 0x7fff in every place: not a number as f16, bf16 and f32, so as every scale too.
      for (uint64_t i = 0; i < static_cast<uint64_t>(gguf::row_size_bytes(dtype, output->n_cols())); ++i)
        bytes[output->offset_bytes + i] = i % 2 == 0 ? '\xff' : '\x7f';
    }
    std::ofstream(path, std::ios::binary) << bytes;
    REQUIRE(fixture.create("m", path).status == 200);
    const HttpAnswer answer = fixture.post("/api/generate", kGenerate);
    CHECK(answer.status == 500);
    CHECK(object_in(answer).at("error").is_string());  // JSON, and nothing of what the weights made of it
    CHECK(keys_of(object_in(answer)) == "error");
    CHECK(object_in(fixture.post("/api/generate", R"({"model":"good","prompt":"x","stream":false,"options":{"num_predict":2,"stop":[]}})")).at("done").as_bool());
  }
}

TEST_CASE("Api_AnAdapterThatDoesNotFitEndsNothing", "[T-14]") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("base").status == 200);
  // Of another architecture, with a rank of 2^20 over a row that is none of the model's.
  gguf::GgufWriter writer;
  writer.set_string("general.architecture", "gemma");
  writer.set_string("general.type", "adapter");
  writer.set_string("adapter.type", "lora");
  writer.set_float32("adapter.lora.alpha", 1e38f);
  const int64_t shape[] = {1 << 20, 1};
  const std::vector<std::byte> zeros(4u << 20);
  writer.add_tensor("blk.0.attn_q.weight.lora_a", gguf::DType::kF32, shape, zeros);
  writer.write(fixture.file("adapter.gguf"));
  const std::string bytes = file_bytes(fixture.file("adapter.gguf")), digest = server::sha256_of(bytes).text();
  REQUIRE(fixture.post("/api/blobs/" + digest, bytes).status == 201);
  REQUIRE(fixture.post("/api/create", R"({"model":"m","from":"base","adapters":{"a.gguf":")" + digest + "\"}}").status == 200);
  const HttpAnswer answer = fixture.post("/api/generate", kGenerate);
  CHECK(answer.status >= 400);
  CHECK(answer.body.find("adapter") != std::string::npos);
  CHECK(is_alive(fixture));
}

TEST_CASE("Api_SafetensorsAreRefusedByNameAndNeverRead", "[T-17]") {
  ServerFixture fixture;
  const auto header = [](uint64_t length, std::string_view json) {
    std::string bytes(reinterpret_cast<const char*>(&length), 8);
    return bytes += json;
  };
  const std::string deep(100'000, '[');
  for (const std::string& bytes : {header(1ull << 63, "{}"), header(UINT64_MAX, ""), header(deep.size(), deep),
                                   header(70, R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[18446744073709551615,0]}})")}) {
    const std::string digest = server::sha256_of(bytes).text();
    REQUIRE(fixture.post("/api/blobs/" + digest, bytes).status == 201);
    for (const char* file : {"model.safetensors", "model.gguf", "model"}) {
      const HttpAnswer answer = fixture.post("/api/create", std::string(R"({"model":"m","stream":false,"files":{")") + file + "\":\"" + digest + "\"}}");
      CHECK(answer.status == 400);
      CHECK(fixture.post("/api/show", R"({"model":"m"})").status == 404);
    }
  }
}

TEST_CASE("Api_ALogitBiasHasBounds", "[T-37]") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m").status == 200);
  const auto with = [&](const std::string& bias) {
    return fixture.post("/v1/chat/completions", R"({"model":"m","max_tokens":2,"messages":[{"role":"user","content":"x"}],"logit_bias":)" + bias + "}").status;
  };
  const auto many = [](int n) {
    std::string bias = "{";
    for (int i = 0; i < n; ++i) bias += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":-100";
    return bias + "}";
  };
  for (const char* odd : {"{}", "{\"-1\":1}", "{\"99999999999999999999\":1}", "{\"x\":1}", "{\"0\":1e308}", "{\"0\":-1e308}"}) {
    INFO(odd);
    const int status = with(odd);
    CHECK((status == 200 || status == 400));
  }
  CHECK(with(many(10'000)) == 200);
  CHECK(with(many(10'001)) == 400);
  CHECK(with(many(1'000'000)) == 400);
  CHECK(is_alive(fixture));
}

TEST_CASE("Http_NothingACallerSendsBecomesAHeaderOfTheAnswer", "[T-54]") {
  ServerFixture fixture;
  const std::string evil = "x\\r\\nEvil: 1\\r\\n\\r\\n<script>";
  for (const char* path : {"/api/show", "/api/generate", "/api/delete", "/api/pull", "/api/create", "/api/copy", "/v1/chat/completions", "/v1/messages"}) {
    INFO(path);
    const HttpAnswer answer = fixture.post(path, "{\"model\":\"" + evil + "\",\"source\":\"" + evil + "\",\"destination\":\"" + evil +
                                                     "\",\"from\":\"" + evil + "\",\"max_tokens\":1,\"messages\":[]}");
    CHECK(answer.status >= 400);
    CHECK(answer.head.find("Evil") == std::string::npos);
    CHECK(answer.body.find("\r\nEvil") == std::string::npos);
  }
  for (const char* path : {"/api/tags%0d%0aEvil:%201/", "/api/tags%0d%0aEvil:%201", "/v1/models/x%0d%0aEvil:%201", "/api/blobs/sha256:%0d%0aEvil:%201"}) {
    INFO(path);
    const HttpAnswer answer = fixture.get(path);
    CHECK(answer.status >= 300);
    CHECK(answer.head.find("\nEvil") == std::string::npos);
  }
  for (const char* id : {"a\tb", "a b\x01", "\xc3\xa4", "a:b\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    HttpConnection connection(fixture.port());
    connection.send(std::string("GET /api/version HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: ") + id + "\r\n\r\n");
    CHECK(connection.read().head.find(std::string("X-Request-Id: ") + id) == std::string::npos);
  }
}

TEST_CASE("Routes_AreThoseOfTheApiAndNoOthers", "[T-56]") {
  std::set<std::string> routes;
#define GET "GET "
#define POST "POST "
#define DELETE "DELETE "
#define OLX_ROUTE(method, path, body, handler) routes.insert(std::string(method) + path);
#include "server/api/routes.inc"
#undef OLX_ROUTE
#undef GET
#undef POST
#undef DELETE
  // A new route is added here by who has thought of what it opens.
  const std::set<std::string> known = {
      "GET /", "GET /web/*file", "GET /api/version", "GET /api/status", "GET /metrics", "GET /openapi.yaml", "GET /api/tags", "GET /api/ps", "POST /api/show",
      "POST /api/copy", "DELETE /api/delete", "POST /api/create", "GET /api/blobs/:digest", "POST /api/blobs/:digest", "POST /api/generate",
      "POST /api/chat", "POST /api/pull", "POST /api/push", "POST /api/embed", "POST /api/embeddings", "POST /v1/chat/completions",
      "POST /v1/completions", "POST /v1/embeddings", "GET /v1/models", "GET /v1/models/*model", "POST /v1/responses", "POST /v1/messages",
      "POST /v1/messages/count_tokens"};
  CHECK(routes == known);
  ServerFixture fixture;
  for (const char* path : {"/debug", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/admin", "/shutdown", "/exit", "/api/debug", "/api/config",
                           "/proc/self/environ", "/.env", "/server-status", "/actuator", "/slots", "/props"}) {
    INFO(path);
    CHECK(fixture.get(path).status == 404);
    CHECK(fixture.post(path, "{}").status == 404);
  }
}
