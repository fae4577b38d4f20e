#include "server/store/model_store.h"

#include "tests/server/store/store_support.h"
#include "tests/support/catch.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/test_paths.h"

using namespace olx::server;
using namespace olx::server::testing;
using olx::engine::Value;
using olx::engine::ValueList;
using olx::engine::ValueMap;
namespace fs = std::filesystem;

TEST_CASE("ModelStore_MakesAModelFromAGgufBlob") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path() / "models");
  const Digest weights = upload(store, tiny_gguf(temp, 1));
  CreateRequest request = from_file("Tiny", weights);
  request.template_text = "{{ .Prompt }}";
  request.system = "Be brief.";
  request.parameters = {{"temperature", Value(0.5)}, {"num_ctx", Value(2048)}, {"stop", Value(ValueList{"<a>", "<b>"})}};
  request.messages = {Value(ValueMap{{"content", "hi"}, {"role", "user"}})};
  request.licenses = {"MIT", "and more"};
  const std::vector<std::string> lines = create(store, request);

  REQUIRE(lines.size() == 10);
  CHECK(lines[0] == "parsing GGUF");
  CHECK(lines[1] == "using existing layer " + weights.text());
  for (size_t i = 2; i < 8; ++i) CHECK(lines[i].starts_with("creating new layer sha256:"));
  CHECK(lines[8] == "writing manifest");
  CHECK(lines[9] == "success");

  const auto found = store.find(name("tiny"));
  REQUIRE(found);
  CHECK(found->name.shortest() == "Tiny:latest");
  CHECK(found->details.format == "gguf");
  CHECK(found->details.family == "llama");
  CHECK(found->details.families == std::vector<std::string>{"llama"});
  CHECK(found->details.parameter_size == "96");
  CHECK(found->details.quantization_level == "Q4_1");
  CHECK(found->details.parent_model == "tiny.gguf");
  CHECK(found->size_bytes > fs::file_size(store.blob_path(weights)));
  CHECK(found->digest == sha256_of_file(temp.path() / "models/manifests/registry.ollama.ai/library/Tiny/latest"));

  const ModelContents contents = store.contents(*found);
  CHECK(contents.gguf_path == store.blob_path(weights));
  CHECK(contents.template_text == "{{ .Prompt }}");
  CHECK(contents.system == "Be brief.");
  CHECK(contents.licenses == std::vector<std::string>{"MIT", "and more"});
  REQUIRE(contents.parameters.size() == 3);
  CHECK(contents.parameters[0].first == "num_ctx");  // sorted, as Ollama's layer is
  CHECK(contents.parameters[1].second == Value(ValueList{"<a>", "<b>"}));
  CHECK(contents.parameters[2].second == Value(0.5));
  REQUIRE(contents.messages.size() == 1);
  CHECK(contents.messages[0] == Value(ValueMap{{"role", "user"}, {"content", "hi"}}));

  // Byte for byte what Ollama writes.
  const auto blob_of = [&](std::string_view type) {
    return read_file(store.blob_path(found->manifest.find(type)->digest));
  };
  CHECK(blob_of(media_type::kParams) == "{\"num_ctx\":2048,\"stop\":[\"\\u003ca\\u003e\",\"\\u003cb\\u003e\"],\"temperature\":0.5}\n");
  CHECK(blob_of(media_type::kMessages) == "[{\"role\":\"user\",\"content\":\"hi\"}]\n");
  CHECK(read_file(store.blob_path(found->manifest.config.digest)) ==
        "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\"model_type\":\"96\","
        "\"file_type\":\"Q4_1\",\"architecture\":\"amd64\",\"os\":\"linux\"}\n");
  const std::string manifest = read_file(temp.file("models/manifests/registry.ollama.ai/library/Tiny/latest"));
  CHECK(manifest.starts_with(
      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":{\"mediaType\":"
      "\"application/vnd.docker.container.image.v1+json\",\"digest\":\"sha256:"));
  CHECK(manifest.ends_with("}]}\n"));
}

TEST_CASE("ModelStore_AModelFromAnotherInheritsAndOverlays") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const Digest weights = upload(store, tiny_gguf(temp, 1));
  CreateRequest base = from_file("base", weights);
  base.system = "old";
  base.template_text = "T";
  base.parameters = {{"top_k", Value(1)}, {"stop", Value(ValueList{"x"})}};
  base.licenses = {"first"};
  base.messages = {Value(ValueMap{{"role", "user"}, {"content", "old"}})};
  create(store, base);

  CreateRequest request{name("ns/child:v2"), name("BASE"), {}, {}, {}, {}, {}, {}, {}};
  request.system = "new";
  request.parameters = {{"stop", Value(ValueList{"y"})}, {"seed", Value(7)}};
  request.licenses = {"second"};
  request.parser = "harmony";
  const auto lines = create(store, request);
  CHECK(lines.front() == "using existing layer " + weights.text());
  ModelContents contents = store.contents(name("ns/child:v2"));
  CHECK(contents.system == "new");
  CHECK(contents.template_text == "T");
  CHECK(contents.messages.size() == 1);
  CHECK(contents.licenses == std::vector<std::string>{"first", "second"});
  CHECK(contents.parameters == Parameters{{"seed", Value(7)}, {"stop", Value(ValueList{"y"})}, {"top_k", Value(1)}});
  CHECK(store.find(name("ns/child:v2"))->details.parent_model == "base:latest");
  CHECK(store.find(name("ns/child:v2"))->details.quantization_level == "Q4_1");
  CHECK(contents.config.parser == "harmony");
  CHECK(store.contents(name("base")).system == "old");

  // The same name again: layers only the old one used are gone, the shared ones stay.
  const auto old_system = store.find(name("ns/child:v2"))->manifest.find(media_type::kSystem)->digest;
  request.from = name("ns/child:v2");
  request.system = "newest";
  request.licenses = {};
  create(store, request);
  CHECK_FALSE(store.has_blob(old_system));
  CHECK(store.has_blob(weights));
  store.remove(name("base"));
  CHECK(store.has_blob(weights));
  store.remove(name("NS/child:V2"));
  CHECK_FALSE(store.has_blob(weights));
  CHECK(store.list().empty());
  CHECK(fs::is_empty(temp.path() / "blobs"));
}

TEST_CASE("ModelStore_RefusesBadRequestsAndKeepsTheOldModel", "[T-16]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const Digest weights = upload(store, tiny_gguf(temp, 1));
  const Digest text = upload(store, "just text");
  const Digest cut = upload(store, tiny_gguf(temp, 1).substr(0, 60));
  const Digest adapter = upload(store, tiny_gguf(temp, 2, "adapter"));
  create(store, from_file("m", weights));
  const std::string before = read_file(temp.file("manifests/registry.ollama.ai/library/m/latest"));

  const auto error_of = [&](NamedDigests files, NamedDigests adapters = {}) {
    CreateRequest request = from_file("m", weights);
    request.files = std::move(files);
    request.adapters = std::move(adapters);
    try {
      create(store, request);
    } catch (const StoreError& error) {
      CHECK(error.kind() == StoreError::Kind::kInvalid);
      CHECK(std::string(error.what()).find(temp.path().string()) == std::string::npos);
      CHECK(read_file(temp.file("manifests/registry.ollama.ai/library/m/latest")) == before);
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(error_of({}) == "neither 'from' or 'files' was specified");
  for (const char* path : {"/etc/passwd", "../x.gguf", "a/../x.gguf", "", "a//b", "./x", "a/", "."})
    CHECK(error_of({{path, weights.text()}}) == "file path must be relative");
  for (const char* digest : {"", "sha256:", "sha256:../../../../etc/passwd", "x"})
    CHECK(error_of({{"x.gguf", digest}}) == "invalid digest format");
  CHECK(error_of({{"x.gguf", sha256_of("absent").text()}}) == "blob \"" + sha256_of("absent").text() + "\" not found");
  CHECK(error_of({{"x.bin", text.text()}}) == "unknown type");
  CHECK(error_of({{"x.gguf", text.text()}}) == "supplied file was not in GGUF format");
  CHECK(error_of({{"model.safetensors", text.text()}}).find("safetensors") != std::string::npos);
  CHECK(error_of({{"x.gguf", cut.text()}}).find("x.gguf") != std::string::npos);
  CHECK(error_of({{"a.gguf", adapter.text()}}) == "the files must hold exactly one model");
  CHECK(error_of({{"x.gguf", weights.text()}}, {{"a.gguf", adapter.text()}, {"b.gguf", adapter.text()}}) ==
        "only one adapter is currently supported");
  CHECK(error_of({{"x.gguf", weights.text()}}, {{"a.gguf", weights.text()}}) == "a.gguf is not an adapter");

  CHECK(error_of({{"no-ending", weights.text()}}).empty());  // known by its first bytes
  create(store, [&] {
    CreateRequest request = from_file("m", weights);
    request.adapters = {{"lora.gguf", adapter.text()}};
    return request;
  }());
  CHECK(store.contents(name("m")).adapter_paths == std::vector<std::string>{store.blob_path(adapter)});

  CreateRequest orphan{name("n"), name("nobody"), {}, {}, {}, {}, {}, {}, {}};
  CHECK(kind_of([&] { create(store, orphan); }) == StoreError::Kind::kNotFound);
  CreateRequest too_long = from_file("m", weights);
  too_long.template_text = std::string((256 << 10) + 1, 'x');
  CHECK(kind_of([&] { create(store, too_long); }) == StoreError::Kind::kInvalid);
  too_long.template_text->pop_back();
  create(store, too_long);
}

TEST_CASE("ModelStore_RefusesPartsOfASplitModelWhateverTheySay", "[T-12]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const auto error_of = [&](const std::function<void(olx::tests::GgufBytes&)>& split, uint64_t n_keys) {
    olx::tests::GgufBytes bytes;
    bytes.header(1, n_keys + 1).kv_text("general.architecture", "llama");
    split(bytes);
    bytes.tensor("t", {8}, 0, 0).align().data(32);
    const Digest digest = upload(store, bytes.bytes());
    CreateRequest request = from_file("m", digest);
    request.files = {{"model.gguf", digest.text()}};
    try {
      create(store, request);
    } catch (const StoreError& error) {
      CHECK(error.kind() == StoreError::Kind::kInvalid);
      CHECK_FALSE(store.find(name("m")));
      return std::string(error.what());
    }
    store.remove(name("m"));
    return std::string();
  };
  const auto count_of = [&](uint32_t count, uint32_t number) {
    return error_of([&](auto& bytes) { bytes.kv_u32("split.no", number).kv_u32("split.count", count); }, 2);
  };
  for (const auto& [count, number] : std::vector<std::pair<uint32_t, uint32_t>>{{2, 0}, {2, 1}, {2, 7}, {65'535, 0}, {UINT32_MAX, UINT32_MAX}}) {
    INFO(count << " " << number);
    CHECK(count_of(count, number).find(count > 1024 || number >= count ? "split." : "model.gguf is one part of a split model: give all parts") !=
          std::string::npos);
  }
  CHECK(error_of([](auto& bytes) { bytes.kv_text("split.count", "2"); }, 1).find("split.count") != std::string::npos);
  CHECK(error_of([](auto& bytes) { bytes.text("split.count").u32(5).u32(UINT32_MAX); }, 1).find("split.count") != std::string::npos);
  CHECK(error_of([](auto& bytes) { bytes.kv_u32("split.count", 2).kv_u32("split.count", 1); }, 2).find("twice") != std::string::npos);
  // What the metadata names is never opened, and a model of one part is whole.
  CHECK(error_of([](auto& bytes) { bytes.kv_u32("split.count", 1).kv_text("split.prefix", "../../etc/passwd"); }, 2).empty());
}

TEST_CASE("ModelStore_PartsOfASplitModelBecomeOneBlob", "[T-12]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path() / "models");
  // Tensors 0 and 1 in the first file, 2 in the second; `whole` has the same in one.
  const auto written = [&](std::vector<int> tensors, std::optional<uint32_t> part, uint32_t n_parts) {
    olx::gguf::GgufWriter writer;
    if (part.value_or(0) == 0) writer.set_string("general.architecture", "llama");
    if (part) writer.set_uint32("split.no", *part), writer.set_uint32("split.count", n_parts), writer.set_int32("split.tensors.count", 3);
    const std::vector<int64_t> shape = {32};
    for (const int i : tensors) writer.add_tensor("t" + std::to_string(i), olx::gguf::DType::kF32, shape, std::vector<std::byte>(128, std::byte(i)));
    writer.write(temp.file("made.gguf"));
    return read_file(temp.file("made.gguf"));
  };
  const Digest first = upload(store, written({0, 1}, 0, 2)), second = upload(store, written({2}, 1, 2));
  const std::string whole = written({0, 1, 2}, std::nullopt, 1);
  const auto made_of = [&](NamedDigests files) {
    CreateRequest request = from_file("m", first);
    request.files = std::move(files);
    try {
      create(store, request);
      return std::string();
    } catch (const StoreError& error) {
      CHECK(error.kind() == StoreError::Kind::kInvalid);
      CHECK_FALSE(store.find(name("m")));
      return std::string(error.what());
    }
  };
  CHECK(made_of({{"a/m-00001-of-00002.gguf", first.text()}}) == "a/m-00002-of-00002.gguf is missing: a split model needs all of its parts");
  CHECK(made_of({{"m-00001-of-00002.gguf", second.text()}, {"m-00002-of-00002.gguf", first.text()}}) ==
        "m-00001-of-00002.gguf: expected part 1 of 2, got part 2 of 2");
  CHECK(made_of({{"m-00001-of-00002.gguf", first.text()}, {"m-00002-of-00002.gguf", first.text()}}) ==
        "m-00001-of-00002.gguf: expected part 2 of 2, got part 1 of 2");  // the one blob has two names
  CHECK(made_of({{"m-00001-of-00002.gguf", first.text()}, {"m-00002-of-00002.gguf", upload(store, "no GGUF at all").text()}}) ==
        "supplied file was not in GGUF format");
  CHECK(made_of({{"m-00002-of-00002.gguf", second.text()}, {"m-00001-of-00002.gguf", first.text()}}) == "");
  const InstalledModel model = store.find(name("m")).value();
  const Layer& weights = *model.manifest.find(media_type::kModel);
  CHECK(weights.digest == sha256_of(whole));
  CHECK(weights.from == "m.gguf");
  CHECK(model.details.parameter_size == "96");
  CHECK(read_file(store.contents(model).gguf_path) == whole);
  // What went into it is not kept twice.
  CHECK_FALSE(store.has_blob(first));
  CHECK_FALSE(store.has_blob(second));
}

TEST_CASE("ModelStore_ADiskWithoutRoomIsSaidBeforeTheWorkBegins", "[T-75]") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  const uint64_t free = free_bytes(temp.path());
  CHECK_NOTHROW(store.files().check_room(0));
  store.files().set_spare_bytes(0);
  CHECK_NOTHROW(store.files().check_room(1));
  CHECK(kind_of([&] { store.files().check_room(2 * free); }) == StoreError::Kind::kNoRoom);
  CHECK(kind_of([&] { store.files().check_room(UINT64_MAX); }) == StoreError::Kind::kNoRoom);
  store.files().set_spare_bytes(UINT64_MAX);
  CHECK(kind_of([&] { store.files().check_room(1); }) == StoreError::Kind::kNoRoom);
}

TEST_CASE("ModelStore_ABlobThatAPowerFailureMayHaveTornIsReadOnceBeforeItIsLoaded", "[T-74][T-79]") {
  olx::tests::TempDir temp;
  const std::string bytes = tiny_gguf(temp, 1);
  const Digest digest = sha256_of(bytes);
  {
    ModelStore store(temp.path() / "models");
    create(store, from_file("m", upload(store, bytes)));
  }
  const std::filesystem::path path = temp.path() / "models/blobs" / digest.file_name();
  namespace fs = std::filesystem;
  // As Ollama writes one: open to writing, never synced; torn: with something else where its end was to be.
  const auto written_by_ollama = [&](bool is_torn) {
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << (is_torn ? bytes.substr(0, bytes.size() - 9) + std::string(9, 'x') : bytes);
    fs::permissions(path, fs::perms(0644));
  };
  const auto is_read = [&](ModelStore& store) {  // throws when it is torn
    store.check_torn(store.find(name("m")).value(), [] {});
    return (fs::status(path).permissions() & fs::perms::owner_write) == fs::perms::none;
  };
  const auto after_boot = [&](const char* boot, auto f) {
    ModelStore store(temp.path() / "models");
    store.files().begin(boot);
    f(store);
  };
  after_boot("first", [&](ModelStore& store) { CHECK_FALSE(store.files().may_be_torn(digest)); });  // this program's own
  written_by_ollama(true);
  after_boot("first", [&](ModelStore& store) {
    CHECK(kind_of([&] { is_read(store); }) == StoreError::Kind::kDamaged);
    store.files().end("first");  // not a clean bill for what was never whole
  });
  after_boot("first", [&](ModelStore& store) { CHECK(kind_of([&] { is_read(store); }) == StoreError::Kind::kDamaged); });
  written_by_ollama(false);
  after_boot("first", [&](ModelStore& store) {
    CHECK(is_read(store));
    CHECK_FALSE(store.files().may_be_torn(digest));
  });
  // Written in the sight of this program, which stopped cleanly: on disk, however the machine ends.
  written_by_ollama(false);
  ModelStore(temp.path() / "models").files().end("first");
  after_boot("second", [&](ModelStore& store) { CHECK_FALSE(is_read(store)); });
  // Written after that, and the machine went down.
  written_by_ollama(false);
  after_boot("first", [&](ModelStore& store) { CHECK_FALSE(is_read(store)); });  // it did not
  after_boot("second", [&](ModelStore& store) { CHECK(store.files().may_be_torn(digest)); });
  after_boot("", [&](ModelStore& store) { CHECK(is_read(store)); });
  CHECK(Store::this_boot() == Store::this_boot());
}

TEST_CASE("ModelStore_ATornBlobIsReadWhateverTheClockSaid", "[T-83]") {
  namespace fs = std::filesystem;
  olx::tests::TempDir temp;
  const std::string bytes = tiny_gguf(temp, 1);
  ModelStore store(temp.path() / "models");
  create(store, from_file("m", upload(store, bytes)));
  const Digest digest = sha256_of(bytes);
  const fs::path path = store.blob_path(digest);
  fs::permissions(path, fs::perms(0644));
  store.files().end("first");
  store.files().begin("second");
  CHECK_FALSE(store.files().may_be_torn(digest));
  // Another program writes it anew while the clock is years behind, or ahead of, what it was at the stop; then the power fails.
  for (const int hours : {-9000, -1, 1, 9000}) {
    std::ofstream(path, std::ios::binary) << std::string(bytes.size(), 'x');
    fs::last_write_time(path, fs::file_time_type::clock::now() + std::chrono::hours(hours));
    store.files().begin("second");
    CHECK(store.files().may_be_torn(digest));
    CHECK(kind_of([&] { store.check_torn(store.find(name("m")).value(), [] {}); }) == StoreError::Kind::kDamaged);
  }
}

TEST_CASE("ModelStore_ABlobThatIsNotWhatItsNameSaysMakesNoModel", "[T-79]") {
  namespace fs = std::filesystem;
  olx::tests::TempDir temp;
  ModelStore store(temp.path() / "models");
  const std::string bytes = tiny_gguf(temp, 1);
  const Digest digest = sha256_of(bytes);
  std::string flipped = bytes;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  std::ofstream(store.blob_path(digest), std::ios::binary) << flipped;  // of another program: open to writing
  CHECK(kind_of([&] { create(store, from_file("m", digest)); }) == StoreError::Kind::kDamaged);
  CHECK(store.list().empty());
  std::ofstream(store.blob_path(digest), std::ios::binary) << bytes;
  create(store, from_file("m", digest));
  CHECK((fs::status(store.blob_path(digest)).permissions() & fs::perms::owner_write) == fs::perms::none);
}

TEST_CASE("ModelStore_AnAbortedCreateChangesNothing") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  CreateRequest request = from_file("m", upload(store, tiny_gguf(temp, 1)));
  request.system = "one";
  create(store, request);
  for (const std::string_view stop_at : {"parsing GGUF", "using existing", "creating new", "writing manifest"}) {
    request.system = "two, until " + std::string(stop_at);
    CHECK_THROWS_AS(store.create(request, [&](const std::string& line) {
      if (line.starts_with(stop_at)) throw std::runtime_error("the client is gone");
    }), std::runtime_error);
    CHECK(store.contents(name("m")).system == "one");
  }
  create(store, request);
  CHECK(store.contents(name("m")).system == request.system);
}

TEST_CASE("ModelStore_AFilesNameDoesNotReplaceAnotherModel") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path() / "models");
  const Digest first = upload(store, tiny_gguf(temp, 1)), second = upload(store, tiny_gguf(temp, 2));
  const auto of_file = [&](const Digest& weights) {
    CreateRequest request = from_file("Tiny", weights);  // the file is tiny.gguf
    request.is_named_after_file = true;
    return request;
  };
  const auto weights_of = [&] { return store.find(name("tiny"))->manifest.find(media_type::kModel)->digest; };
  create(store, from_file("first", first));  // so that no blob goes
  create(store, from_file("second", second));
  create(store, of_file(first));
  create(store, of_file(second));  // another version of the file
  CHECK(weights_of() == second);

  SECTION("one with a text of its own") {
    CreateRequest request = from_file("tiny", first);
    request.system = "You are terse.";
    create(store, request);
  }
  SECTION("one of another file") {
    CreateRequest request = from_file("tiny", first);
    request.files[0].first = "other.gguf";
    create(store, request);
  }
  SECTION("one made of a model") {
    create(store, from_file("base", first));
    CreateRequest request{.name = name("tiny"), .from = name("base")};
    create(store, request);
  }
  SECTION("one of a registry") {
    Manifest manifest = store.find(name("tiny"))->manifest;
    for (Layer& layer : manifest.layers) layer.from.clear(), layer.digest = first, layer.size_bytes = store.files().blob_size(first);
    store.files().write_manifest(name("tiny"), manifest);
  }
  REQUIRE(weights_of() == first);
  const Digest before = store.find(name("tiny"))->digest;
  try {
    create(store, of_file(second));
    FAIL("it was replaced");
  } catch (const StoreError& error) {
    CHECK(error.kind() == StoreError::Kind::kTaken);
    CHECK(std::string_view(error.what()).find("a model 'Tiny:latest' is already there") != std::string_view::npos);
  }
  CHECK(store.find(name("tiny"))->digest == before);
  create(store, from_file("tiny", second));  // a name that somebody chose
  CHECK(weights_of() == second);
}

TEST_CASE("ModelStore_CopiesAndRemoves") {
  olx::tests::TempDir temp;
  ModelStore store(temp.path());
  create(store, from_file("a", upload(store, tiny_gguf(temp, 1))));
  store.copy(name("a"), name("example.com/ns/b:v1"));
  store.copy(name("A"), name("a"));
  CHECK(store.find(name("example.com/ns/b:v1"))->digest == store.find(name("a"))->digest);
  CHECK(store.list().size() == 2);
  CHECK(kind_of([&] { store.copy(name("absent"), name("x")); }) == StoreError::Kind::kNotFound);
  CHECK(kind_of([&] { store.remove(name("absent")); }) == StoreError::Kind::kNotFound);
  CHECK(kind_of([&] { store.contents(name("absent")); }) == StoreError::Kind::kNotFound);
  // A new tag goes into the folder that is there, whatever the case of its name.
  store.copy(name("a"), name("EXAMPLE.com/NS/B:v2"));
  CHECK(fs::exists(temp.path() / "manifests/example.com/ns/b/v2"));
}

TEST_CASE("ModelStore_DescribesRealModels") {
  struct Row {
    const char *file, *family, *parameter_size, *file_type;
  };
  for (const Row& row : {Row{"SmolLM2-135M-Instruct.Q4_1.gguf", "llama", "134.52M", "Q4_1"},
                         Row{"gemma-3-270m-q4_k_m.gguf", "gemma3", "268.10M", "Q4_K_M"}}) {
    const fs::path path = olx::tests::models_dir() / row.file;
    if (!olx::tests::have(path)) continue;
    olx::tests::TempDir temp;
    ModelStore store(temp.path());
    const std::string bytes = read_file(path.string());
    create(store, from_file("real", upload(store, bytes)));
    const InstalledModel model = *store.find(name("real"));
    CHECK(model.details.family == row.family);
    CHECK(model.details.parameter_size == row.parameter_size);
    CHECK(model.details.quantization_level == row.file_type);
    CHECK(model.size_bytes > bytes.size());
  }
}

TEST_CASE("ModelStore_LeavesReplacedBlobsWhenToldTo") {
  olx::tests::TempDir temp;
  for (const bool drops : {false, true}) {
    ModelStore store(temp.path(), drops);
    CreateRequest request = from_file("m", upload(store, tiny_gguf(temp, 1)));
    request.system = "old";
    create(store, request);
    request.system = "new";
    create(store, request);
    CHECK(store.has_blob(sha256_of("old")) != drops);
  }
}
