#include "server/registry/file_pull.h"

#include <algorithm>
#include <boost/json.hpp>
#include <list>
#include <map>

#include "gguf/ascii.h"
#include "gguf/split.h"
#include "server/json/json.h"

namespace olx::server {
namespace {

namespace json = boost::json;
using Kind = NetworkError::Kind;
constexpr int kTries = 3;
constexpr size_t kMaxListingBytes = 8 << 20;
constexpr std::string_view kDefaultQuantization = "q4_k_m";  // what the tag "latest" means on Hugging Face, where there is one

std::string_view path_of(const Url& url) { return std::string_view(url.target).substr(0, url.target.find('?')); }
std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// A blob that the models are made of, and the name of the file it was.
struct WantedFile {
  std::string name;
  Downloads::Source source;
};

template <class F>
auto with_retries(Registry& registry, HttpClient& client, F f) {
  for (int n_failed = 1;; ++n_failed) {
    try {
      return f();
    } catch (const NetworkError& error) {
      if (error.kind() != Kind::kRetry || n_failed >= kTries) throw;
      registry.back_off(client, n_failed);
    }
  }
}

// `"<64 hex>"`, as an ETag.
std::optional<Digest> digest_of_etag(const std::string* etag) {
  if (etag == nullptr || etag->size() != 66 || etag->front() != '"' || etag->back() != '"') return std::nullopt;
  return Digest::parse("sha256:" + etag->substr(1, 64));
}

// How long the file is and what tells its versions apart. One byte of it is asked for: servers behind redirects often answer
// no HEAD.
WantedFile look_at(const std::shared_ptr<Registry>& registry, HttpClient& client, const std::string& target) {
  return with_retries(*registry, client, [&] {
    const HttpReply reply = registry->send(client, "GET", target, {{"Range", "bytes=0-0"}});
    client.close();
    std::optional<uint64_t> size_bytes = reply.content_length;
    if (reply.status == 206) {
      const std::string* text = reply.header("Content-Range");
      const auto range = text == nullptr ? std::nullopt : parse_content_range(*text);
      size_bytes = range ? range->total : std::nullopt;
    } else if (reply.status != 200) {
      throw NetworkError(Kind::kFatal, "unexpected status code " + std::to_string(reply.status), reply.status);
    }
    if (!size_bytes || *size_bytes == 0) throw NetworkError(Kind::kFatal, "the server does not say how long the file is");
    WantedFile file{std::string(last_part(target.substr(0, target.find('?')))), {.registry = registry, .layer = Layer{std::string(media_type::kModel), sha256_of(""), *size_bytes, {}}, .target = target}};
    const std::string* etag = reply.header("ETag");
    if (const auto digest = digest_of_etag(reply.header("X-Linked-ETag"))) {
      file.source.layer.digest = *digest;
      return file;
    }
    file.source.is_digest_known = false;
    const bool is_strong = etag != nullptr && etag->starts_with('"');
    if (is_strong) file.source.if_range = *etag;
    // Without an ETag nothing tells whether what is there already is of the same file: such a download begins anew.
    const std::string version = is_strong ? *etag : unique_name("");
    file.source.layer.digest = sha256_of(registry->base().origin() + target + "\n" + version + "\n" + std::to_string(*size_bytes));
    return file;
  });
}

void fetch_and_create(ModelStore& models, Downloads& downloads, const ModelName& name, bool is_named_after_file, const std::vector<WantedFile>& files,
                      const TransferClient& client) {
  Store& store = models.files();
  uint64_t needed = 0;
  std::vector<Digest> digests;
  for (const WantedFile& file : files) {
    digests.push_back(file.source.layer.digest);
    if (store.has_blob(file.source.layer.digest) || is_plain_file(store.part_path(file.source.layer.digest))) continue;
    if (__builtin_add_overflow(needed, file.source.layer.size_bytes, &needed)) needed = UINT64_MAX;
  }
  if (files.size() > 1 && __builtin_mul_overflow(needed, 2, &needed)) needed = UINT64_MAX;  // the merged one lies beside its parts for a while
  store.check_room(needed);
  CreateRequest request{.name = name, .is_named_after_file = is_named_after_file};
  std::vector<Digest> fetched;
  std::optional<Lease> lease = store.lease(digests);
  std::list<Downloads::Ticket> tickets;
  for (const WantedFile& file : files) {
    const Layer& layer = file.source.layer;
    Downloads::Ticket& ticket = tickets.emplace_back(downloads.fetch(file.source));
    TransferProgress progress{"pulling " + layer.digest.hex().substr(0, 12), layer.digest.text(), layer.size_bytes, 0};
    while (!ticket.wait_fetched(kProgressMs)) {
      progress.completed_bytes = ticket.completed_bytes();
      client.on_progress(progress);
    }
    progress.completed_bytes = layer.size_bytes;
    client.on_progress(progress);
  }
  client.on_progress({"verifying sha256 digest"});
  auto file = files.begin();
  for (Downloads::Ticket& ticket : tickets) {
    while (!ticket.wait_published(kProgressMs))
      if (client.is_gone()) throw NetworkError(Kind::kCancelled, "request canceled");
    fetched.push_back(ticket.digest());
    request.files.emplace_back((file++)->name, fetched.back().text());
  }
  lease.reset();  // create() has the store; what it throws must not leave gigabytes that nobody knows of
  try {
    models.create(request, [&](const std::string& status) {
      if (client.is_gone()) throw NetworkError(Kind::kCancelled, "request canceled");
      client.on_progress({status});
    });
  } catch (const std::exception&) {
    store.drop_unused(fetched);
    throw;
  }
}

}  // namespace

std::optional<Url> parse_file_url(std::string_view text) {
  const auto url = parse_url(text);
  if (!url || !path_of(*url).ends_with(".gguf")) return std::nullopt;
  return url;
}

void pull_file(ModelStore& models, Downloads& downloads, const ModelName& name, const Url& url, const RegistryOptions& options,
               const TransferClient& client) {
  models.check_not_taken(name);  // create() asks again; here it is known before gigabytes have come
  const auto registry = std::make_shared<Registry>(url, options);
  client.on_progress({"pulling manifest"});
  HttpClient http(registry->http_options(client.is_gone));
  std::vector<std::string> targets{url.target};
  const std::string path(path_of(url)), query = url.target.substr(path.size());
  if (const auto split = gguf::parse_split_name(path)) {
    targets.clear();
    for (uint64_t number = 1; number <= split->n_parts; ++number) targets.push_back(split->file_name(number) + query);
  }
  std::vector<WantedFile> files;
  for (const std::string& target : targets) files.push_back(look_at(registry, http, target));
  fetch_and_create(models, downloads, name, true, files, client);
}

std::vector<ListedFile> split_files_for_tag(std::string_view listing, std::string_view tag) {
  std::map<std::string, std::map<uint64_t, ListedFile>> groups;  // by "stem-of-n"
  std::map<std::string, gguf::SplitName> names;
  const json::value value = parse_json(listing);
  if (!value.is_array()) throw gguf::FormatError("the list of the repository's files is none");
  for (const json::value& entry : value.get_array()) {
    if (!entry.is_object()) continue;
    const Fields fields(entry.get_object(), "File");
    const std::string path = fields.text("path").value_or("");
    const auto split = gguf::parse_split_name(path);
    const json::object* lfs = fields.object("lfs");
    if (!split || lfs == nullptr) continue;
    const Fields linked(*lfs, "File");
    const auto digest = Digest::parse("sha256:" + linked.text("oid").value_or(""));
    const json::value* size = lfs->if_contains("size");
    if (!digest || size == nullptr || !size->is_int64() || size->get_int64() <= 0) continue;
    const std::string key = split->file_name(1);
    names.emplace(key, *split);
    groups[key].emplace(split->number, ListedFile{path, *digest, static_cast<uint64_t>(size->get_int64())});
  }
  const std::string wanted = ascii::lower(tag == "latest" ? kDefaultQuantization : tag);
  // "model-Q4_K_M", "model.Q4_K_M", "Q4_K_M/model": the tag as a word of its own. "Q4_K" is not "Q4_K_M".
  const auto is_meant = [&](const std::string& stem) {
    const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
    for (size_t at = stem.find(wanted); at != std::string::npos; at = stem.find(wanted, at + 1)) {
      const size_t end = at + wanted.size();
      if ((at == 0 || !is_word(stem[at - 1])) && (end == stem.size() || !is_word(stem[end]))) return true;
    }
    return false;
  };
  auto found = std::find_if(names.begin(), names.end(), [&](const auto& name) { return is_meant(ascii::lower(name.second.stem)); });
  if (found == names.end() && tag == "latest") found = names.begin();
  if (found == names.end()) throw gguf::FormatError("the repository has no split model '" + std::string(tag) + "'");
  std::vector<ListedFile> files;
  for (uint64_t number = 1; number <= found->second.n_parts; ++number) {
    const auto file = groups[found->first].find(number);
    if (file == groups[found->first].end()) throw gguf::FormatError("the repository lacks " + found->second.file_name(number));
    files.push_back(file->second);
  }
  return files;
}

void pull_split_files(ModelStore& models, Downloads& downloads, const ModelName& name, bool is_insecure, const RegistryOptions& options,
                      const TransferClient& client) {
  // The short host gives models only; files are on the long one.
  const std::string host = ascii::lower(name.host()) == "hf.co" ? "huggingface.co" : name.host();
  const auto at = ModelName::parse(host + "/" + name.name_space() + "/" + name.model());
  if (!at) throw NetworkError(Kind::kFatal, "'" + name.host() + "' is not the host of a registry");
  const auto registry = std::make_shared<Registry>(*at, is_insecure, options);
  HttpClient http(registry->http_options(client.is_gone));
  const std::string listing = with_retries(*registry, http, [&] {
    registry->send(http, "GET", "/api/models/" + registry->repository() + "/tree/main?recursive=true");
    return http.read_all(kMaxListingBytes);
  });
  std::vector<WantedFile> files;
  for (const ListedFile& file : split_files_for_tag(listing, name.tag())) {
    std::string target = "/" + registry->repository() + "/resolve/main";
    for (std::string_view rest = file.path; !rest.empty();) {
      const size_t slash = std::min(rest.find('/'), rest.size());
      target += "/" + percent_encoded(rest.substr(0, slash));
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    files.push_back({std::string(last_part(file.path)),
                     {.registry = registry, .layer = Layer{std::string(media_type::kModel), file.digest, file.size_bytes, {}}, .target = target}});
  }
  fetch_and_create(models, downloads, name, false, files, client);
}

}  // namespace olx::server
