// Embeddings over all three routes, on a tiny random model of 64 dimensions and 64 positions.
#include <cmath>
#include <cstring>

#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx::tests;
namespace json = boost::json;

namespace {

std::vector<double> vector_of(const json::value& value) {
  std::vector<double> vector;
  for (const json::value& number : value.as_array()) vector.push_back(number.to_number<double>());
  return vector;
}

double length(const std::vector<double>& vector) {
  double sum = 0;
  for (double value : vector) sum += value * value;
  return std::sqrt(sum);
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

std::vector<float> floats_of_base64(std::string_view text) {
  const std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t group = 0;
  int n_bits = 0;
  for (char c : text) {
    if (c == '=') break;
    group = group << 6 | static_cast<uint32_t>(letters.find(c));
    if ((n_bits += 6) < 8) continue;
    n_bits -= 8;
    bytes += static_cast<char>(group >> n_bits & 255);
  }
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

}  // namespace

TEST_CASE("Embed_TextAndListGiveUnitVectorsInOrder") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  const HttpAnswer one = fixture.post("/api/embed", R"({"model":"tiny","input":"hello"})");
  REQUIRE(one.status == 200);
  const json::object record = object_in(one);
  CHECK(keys_of(record) == "model embeddings total_duration load_duration prompt_eval_count");
  CHECK(record.at("model") == "tiny");
  CHECK(record.at("prompt_eval_count") == 5);
  REQUIRE(record.at("embeddings").as_array().size() == 1);
  const std::vector<double> hello = vector_of(record.at("embeddings").at(0));
  CHECK(hello.size() == 64);
  CHECK(length(hello) == Approx(1).margin(1e-5));

  const json::object both = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":["other","hello"]})"));
  REQUIRE(both.at("embeddings").as_array().size() == 2);
  CHECK(both.at("prompt_eval_count") == 10);
  CHECK(distance(vector_of(both.at("embeddings").at(1)), hello) < 1e-3);
  CHECK(distance(vector_of(both.at("embeddings").at(0)), hello) > 0.1);

  const json::object cut = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":"hello","dimensions":8})"));
  const std::vector<double> eight = vector_of(cut.at("embeddings").at(0));
  REQUIRE(eight.size() == 8);
  CHECK(length(eight) == Approx(1).margin(1e-5));
  CHECK(eight[0] / eight[1] == Approx(hello[0] / hello[1]).epsilon(1e-3));
}

TEST_CASE("Embed_NothingToEmbedLoadsTheModel") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  for (const char* body : {R"({"model":"tiny"})", R"({"model":"tiny","input":""})", R"({"model":"tiny","input":[]})"})
    CHECK(fixture.post("/api/embed", body).body == R"({"model":"tiny","embeddings":[]})");
  CHECK(object_in(fixture.get("/api/ps")).at("models").as_array().size() == 1);
  CHECK(fixture.post("/api/embeddings", R"({"model":"tiny"})").body == R"({"embedding":[]})");
}

TEST_CASE("Embed_LongTextIsCutOrRefused") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  const std::string text(70, 'x');
  const json::object cut = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":")" + text + "\"}"));
  CHECK(cut.at("prompt_eval_count") == 64);
  const json::object fits = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":")" + text.substr(0, 64) + "\"}"));
  CHECK(distance(vector_of(cut.at("embeddings").at(0)), vector_of(fits.at("embeddings").at(0))) < 1e-3);
  const HttpAnswer refused = fixture.post("/api/embed", R"({"model":"tiny","truncate":false,"input":")" + text + "\"}");
  CHECK(refused.status == 400);
  CHECK(refused.body == R"({"error":"the input length exceeds the context length"})");
  CHECK(fixture.post("/api/embeddings", R"({"model":"tiny","prompt":")" + text + "\"}").status == 500);
}

TEST_CASE("Embed_WrongRequestsAreRefused") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  const auto check = [&](const char* path, const char* body, int status, std::string_view text) {
    INFO(path << " " << body);
    const HttpAnswer answer = fixture.post(path, body);
    CHECK(answer.status == status);
    CHECK(answer.body.find(text) != std::string::npos);
  };
  for (const char* input : {"1", "true", "{}", "[1]", "[\"a\",1]", "[[\"a\"]]"})
    check("/api/embed", (std::string(R"({"model":"tiny","input":)") + input + "}").c_str(), 400, "invalid input type");
  check("/api/embed", R"({"input":"x"})", 404, "model '' not found");
  check("/api/embed", R"({"model":"a b","input":"x"})", 400, "invalid model name");
  check("/api/embed", R"({"model":"gone","input":"x"})", 404, R"(model \"gone\" not found, try pulling it first)");
  check("/api/embed", R"({"model":"tiny","input":"x","dimensions":"y"})", 400, "");
  check("/api/embed", R"({"model":"tiny","input":["a",""]})", 400, "the input is empty");
  check("/api/embeddings", R"({"prompt":"x"})", 400, "model is required");
  check("/api/embeddings", R"({"model":"gone","prompt":"x"})", 404, "try pulling it first");
  check("/v1/embeddings", R"({"model":"tiny"})", 400, "invalid input");
  check("/v1/embeddings", R"({"model":"tiny","input":[]})", 400, "invalid input");
  check("/v1/embeddings", R"({"model":"tiny","input":[1.5]})", 400, "invalid input type");
  check("/v1/embeddings", R"({"model":"tiny","input":[1,"a"]})", 400, "invalid input type");
  check("/v1/embeddings", R"({"model":"tiny","input":[-7]})", 400, "token id");
  check("/v1/embeddings", R"({"model":"tiny","input":[99999999999]})", 400, "token id");
  check("/v1/embeddings", R"({"model":"tiny","input":"x","encoding_format":"hex"})", 400,
        "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].");
}

TEST_CASE("Embeddings_OldRouteKeepsTheLength") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  const json::object raw = object_in(fixture.post("/api/embeddings", R"({"model":"tiny","prompt":"hello"})"));
  CHECK(keys_of(raw) == "embedding");
  std::vector<double> vector = vector_of(raw.at("embedding"));
  const double size = length(vector);
  CHECK(std::abs(size - 1) > 0.1);
  for (double& value : vector) value /= size;
  const json::object unit = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":"hello"})"));
  CHECK(distance(vector, vector_of(unit.at("embeddings").at(0))) < 1e-4);
}

TEST_CASE("OpenAiEmbeddings_FloatsBase64AndTokens") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("tiny").status == 200);
  const json::object unit = object_in(fixture.post("/api/embed", R"({"model":"tiny","input":["ab","c"]})"));
  const json::object floats = object_in(fixture.post("/v1/embeddings", R"({"model":"tiny","input":["ab","c"]})"));
  CHECK(keys_of(floats) == "object data model usage");
  CHECK(floats.at("object") == "list");
  CHECK(floats.at("usage") == json::parse(R"({"prompt_tokens":3,"total_tokens":3})"));
  REQUIRE(floats.at("data").as_array().size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const json::object& entry = floats.at("data").at(i).as_object();
    CHECK(entry.at("object") == "embedding");
    CHECK(entry.at("index") == i);
    CHECK(distance(vector_of(entry.at("embedding")), vector_of(unit.at("embeddings").at(i))) < 1e-3);
  }
  const json::object coded = object_in(fixture.post("/v1/embeddings", R"({"model":"tiny","input":"ab","encoding_format":"Base64"})"));
  const std::vector<float> decoded = floats_of_base64(coded.at("data").at(0).at("embedding").as_string());
  CHECK(distance({decoded.begin(), decoded.end()}, vector_of(unit.at("embeddings").at(0))) < 1e-3);
  // 'a' and 'b' are the tokens 64 and 65 of the vocabulary.
  for (const char* input : {"[64,65]", "[[64,65]]"}) {
    const json::object ids = object_in(fixture.post("/v1/embeddings", std::string(R"({"model":"tiny","input":)") + input + "}"));
    REQUIRE(ids.at("data").as_array().size() == 1);
    CHECK(distance(vector_of(ids.at("data").at(0).at("embedding")), vector_of(unit.at("embeddings").at(0))) < 1e-3);
  }
}
