#include "server/modelfile/create_fields.h"

#include <boost/json.hpp>
#include <random>

#include "server/json/json.h"
#include "tests/support/catch.h"

using namespace olx::server;

namespace {

CreateFields fields_of(const std::string& lines) { return create_fields(parse_modelfile("FROM x\n" + lines)); }

std::string error_of(const std::string& lines) {
  try {
    fields_of(lines);
  } catch (const ModelfileError& error) {
    return error.what();
  }
  return "";
}

std::string parameter(const std::string& line) { return go_json(fields_of("PARAMETER " + line).body.at("parameters")); }

}  // namespace

TEST_CASE("CreateFields_AreTheBodyOfACreateRequest") {
  const CreateFields fields = create_fields(parse_modelfile(
      "FROM ./a.gguf\nFROM mmproj.gguf\nADAPTER one\nADAPTER two\nTEMPLATE first\nTEMPLATE \"\"\"{{ .Prompt }}\n\"\"\"\n"
      "SYSTEM be brief\nLICENSE MIT\nLICENSE more\nMESSAGE user hi\nMESSAGE assistant \"\"\"hello\nyou\"\"\"\nREQUIRES v0.14.0\n"
      "PARAMETER stop <a>\nPARAMETER temperature 1\nPARAMETER stop \"<b>\"\nPARAMETER temperature 0.25\nRENDERER r\nPARSER p\n"));
  CHECK(fields.from == std::vector<std::string>{"./a.gguf", "mmproj.gguf"});
  CHECK(fields.adapter == "two");
  CHECK(fields.warnings.empty());
  CHECK(boost::json::value(fields.body) == boost::json::parse(R"({
    "template": "{{ .Prompt }}\n", "system": "be brief", "license": ["MIT", "more"], "renderer": "r", "parser": "p",
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello\nyou"}],
    "requires": "0.14.0", "parameters": {"stop": ["<a>", "<b>"], "temperature": 0.25}})"));
  CHECK(fields_of("").body.empty());
}

TEST_CASE("CreateFields_GiveParametersTheirTypes") {
  CHECK(parameter("num_ctx 4096") == R"({"num_ctx":4096})");
  CHECK(parameter("num_predict -1") == R"({"num_predict":-1})");
  CHECK(parameter("seed +7") == R"({"seed":7})");
  CHECK(parameter("temperature 0.7") == R"({"temperature":0.7})");
  CHECK(parameter("top_p 1") == R"({"top_p":1})");
  CHECK(parameter("min_p 1e-3") == R"({"min_p":0.001})");
  CHECK(parameter("mirostat 2") == R"({"mirostat":2})");
  CHECK(parameter("mirostat_tau 3.5") == R"({"mirostat_tau":3.5})");
  CHECK(parameter("use_mmap F") == R"({"use_mmap":false})");
  CHECK(parameter("stop 7") == R"({"stop":["7"]})");
  CHECK(parameter("stop \"\"\"a \"b\" c\"\"\"") == R"({"stop":["a \"b\" c"]})");

  CHECK(error_of("PARAMETER foo 1") == "unknown parameter 'foo'");
  CHECK(error_of("PARAMETER NUM_CTX 1") == "unknown parameter 'NUM_CTX'");
  for (const char* bad : {"x", "1.5", "1e3", "0x10", "1 2", "99999999999999999999", "--1", "+-1", "-", "1_000"})
    CHECK(error_of("PARAMETER num_ctx " + std::string(bad)) == "invalid int value [" + std::string(bad) + "]");
  for (const char* bad : {"x", "1,5", "nan", "inf", "-inf", "1e39", "1e999", "0.5f", "."})
    CHECK(error_of("PARAMETER temperature " + std::string(bad)) == "invalid float value [" + std::string(bad) + "]");
  for (const char* bad : {"yes", "2", "tRUE", "on"})
    CHECK(error_of("PARAMETER use_mmap " + std::string(bad)) == "invalid bool value [" + std::string(bad) + "]");

  const CreateFields old = fields_of("PARAMETER low_vram true\nPARAMETER f16_kv nonsense");
  CHECK(old.warnings == std::vector<std::string>{"warning: parameter low_vram is deprecated", "warning: parameter f16_kv is deprecated"});
  CHECK(old.body.empty());
}

TEST_CASE("CreateFields_RequiresWantsAVersion") {
  for (const char* good : {"1", "0.14", "0.14.0", "v1.2.3", "1.2.3-rc.1", "1.2.3+build.5", "1.2.3-rc1+x"})
    CHECK(error_of("REQUIRES " + std::string(good)).empty());
  for (const char* bad : {"x", "1.", ".1", "1.2.3.4", "01.2", "1.2-rc", "1.2.3-", "1.2.3+", "1.2.3-a..b", "vv1", "-1"})
    CHECK(error_of("REQUIRES " + std::string(bad)) == "requires must be a valid semver (e.g. 0.14.0)");
}

TEST_CASE("Modelfile_AnyValueTheGrammarCanSayIsReadBackAsWritten") {
  // Values of every shape the writer meets; three quotes inside, or carriage returns, cannot be written in the grammar.
  const std::vector<std::string> pieces = {"a", " ", "\n", "\"", "\t", "#", "FROM x", "'", "\xc3\xa9", "{{ .Prompt }}", "\\n"};
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    std::string value;
    for (unsigned n = random() % 8; n > 0; --n) value += pieces[random() % pieces.size()];
    if (value.find("\"\"") != std::string::npos) continue;
    const Modelfile file = {{"from", "", "x"}, {"system", "", value}, {"license", "", "last"}};
    INFO(write_modelfile(file));
    const Modelfile again = parse_modelfile(write_modelfile(file));
    REQUIRE(again.size() == 3);
    REQUIRE(again[1].value == value);
    REQUIRE(again[2].value == "last");
  }
}

TEST_CASE("Modelfile_HostileTextNeitherHangsNorCrashes") {
  const std::string blank_lines(200'000, '\n');
  CHECK_THROWS_AS(parse_modelfile("FROM x\nSYSTEM \"\"\"" + blank_lines), ModelfileError);
  CHECK_THROWS_AS(parse_modelfile("FROM x\nSYSTEM \"" + blank_lines + "a"), ModelfileError);
  std::mt19937 random(5);
  const std::string alphabet = "FROMfrom PARAMETER\"\"\"\n\r\t #\xff\xfe\xc3\x80\x00";
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (unsigned n = random() % 60; n > 0; --n) text += alphabet[random() % alphabet.size()];
    try {
      parse_modelfile(text);
    } catch (const ModelfileError&) {
    }
  }
}
