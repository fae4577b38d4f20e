#include "server/modelfile/modelfile.h"

#include "tests/support/catch.h"

using namespace olx::server;

namespace {

std::string value_of(const std::string& line) { return parse_modelfile("FROM x\n" + line).back().value; }

std::string error_of(std::string_view text) {
  try {
    parse_modelfile(text);
  } catch (const ModelfileError& error) {
    return error.what();
  }
  return "";
}

const std::string kCommandList =
    "command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \"draft\", \"renderer\", "
    "\"parser\", \"parameter\", \"message\", or \"requires\"";

}  // namespace

TEST_CASE("Modelfile_ReadsEveryCommand") {
  const Modelfile file = parse_modelfile(
      "# a comment\r\n  from ./model.gguf\nPARAMETER temperature 0.5\nParameter stop \"<|end|>\"\nMESSAGE user Hi # not a "
      "comment\nLICENSE MIT\nADAPTER a.gguf");
  REQUIRE(file.size() == 6);
  CHECK(file[0].name == "from");
  CHECK(file[0].value == "./model.gguf");
  CHECK(file[1].argument == "temperature");
  CHECK(file[1].value == "0.5");
  CHECK(file[2].value == "<|end|>");
  CHECK(file[3].argument == "user");
  CHECK(file[3].value == "Hi # not a comment");
}

TEST_CASE("Modelfile_QuotesCloseOnlyAtALineEnd") {
  CHECK(value_of("SYSTEM plain") == "plain");
  CHECK(value_of("SYSTEM   \"two words\"  ") == "two words");
  CHECK(value_of("SYSTEM \"\"\"a\nb \"quoted\"\n\"\"\"\n") == "a\nb \"quoted\"\n");
  CHECK(value_of("SYSTEM \"a\" b\nc\"") == "a\" b\nc");
  CHECK(value_of("SYSTEM 'single'") == "'single'");
  CHECK(value_of("SYSTEM it\"s") == "it\"s");
  CHECK(value_of("SYSTEM \"\"") == "");
  CHECK(value_of("SYSTEM a\x01\xe2\x80\x8d" "b\tc") == "ab\tc");
}

TEST_CASE("Modelfile_ErrorsAreOllamas") {
  CHECK(error_of("") == "no FROM line");
  CHECK(error_of("SYSTEM x") == "no FROM line");
  CHECK(error_of("FROM x\nFOO bar") == "(line 2): " + kCommandList);
  CHECK(error_of("FROM x\nFOO bar\n") == "(line 2): " + kCommandList);
  CHECK(error_of("FROM\n") == "(line 2): " + kCommandList);  // the line break itself is the offence
  CHECK(error_of("FROM x\nFOO \nbar") == "(line 2): " + kCommandList);
  CHECK(error_of("FROM x\n1 y") == "(line 2): " + kCommandList);
  CHECK(error_of("FROM x\r\n\"\"\" y") == "(line 3): " + kCommandList);
  CHECK(error_of("FROM x\nSYSTEM2 y") == "(line 2): " + kCommandList);
  CHECK(error_of("FROM x\n?") == "unexpected EOF");
  CHECK(error_of("FROM") == "unexpected EOF");
  CHECK(error_of("FROM x\nPARAMETER seed") == "unexpected EOF");
  CHECK(error_of("FROM x\nPARAMETER seed\n") == "unexpected EOF: seed");
  CHECK(error_of("FROM x\nMESSAGE user") == "unexpected EOF");
  CHECK(error_of("FROM x\nMESSAGE user\n") == "unexpected EOF: user");
  CHECK(error_of("FROM x\nSYSTEM \"\"\"open") == "unexpected EOF");
  CHECK(error_of("FROM x\nMESSAGE tool hi") == "(line 2): message role must be one of \"system\", \"user\", or \"assistant\"");
  CHECK(error_of("FROM x\nPARAMETER a-b 1") == "unexpected EOF: a");
}

TEST_CASE("Modelfile_AValueMayBeEmpty") {
  CHECK(value_of("SYSTEM ").empty());
  const Modelfile file = parse_modelfile("FROM x\nSYSTEM \nLICENSE   \t\nTEMPLATE y");
  REQUIRE(file.size() == 4);
  CHECK(file[1].value.empty());
  CHECK(file[2].value.empty());
  CHECK(file[3].value == "y");
}

TEST_CASE("Modelfile_HonoursByteOrderMarks") {
  CHECK(parse_modelfile("\xef\xbb\xbf" "FROM caf\xc3\xa9")[0].value == "caf\xc3\xa9");
  CHECK(parse_modelfile(std::string("\xff\xfe" "F\0R\0O\0M\0 \0\xe9\0", 14))[0].value == "\xc3\xa9");
  CHECK(parse_modelfile(std::string("\xfe\xff\0F\0R\0O\0M\0 \xd8\x3d\xde\x00", 16))[0].value == "\xf0\x9f\x98\x80");
}

TEST_CASE("Modelfile_IsReadBackAsWritten") {
  const Modelfile file = {{"from", "", "x"},
                          {"system", "", " leading and\nlines "},
                          {"template", "", "say \"hi\"\nthen"},
                          {"parameter", "stop", "<|end|>"},
                          {"message", "user", "plain"}};
  const Modelfile again = parse_modelfile(write_modelfile(file));
  REQUIRE(again.size() == file.size());
  for (size_t i = 0; i < file.size(); ++i) {
    CHECK(again[i].argument == file[i].argument);
    CHECK(again[i].value == file[i].value);
  }
}
