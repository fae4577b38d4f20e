#include "server/store/digest.h"
#include "server/store/model_name.h"
#include "tests/support/catch.h"

using namespace olx::server;

TEST_CASE("ModelName_FillsInTheDefaults") {
  const auto name = ModelName::parse("llama3");
  REQUIRE(name);
  CHECK(name->full() == "registry.ollama.ai/library/llama3:latest");
  CHECK(name->shortest() == "llama3:latest");
  CHECK(ModelName::parse("ns/m:7b")->shortest() == "ns/m:7b");
  CHECK(ModelName::parse("localhost:5000/ns/m")->full() == "localhost:5000/ns/m:latest");
  CHECK(ModelName::parse("example.com/library/m:t")->shortest() == "example.com/library/m:t");
  CHECK(ModelName::parse("https://h/n/m:t")->path() == "h/n/m/t");
  CHECK(ModelName::parse("LLaMA:X")->same_ignoring_case(*ModelName::parse("llama:x")));
}

TEST_CASE("ModelName_RefusesHostileNames", "[T-70]") {
  const std::string long_part(81, 'a');
  const std::vector<std::string> names = {
      "", " ", " m", "m ", "m: t", "m\n", ":", "/", "m:", ":t", "/m", "n/", "h//m", "..", "../m", "m/..", "../../etc/passwd", "a/../b", "a:..",
      "a:../b", ".hidden", "-m", "m:-t", "n.s/m", "host:80/m", "a b", "a\nb", "a\r\nb", std::string("a\0b", 3), "a\\b",
      "m@sha256:00", "m%2fx", "caf\xc3\xa9", "\xff", long_part, "m:" + long_part, long_part + "/m", "a/b/c/d", "~/m", "m*"};
  for (const std::string& name : names) {
    INFO(name);
    CHECK_FALSE(ModelName::parse(name));
  }
  CHECK(ModelName::parse(std::string(80, 'a') + ":" + std::string(80, 'b')));
  CHECK(ModelName::parse(std::string(350, 'h') + "/n/m"));
  CHECK_FALSE(ModelName::parse(std::string(351, 'h') + "/n/m"));
}

TEST_CASE("Digest_RefusesEverythingButSha256AndHex", "[T-51][T-63]") {
  const std::string hex(64, 'a');
  CHECK(Digest::parse("sha256:" + hex));
  CHECK(Digest::parse("sha256-" + hex)->text() == "sha256:" + hex);
  CHECK(Digest::parse("sha256:" + std::string(64, 'A'))->hex() == hex);
  for (const std::string& text :
       {std::string(), hex, "sha256" + hex, "sha256:" + hex.substr(1), "sha256:" + hex + "a", "sha256:" + hex + "\n",
        "sha512:" + hex, "SHA256:" + hex, "sha256_" + hex, "sha256:../" + hex.substr(3), "sha256:" + hex.substr(1) + "g",
        "sha256:" + hex.substr(1) + std::string(1, '\0'), " sha256:" + hex, "sha256:%2e" + hex.substr(3)}) {
    INFO(text);
    CHECK_FALSE(Digest::parse(text));
  }
}

TEST_CASE("Sha256_AgreesWithThePublishedVectors") {  // FIPS 180-2, appendix B
  CHECK(sha256_of("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of("").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
