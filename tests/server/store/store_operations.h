#pragma once
// What every fault test does to a store, one row an operation, and the oracle that judges what a
// fault left. A new operation is one more row of operations(): it gets the kills, the failures and
// the power losses by existing.

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/registry/upload.h"
#include "server/store/fsck.h"
#include "server/store/gguf_layer.h"
#include "tests/server/store/store_support.h"
#include "tests/support/catch.h"
#include "tests/support/registry_server.h"

namespace olx::server::testing {

struct Operation {
  const char* name;
  std::function<void(ModelStore&)>
      run;  // throws when it fails; what it makes must have the same bytes each time
  bool uses_network = false;
};

// Of the hundreds of calls of an operation with a network, which of them are struck: every ninth,
// with another first one in each loop, unless OLLAMAX_FAULTS=full. The others are short, and struck
// at every one.
inline int stride_of(const Operation& operation) {
  const char* wanted = std::getenv("OLLAMAX_FAULTS");
  const bool is_full = wanted != nullptr && std::string_view(wanted) == "full";
  return operation.uses_network && !is_full ? 9 : 1;
}
inline int first_of(const Operation& operation) {
  static int n_loops = 0;
  return 1 + n_loops++ % stride_of(operation);
}

// A store with three models, two of which share their weights, and one that a registry has in
// another version. Made once a program, then copied.
class Stage {
 public:
  Stage() : template_(temp_.path() / "template"), folder_(temp_.path() / "models") {
    weights_ = tiny_gguf(temp_, 1);
    new_weights_ = tiny_gguf(temp_, 2);
    std::ofstream(temp_.file("local.gguf"), std::ios::binary) << tiny_gguf(temp_, 7);
    offer("library/pulled", 5, "pulled");
    offer("library/stale", 6, "the newer one");
    registry_.keep();
    ModelStore store(template_);
    CreateRequest request = from_file("kept", upload(store, weights_));
    request.system = "the first";
    create(store, request);
    create(store, from_file("sharing", sha256_of(weights_)));
    request = from_file("victim", upload(store, tiny_gguf(temp_, 3)));
    request.licenses = {"of the victim"};
    create(store, request);
    request = from_file(registry_.host() + "/library/stale", upload(store, tiny_gguf(temp_, 4)));
    request.system = "the older one";
    create(store, request);
  }

  // The folder and the registry as they were made, whatever happened to them.
  const std::filesystem::path& reset() {
    registry_.reset();
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(template_, folder_, std::filesystem::copy_options::recursive);
    return folder_;
  }
  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path other_folder() const { return temp_.path() / "after"; }
  const olx::tests::RegistryServer& registry() const { return registry_; }

  // For a registry to have from the next reset() on: a model of these bytes.
  void offer_bytes(const std::string& repository, const std::string& bytes) {
    const std::string config = config_json(ModelConfig{});
    const Manifest manifest{
        {std::string(media_type::kConfig), sha256_of(config), config.size(), {}},
        {{std::string(media_type::kModel), sha256_of(bytes), bytes.size(), {}}}};
    registry_.add_blob(config);
    registry_.add_blob(bytes);
    registry_.add_manifest(repository + "/latest", manifest_json(manifest));
    registry_.keep();
  }

  void pull(ModelStore& store, const std::string& repository) const {
    store.files().set_spare_bytes(0);  // the folder for temporary files may be small
    Downloads downloads(store.files());
    pull_model(store, downloads, on_registry(repository), true, quick_options(), quiet());
  }
  void push(ModelStore& store, const std::string& repository) const {
    push_model(store, on_registry(repository), true, quick_options(), quiet());
  }

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
        {"import",
         [this](ModelStore& store) {
           store.files().set_spare_bytes(0);
           create(store,
                  from_file("imported", store.files().import_file(temp_.file("local.gguf"))));
         }},
        {"cp", [](ModelStore& store) { store.copy(name("kept"), name("a/copy:of")); }},
        {"rm", [](ModelStore& store) { store.remove(name("victim")); }},
        {"start", [](ModelStore& store) { start(store); }},
        {"pull", [this](ModelStore& store) { pull(store, "library/pulled"); }, true},
        {"update", [this](ModelStore& store) { pull(store, "library/stale"); }, true},
        {"push", [this](ModelStore& store) { push(store, "library/stale"); }, true},
    };
  }

  static void start(ModelStore& store) {
    store.clean_leftovers();
    store.prune();
  }

  // Parts and records so small that a tiny blob has several of each, and waits that are none.
  static RegistryOptions quick_options() {
    RegistryOptions options;
    options.n_streams = 2;
    options.record_bytes = 256;
    options.sync_bytes = 1024;
    options.min_part_bytes = 512;
    options.retry_delay_ms = 1;
    return options;
  }

 private:
  static TransferClient quiet() {
    return {[](const TransferProgress&) {}, [] { return false; }};
  }
  ModelName on_registry(const std::string& repository) const {
    return name(registry_.host() + "/" + repository);
  }
  // Makes a model for the registry to have.
  void offer(const std::string& repository, uint32_t seed, const std::string& system) {
    const olx::tests::TempDir made;
    ModelStore store(made.path());
    CreateRequest request = from_file("made", upload(store, tiny_gguf(made, seed)));
    request.system = system;
    create(store, request);
    const InstalledModel model = store.find(name("made")).value();
    std::vector<Layer> layers = model.manifest.layers;
    layers.push_back(model.manifest.config);
    for (const Layer& layer : layers) registry_.add_blob(read_file(store.blob_path(layer.digest)));
    registry_.add_manifest(repository + "/latest", *store.files().manifest_text(name("made")));
  }

  // Some thousand copies of a folder are made and removed: in memory where that can be had.
  static std::filesystem::path quick_folder() {
    const bool has_memory_disk = ::access("/dev/shm", W_OK) == 0;
    return has_memory_disk ? "/dev/shm" : std::filesystem::temp_directory_path();
  }

  olx::tests::TempDir temp_{quick_folder()};
  std::filesystem::path template_, folder_;
  std::string weights_, new_weights_;
  olx::tests::RegistryServer registry_;
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
