// Every chat template of the shared golden folder, rendered by Python's Jinja2 there and by the
// interpreter here.

#include <filesystem>

#include "engine/text/jinja/jinja.h"
#include "tests/support/catch.h"
#include "tests/support/json_value.h"
#include "tests/support/test_paths.h"

using namespace olx;
using namespace olx::engine;

// 2026-01-15 12:30:00, the clock of the golden files.
constexpr jinja::RenderClock kGoldenClock{1768480200, true};

TEST_CASE("Jinja_RendersEveryGoldenTemplateAsPythonDoes") {
  const auto folder = tests::shared_dir() / "golden/chat-templates";
  if (!tests::have(folder)) return;
  const Value cases =
      tests::parse_json(tests::read_text_file((folder / "jinja-cases.json").string()));
  int n_templates = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "jinja")) {
    if (entry.path().extension() != ".jinja") continue;
    ++n_templates;
    const std::string source = tests::read_text_file(entry.path().string());
    auto expected_path = entry.path();
    expected_path.replace_extension(".expected.json");
    const Value expected = tests::parse_json(tests::read_text_file(expected_path.string()));
    for (const auto& [name, variables] : *cases.as_map()) {
      INFO(entry.path().filename().string() << ", case " << name);
      const Value* wanted = expected.find(name);
      if (!wanted) continue;  // two programs disagreed when the golden files were made
      if (const Value* text = wanted->find("ok"))
        CHECK(jinja::JinjaTemplate(source).render(variables, {}, kGoldenClock) ==
              *text->as_string());
      else
        CHECK_THROWS_AS(jinja::JinjaTemplate(source).render(variables, {}, kGoldenClock),
                        EngineError);
    }
  }
  CHECK(n_templates > 40);
}
