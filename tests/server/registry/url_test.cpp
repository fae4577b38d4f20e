// Addresses the registry client goes to: parsing, redirects, which networks a registry may point into, NO_PROXY.
#include "server/registry/url.h"

#include "server/registry/address.h"
#include "server/registry/http_client.h"
#include "server/registry/proxy.h"
#include "tests/support/catch.h"

using namespace olx::server;

TEST_CASE("Url_TakesAnAddressApart") {
  const auto url = parse_url("HTTPS://Example.ORG:8443/v2/a?b=c#d");
  REQUIRE(url);
  CHECK(url->text() == "https://example.org:8443/v2/a?b=c");
  CHECK(url->host == "example.org");
  CHECK(url->port == 8443);
  CHECK(parse_url("https://example.org:443")->text() == "https://example.org/");
  CHECK(parse_url("http://[::1]:5000/x")->host == "::1");
  CHECK(parse_url("http://[::1]:5000/x")->authority() == "[::1]:5000");
}

TEST_CASE("Url_RefusesWhatReadersDisagreeAbout_T62") {
  const char* bad = GENERATE("", "example.org", "ftp://example.org/", "https://", "https:///x", "https://a@b/", "https://a:b@c/", "https://a b/",
                             "https://a\\@b/", "https://a:0/", "https://a:65536/", "https://a:1x/", "https://a:-1/", "https://[::1/", "https://[::1]x/",
                             "https://a/\r\nX: y", "https://a/\x80", "https://a%2fb/", "https://::1/", "javascript://a/");
  CAPTURE(bad);
  CHECK_FALSE(parse_url(bad));
  CHECK(parse_url("https://a/" + std::string(kMaxUrlBytes - 10, 'x')));
  CHECK_FALSE(parse_url("https://a/" + std::string(kMaxUrlBytes - 9, 'x')));
}

TEST_CASE("Url_ResolvesALocation") {
  const Url base = *parse_url("https://r.example:5000/v2/a/blobs/uploads/?x=1");
  CHECK(resolve_url(base, "/v2/z")->text() == "https://r.example:5000/v2/z");
  CHECK(resolve_url(base, "//other/z")->text() == "https://other/z");
  CHECK(resolve_url(base, "http://other/z?https://q")->text() == "http://other/z?https://q");
  CHECK(resolve_url(base, "77?y=2")->text() == "https://r.example:5000/v2/a/blobs/uploads/77?y=2");
  CHECK(resolve_url(base, "?y=2")->text() == "https://r.example:5000/v2/a/blobs/uploads/?y=2");
  CHECK(resolve_url(base, "z?u=https://q")->text() == "https://r.example:5000/v2/a/blobs/uploads/z?u=https://q");
  CHECK_FALSE(resolve_url(base, ""));
  CHECK_FALSE(resolve_url(base, "data:text"));
  CHECK_FALSE(resolve_url(base, "file:///etc/passwd"));
}

TEST_CASE("Address_KnowsWhereItLies_T60") {
  using K = AddressKind;
  const auto [text, kind] = GENERATE(table<const char*, K>(
      {{"8.8.8.8", K::kPublic}, {"2606:4700::1", K::kPublic}, {"10.0.0.5", K::kPrivate}, {"172.16.0.1", K::kPrivate}, {"172.32.0.1", K::kPublic},
       {"192.168.1.1", K::kPrivate}, {"100.64.0.1", K::kPrivate}, {"fd00::1", K::kPrivate}, {"127.0.0.1", K::kLoopback}, {"127.9.9.9", K::kLoopback},
       {"::1", K::kLoopback}, {"::ffff:127.0.0.1", K::kLoopback}, {"::ffff:7f00:1", K::kLoopback}, {"64:ff9b::7f00:1", K::kLoopback},
       {"2002:7f00:1::", K::kLoopback}, {"::127.0.0.1", K::kLoopback}, {"169.254.169.254", K::kForbidden}, {"::ffff:169.254.169.254", K::kForbidden},
       {"fe80::1", K::kForbidden}, {"0.0.0.0", K::kForbidden}, {"::", K::kForbidden}, {"224.0.0.1", K::kForbidden}, {"255.255.255.255", K::kForbidden},
       {"ff02::1", K::kForbidden}, {"", K::kForbidden}, {"2130706433", K::kForbidden}, {"127.1", K::kForbidden}}));
  CAPTURE(text);
  CHECK(address_kind(text) == kind);
}

TEST_CASE("Address_ARegistryLeadsOnlyToTheInternetOrItsOwnKindOfNetwork_T60") {
  using K = AddressKind;
  CHECK(may_lead_to(K::kPublic, K::kPublic));
  CHECK(may_lead_to(K::kPublic, K::kLoopback));
  CHECK(may_lead_to(K::kLoopback, K::kLoopback));
  CHECK(may_lead_to(K::kPrivate, K::kPrivate));
  CHECK_FALSE(may_lead_to(K::kLoopback, K::kPublic));
  CHECK_FALSE(may_lead_to(K::kPrivate, K::kPublic));
  CHECK_FALSE(may_lead_to(K::kPrivate, K::kLoopback));
  CHECK_FALSE(may_lead_to(K::kLoopback, K::kPrivate));
  for (const K from : {K::kPublic, K::kPrivate, K::kLoopback, K::kForbidden}) CHECK_FALSE(may_lead_to(K::kForbidden, from));
}

TEST_CASE("Proxy_NoProxyNamesHostsSuffixesAndPorts") {
  const Url url = *parse_url("https://a.example.org/");
  CHECK(is_in_no_proxy("*", url));
  CHECK(is_in_no_proxy("b, example.org", url));
  CHECK(is_in_no_proxy(".example.org", url));
  CHECK(is_in_no_proxy("a.example.org:443", url));
  CHECK_FALSE(is_in_no_proxy("a.example.org:80", url));
  CHECK_FALSE(is_in_no_proxy("xample.org,.a.example.org,", url));
  CHECK(is_in_no_proxy("*.Example.ORG", url));
  CHECK(is_in_no_proxy("A.EXAMPLE.org", url));
  CHECK_FALSE(is_in_no_proxy("*.a.example.org", url));
  CHECK_FALSE(is_in_no_proxy(":443,[],10.0.0.0/8,/,::/0", url));
  CHECK(base64("ab") == "YWI=");
}

TEST_CASE("Proxy_NoProxyNamesAddressesAndBlocks") {
  const Url v4 = *parse_url("http://10.1.2.3:5000/"), v6 = *parse_url("http://[fd00:0::2]:5000/");
  CHECK(is_in_no_proxy("192.168.0.0/16, 10.0.0.0/8", v4));
  CHECK(is_in_no_proxy("10.1.2.3/32", v4));
  CHECK(is_in_no_proxy("0.0.0.0/0", v4));
  CHECK(is_in_no_proxy("10.1.2.3:5000", v4));
  CHECK_FALSE(is_in_no_proxy("10.1.2.3:80", v4));
  CHECK_FALSE(is_in_no_proxy("10.1.2.2/32,10.0.0.0/33,10.0.0.0/,10.0.0.0/x,10.0.0/8,::/0", v4));
  CHECK(is_in_no_proxy("fd00::/8", v6));
  CHECK(is_in_no_proxy("FD00::0002", v6));
  CHECK(is_in_no_proxy("[fd00::2]", v6));
  CHECK(is_in_no_proxy("[fd00::2]:5000", v6));
  CHECK_FALSE(is_in_no_proxy("[fd00::2]:80,fd00::3,fe80::/10,0.0.0.0/0", v6));
}

TEST_CASE("HttpClient_ChecksTheAddressItConnectsTo_T60") {
  // A name that resolves to a public address at first and to this machine later: it is looked up once, and every address counts.
  int n_lookups = 0;
  std::vector<std::string> answer;
  HttpClientOptions options;
  options.resolve = [&](const std::string&) { return ++n_lookups, answer; };
  const auto refusal = [&](std::vector<std::string> addresses, std::optional<AddressKind> led_by, const char* url = "http://flip.example/") {
    answer = std::move(addresses);
    HttpClient client(options);
    HttpCall call{"GET", *parse_url(url), {}, nullptr, led_by};
    try {
      client.call(call);
    } catch (const NetworkError& error) {
      return error.kind() == NetworkError::Kind::kFatal ? std::string(error.what()) : "";
    }
    return std::string();
  };
  CHECK(refusal({"127.0.0.1"}, AddressKind::kPublic).find("must not be reached") != std::string::npos);
  CHECK(refusal({"8.8.8.8", "127.0.0.1"}, AddressKind::kPublic).find("must not be reached") != std::string::npos);
  CHECK(refusal({"8.8.8.8", "::ffff:10.0.0.1"}, AddressKind::kPublic).find("must not be reached") != std::string::npos);
  CHECK(n_lookups == 3);
  CHECK(refusal({}, AddressKind::kPublic, "http://127.0.0.1:1/").find("must not be reached") != std::string::npos);
  CHECK(refusal({}, AddressKind::kPublic, "http://[::ffff:127.0.0.1]:1/").find("must not be reached") != std::string::npos);
  CHECK(n_lookups == 3);
  CHECK(refusal({"169.254.169.254"}, std::nullopt).find("no host's") != std::string::npos);
}
