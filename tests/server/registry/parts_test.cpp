// The pieces of the registry client that read what others wrote: journals, challenges, Content-Range, keys.
#include <sys/stat.h>

#include <fstream>

#include "server/registry/auth.h"
#include "server/registry/client.h"
#include "server/registry/download.h"
#include "server/registry/journal.h"
#include "server/store/digest.h"
#include "tests/support/catch.h"
#include "tests/support/test_paths.h"

using namespace olx::server;

TEST_CASE("Journal_ReplaysWhatWasWritten") {
  const std::vector<JournalRecord> records = {{0, 100, 1}, {500, 100, 2}, {100, 50, 3}};
  std::string text;
  for (const JournalRecord& record : records) text += encode_record(record);
  REQUIRE(text.size() == 3 * kJournalRecordBytes);
  CHECK(replay_journal(text, 1000) == records);
  CHECK(missing_ranges(records, 1000) == std::vector<ByteRange>{{150, 500}, {600, 1000}});
  CHECK(missing_ranges({}, 10) == std::vector<ByteRange>{{0, 10}});
  CHECK(missing_ranges({{0, 10, 0}, {2, 3, 0}}, 10).empty());
  CHECK(missing_ranges({}, 0).empty());
}

TEST_CASE("Journal_DropsATornTailAtEveryLength_T73") {
  const std::string text = encode_record({0, 100, 1}) + encode_record({100, 100, 2});
  for (size_t size = 0; size <= text.size(); ++size) CHECK(replay_journal(text.substr(0, size), 1000).size() == size / kJournalRecordBytes);
}

TEST_CASE("Journal_DropsARecordWithAnyBitChanged") {
  const std::string text = encode_record({4096, 100, 0x12345678});
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    CHECK(replay_journal(damaged, 1 << 20).empty());
  }
}

TEST_CASE("Journal_KeepsToTheFile_T65") {
  CHECK(replay_journal(encode_record({900, 100, 0}), 1000).size() == 1);
  CHECK(replay_journal(encode_record({901, 100, 0}), 1000).empty());
  CHECK(replay_journal(encode_record({0, 0, 0}), 1000).empty());
  CHECK(replay_journal(encode_record({UINT64_MAX, 2, 0}), 1000).empty());
  CHECK(replay_journal(encode_record({2, UINT64_MAX, 0}), 1000).empty());
}

TEST_CASE("Journal_HoldsItsRecordsAgainstThePartFile") {
  const olx::tests::TempDir temp;
  File part = File::open_for_update(temp.file("part"), 0644);
  part.write_at("hello world", 0);
  {
    Journal journal(temp.file("journal"), part, 11);
    journal.add({0, 5, checksum("hello")});
    journal.add({6, 5, checksum("world")});
  }
  CHECK(Journal(temp.file("journal"), part, 11).records().size() == 2);
  part.write_at("J", 0);
  const Journal journal(temp.file("journal"), part, 11);
  REQUIRE(journal.records().size() == 1);
  CHECK(journal.records()[0].offset == 6);
}

TEST_CASE("Challenge_IsReadInAnyOrder") {
  const auto challenge = parse_challenge(R"(Bearer scope="a:b:pull,push c:d:pull", service=x, Realm="https://r/token")");
  REQUIRE(challenge);
  CHECK(challenge->realm == "https://r/token");
  CHECK(challenge->service == "x");
  CHECK(challenge->scope == "a:b:pull,push c:d:pull");
  CHECK_FALSE(parse_challenge("Basic realm=\"x\""));
  CHECK_FALSE(parse_challenge("Bearer "));
  CHECK_FALSE(parse_challenge("Bearer realm=\"open"));
  CHECK_FALSE(parse_challenge("Bearer realm="));
}

TEST_CASE("TokenUrl_BelongsToTheRegistry_T62") {
  const Url registry = *parse_url("https://r.example:5000/");
  const auto url = [&](const char* realm) { return token_url({realm, "s v", "a:b:pull c"}, registry, "n", 7).text(); };
  CHECK(url("https://r.example:5000/token") == "https://r.example:5000/token?nonce=n&scope=a%3Ab%3Apull&scope=c&service=s%20v&ts=7");
  CHECK(url("https://R.example:5000/token?x=1") == "https://r.example:5000/token?x=1&nonce=n&scope=a%3Ab%3Apull&scope=c&service=s%20v&ts=7");
  for (const char* realm : {"http://r.example:5000/token", "https://r.example/token", "https://r.example:5001/token", "https://evil.example:5000/token",
                            "https://r.example:5000@evil.example/token", "https://r.example.evil.example:5000/", "/token", "token", "", "//r.example:5000/"})
    CHECK_THROWS_AS(url(realm), NetworkError);
}

TEST_CASE("ContentRange_IsReadStrictly_T66") {
  const auto range = parse_content_range("bytes 2-5/10");
  REQUIRE(range);
  CHECK((range->first == 2 && range->last == 5 && range->total == 10u));
  CHECK(parse_content_range("bytes 2-5/*"));
  for (const char* bad : {"", "bytes", "bytes 2-5", "bytes 5-2/10", "bytes 2-10/10", "bytes 2-5/10 ", "bytes -5/10", "bytes 2-/10", "bytes */10", "2-5/10",
                          "bytes 2-5/99999999999999999999", "bytes 2-5/x"})
    CHECK_FALSE(parse_content_range(bad));
}

TEST_CASE("IdentityKey_IsMadeOnceAndPrivate_T72") {
  const olx::tests::TempDir temp;
  const std::filesystem::path folder = std::filesystem::path(temp.file("home")) / ".ollama";
  const std::string line = IdentityKey::load_or_create(folder).public_line();
  struct stat info {};
  REQUIRE(::stat((folder / "id_ed25519").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const IdentityKey again = IdentityKey::load_or_create(folder);
  CHECK(again.public_line() == line);
  CHECK(again.authorization("GET", "https://r/token") == again.authorization("GET", "https://r/token"));
  CHECK(again.authorization("GET", "https://r/token") != again.authorization("GET", "https://r/tokeN"));
  CHECK(random_nonce().size() == 22);
}

TEST_CASE("IdentityKey_RefusesFilesThatAreNoKey") {
  const olx::tests::TempDir temp;
  const std::filesystem::path path = temp.file("id_ed25519");
  IdentityKey::load_or_create(path.parent_path());
  std::string text = *read_small_file(path, 1 << 20);
  for (size_t size = 0; size + 40 < text.size(); size += 7) {
    std::ofstream(path) << text.substr(0, size);
    CHECK_THROWS(IdentityKey::load_or_create(path.parent_path()));
    std::ofstream(path) << text.substr(0, size) << "-----END OPENSSH PRIVATE KEY-----";
    if (size < text.size() - 60) CHECK_THROWS(IdentityKey::load_or_create(path.parent_path()));
  }
}

TEST_CASE("ShownText_IsOneLine") {
  CHECK(shown_text("a\r\nb\x1b[31m") == "a  b [31m");
  CHECK(shown_text(std::string(5000, 'x')).size() == 500);
}
