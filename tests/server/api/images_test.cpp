// Images in requests to models that cannot see: each is refused before anything of it is decoded,
// on every route and whatever its bytes are. Tokens that stand for images are text without one, and
// a projector beside a model is not run.
#include <fstream>
#include <vector>

#include "gguf/writer.h"
#include "server/registry/proxy.h"
#include "tests/server/api/server_fixture.h"
#include "tests/support/catch.h"

using namespace olx;
using namespace olx::tests;
namespace json = boost::json;

namespace {

std::string big_endian(uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}

// The head of a PNG of that size, without a pixel.
std::string png(uint32_t width, uint32_t height) {
  return std::string("\x89PNG\r\n\x1a\n", 8) + big_endian(13) + "IHDR" + big_endian(width) +
         big_endian(height) + std::string("\x08\x06\0\0\0", 5) + big_endian(0);
}

struct Image {
  const char* what;
  std::string base64;  // or what stands in its place
};

std::vector<Image> images() {
  const std::string tga("\0\0\x02\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x20\0", 18);
  const std::string gif =
      std::string("GIF89a\xff\xff\xff\xff\x80\0\0", 13) + std::string(51, '\x2c');
  std::vector<Image> out = {{"a TGA of 65535 x 65535 in 18 bytes", server::base64(tga)},
                            {"a GIF of 65535 x 65535 in 64 bytes", server::base64(gif)},
                            {"a PNG of 100000 x 100000", server::base64(png(100'000, 100'000))},
                            {"a PNG without width", server::base64(png(0, 5))},
                            {"a PNG of 1 x 1", server::base64(png(1, 1))},
                            {"a PNG of 1 x 16384", server::base64(png(1, 16384))},
                            {"half a PNG", server::base64(png(8, 8).substr(0, 20))},
                            {"a text", server::base64("this is no image")},
                            {"no base64", "!!!! not base64 !!!!"},
                            {"base64 that is cut short", "iVBORw0KGg"},
                            {"nothing", ""},
                            {"a folder", server::base64("../../../../etc/passwd")},
                            {"a mebibyte of nothing", std::string(1 << 20, 'A')}};
  return out;
}

// The request of each route with that image.
std::vector<std::pair<std::string, json::object>> requests_with(const std::string& base64) {
  const json::object text{{"type", "text"}, {"text", "What is this?"}};
  const std::string url = "data:image/png;base64," + base64;
  const auto messages = [](json::value content) {
    return json::array{json::object{{"role", "user"}, {"content", std::move(content)}}};
  };
  std::vector<std::pair<std::string, json::object>> out;
  out.emplace_back("/api/generate", json::object{{"model", "m"},
                                                 {"prompt", "What is this?"},
                                                 {"stream", false},
                                                 {"images", json::array{base64}}});
  out.emplace_back(
      "/api/chat",
      json::object{{"model", "m"},
                   {"stream", false},
                   {"messages", json::array{json::object{{"role", "user"},
                                                         {"content", "What is this?"},
                                                         {"images", json::array{base64}}}}}});
  out.emplace_back(
      "/v1/chat/completions",
      json::object{
          {"model", "m"},
          {"messages",
           messages(json::array{text, json::object{{"type", "image_url"},
                                                   {"image_url", json::object{{"url", url}}}}})}});
  out.emplace_back(
      "/v1/responses",
      json::object{{"model", "m"},
                   {"input", messages(json::array{
                                 json::object{{"type", "input_text"}, {"text", "What is this?"}},
                                 json::object{{"type", "input_image"}, {"image_url", url}}})}});
  const json::object source{{"type", "base64"}, {"media_type", "image/png"}, {"data", base64}};
  out.emplace_back(
      "/v1/messages",
      json::object{{"model", "m"},
                   {"max_tokens", 4},
                   {"messages", messages(json::array{
                                    text, json::object{{"type", "image"}, {"source", source}}})}});
  return out;
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t n_pages = 0, n_resident = 0;
  statm >> n_pages >> n_resident;
  return n_resident * 4096;
}

}  // namespace

TEST_CASE("Images_AreRefusedAndNeverDecoded", "[T-110][T-111][T-112]") {
  ServerFixture fixture;
  REQUIRE(fixture.create_tiny("m", R"(,"template":"{{ .Prompt }}")").status == 200);
  const std::string plain =
      R"({"model":"m","prompt":"x","stream":false,"options":{"num_predict":2,"stop":[]}})";
  REQUIRE(fixture.post("/api/generate", plain).status == 200);
  for (const Image& image : images()) {
    for (const auto& [route, request] : requests_with(image.base64)) {
      CAPTURE(image.what, route);
      const int64_t before = resident_bytes();
      const HttpAnswer answer = fixture.post(route, json::serialize(request));
      CHECK(answer.status == 400);
      CHECK(object_in(answer).contains("error"));
      CHECK(answer.body.size() < 500);  // nothing of the image comes back
      CHECK(resident_bytes() - before < 64 << 20);
    }
  }
  CHECK(fixture.post("/api/generate", plain).status == 200);
}

TEST_CASE("Images_PlaceholdersWithoutAnImageAreText", "[T-114]") {
  ServerFixture fixture(1, 256);
  TinyModel tiny;
  tiny.more_metadata = [](gguf::GgufWriter& writer) {
    write_ascii_vocabulary_with(writer, {{'^', "<|image_pad|>"}, {'~', "<start_of_image>"}});
  };
  write_tiny_model("llama", tiny, fixture.file("eyes.gguf"));
  REQUIRE(fixture.create("m", fixture.file("eyes.gguf"), R"(,"template":"{{ .Prompt }}")").status ==
          200);
  for (const char* text :
       {"<|image_pad|>", "<start_of_image>", "[img-0] [img-1] [img-99999999999999999999]",
        "<|image_pad|><|image_pad|><|image_pad|>"}) {
    CAPTURE(text);
    const std::string said = json::serialize(json::value(text));
    for (const auto& [route, body] : std::vector<std::pair<std::string, std::string>>{
             {"/api/generate", R"({"model":"m","stream":false,"prompt":)" + said +
                                   R"(,"options":{"num_predict":2,"stop":[]}})"},
             {"/api/chat", R"({"model":"m","stream":false,"messages":[{"role":"user","content":)" +
                               said + R"(}],"options":{"num_predict":2,"stop":[]}})"}}) {
      const HttpAnswer answer = fixture.post(route, body);
      CHECK(answer.status == 200);
      // A token a character: spelled out and not read as the one token that it spells.
      CHECK(object_in(answer).at("prompt_eval_count").as_int64() ==
            static_cast<int64_t>(std::string_view(text).size()));
    }
  }
}

TEST_CASE("Images_AProjectorIsKeptWithItsModelAndNotRun", "[T-113]") {
  ServerFixture fixture;
  TinyModel tiny;
  tiny.more_metadata = [](gguf::GgufWriter& writer) { write_ascii_vocabulary(writer); };
  write_tiny_model("llama", tiny, fixture.file("tiny.gguf"));
  // The numbers that ended programs which computed with them: zero divisors, and products beyond 32
  // bits.
  gguf::GgufWriter writer;
  writer.set_string("general.architecture", "clip");
  writer.set_string("general.type", "mmproj");
  for (const char* key : {"clip.vision.patch_size", "clip.vision.image_size",
                          "clip.vision.projector.scale_factor", "clip.vision.window_size"})
    writer.set_uint32(key, 0);
  for (const char* key :
       {"clip.vision.block_count", "clip.vision.embedding_length", "clip.vision.chunk_size"})
    writer.set_uint32(key, 0xffffffff);
  const std::vector<int64_t> shape = {32, 3};
  writer.add_tensor("v.patch_embd.weight", gguf::DType::kF32, shape,
                    std::vector<std::byte>(96 * 4));
  writer.write(fixture.file("mmproj.gguf"));
  json::object files;
  for (const char* name : {"tiny.gguf", "mmproj.gguf"}) {
    const std::string bytes = file_bytes(fixture.file(name)),
                      digest = server::sha256_of(bytes).text();
    http(fixture.port(), "POST", "/api/blobs/" + digest, bytes);
    files[name] = digest;
  }
  REQUIRE(fixture
              .post("/api/create",
                    json::serialize(json::object{
                        {"model", "m"}, {"files", files}, {"template", "{{ .Prompt }}"}}))
              .status == 200);
  // Nothing that the server refuses is offered: clients show what is listed here.
  const HttpAnswer shown = fixture.post("/api/show", R"({"model":"m"})");
  CHECK(shown.status == 200);
  CHECK(object_in(shown).at("capabilities") == json::value(json::array{"completion"}));
  CHECK(
      fixture
          .post(
              "/api/generate",
              R"({"model":"m","prompt":"x","stream":false,"options":{"num_predict":2,"stop":[]}})")
          .status == 200);
  const HttpAnswer answer = fixture.post(
      "/api/generate", R"({"model":"m","prompt":"x","stream":false,"images":["AAAA"]})");
  CHECK(answer.status == 400);
  CHECK(answer.body.find("does not support vision") != std::string::npos);
}
