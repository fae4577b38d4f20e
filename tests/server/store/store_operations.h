#pragma once
// What every fault test does to a store, one row an operation, and the oracle that judges what a
// fault left. A new operation (a pull, a push) is one more row of operations(): it gets the kills,
// the failures and the power losses by existing.

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/store/fsck.h"
#include "server/store/gguf_layer.h"
#include "tests/server/store/store_support.h"
#include "tests/support/catch.h"

namespace olx::server::testing {

struct Operation {
  const char* name;
  std::function<void(ModelStore&)>
      run;  // throws when it fails; what it makes must have the same bytes each time
};

// A store with three models: two share their weights, one has weights of its own. Made once a
// program, then copied.
class Stage {
 public:
  Stage() : template_(temp_.path() / "template"), folder_(temp_.path() / "models") {
    weights_ = tiny_gguf(temp_, 1);
    new_weights_ = tiny_gguf(temp_, 2);
    ModelStore store(template_);
    CreateRequest request = from_file("kept", upload(store, weights_));
    request.system = "the first";
    create(store, request);
    create(store, from_file("sharing", sha256_of(weights_)));
    request = from_file("victim", upload(store, tiny_gguf(temp_, 3)));
    request.licenses = {"of the victim"};
    create(store, request);
  }

  // The folder as it was made, whatever happened to it.
  const std::filesystem::path& reset() {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(template_, folder_, std::filesystem::copy_options::recursive);
    return folder_;
  }
  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path other_folder() const { return temp_.path() / "after"; }

  std::vector<Operation> operations() const {
    return {
        {"create",
         [this](ModelStore& store) {
           CreateRequest request = from_file("made", upload(store, new_weights_));
           request.system = "the new one";
           request.parameters = {{"seed", engine::Value(7)}};
           create(store, request);
         }},
        {"replace",
         [this](ModelStore& store) {
           CreateRequest request = from_file("victim", upload(store, new_weights_));
           request.template_text = "{{ .Prompt }}";
           create(store, request);
         }},
        {"cp", [](ModelStore& store) { store.copy(name("kept"), name("a/copy:of")); }},
        {"rm", [](ModelStore& store) { store.remove(name("victim")); }},
        {"start", [](ModelStore& store) { start(store); }},
    };
  }

  static void start(ModelStore& store) {
    store.clean_leftovers();
    store.prune();
  }

 private:
  olx::tests::TempDir temp_;
  std::filesystem::path template_, folder_;
  std::string weights_, new_weights_;
};

// Every model and the id of its manifest; each has been read in full, so that it would load.
using Listing = std::map<std::string, std::string>;
inline Listing listing(const ModelStore& store) {
  Listing models;
  for (const InstalledModel& model : store.list()) {
    if (const ModelContents contents = store.contents(model); !has_gguf_magic(contents.gguf_path))
      continue;
    models[model.name.shortest()] = model.digest.hex();
  }
  return models;
}

inline std::string text_of(const FsckReport& report) {
  std::string text;
  for (const FsckFinding& finding : report.findings)
    text += (finding.is_wrong ? "wrong: " : "note: ") + finding.what + "\n";
  return text;
}

// The oracle: fsck --hash finds nothing wrong, now and after the next start, which leaves no
// leftover; and the models are those before or those after, never a mixture. Returns what it holds
// against the folder, "" when nothing.
inline std::string judge(const std::filesystem::path& folder, const Listing& before,
                         const Listing& after, bool must_be_after) {
  const FsckReport found = fsck(folder, {.hashes = true});
  if (found.n_wrong() > 0) return "fsck: " + text_of(found);
  ModelStore store(folder);
  Stage::start(store);
  const FsckReport started = fsck(folder, {.hashes = true});
  if (started.n_wrong() > 0) return "fsck after the next start: " + text_of(started);
  if (started.n_leftovers > 0) return "the next start left: " + text_of(started);
  const Listing now = listing(store);
  if (now == after || (now == before && !must_be_after)) return "";
  std::string text = "models:";
  for (const auto& [model, id] : now) text += " " + model + "=" + id.substr(0, 8);
  return text + (must_be_after ? " although it was reported done" : "");
}

struct Outcome {
  Listing before, after;
};
// What the operation does when nothing fails.
inline Outcome outcome(Stage& stage, const Operation& operation) {
  ModelStore store(stage.reset());
  Outcome both;
  both.before = listing(store);
  operation.run(store);
  both.after = listing(store);
  return both;
}

}  // namespace olx::server::testing
