#include "server/ops/request_log.h"

#include "tests/support/catch.h"

using namespace olx::server;

namespace {

HttpRequest request_of(std::string method, std::string path) {
  HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.body = "my secret prompt";
  request.id = "0123";
  return request;
}

}  // namespace

TEST_CASE("RequestLog_IsOneLineOfFields", "[T-101]") {
  const HttpRequest request = request_of("POST", "/api/chat");
  CHECK(log_line({request, "/api/chat", 200, 0.0123}, "T") ==
        "time=T level=INFO msg=request method=\"POST\" path=\"/api/chat\" status=200 ms=12.3 id=0123");
  CHECK(log_line({request, "/api/chat", 500, 1}, "T").find("level=ERROR") != std::string::npos);
}

// A client's bytes cannot forge a line or a field.
TEST_CASE("RequestLog_QuotesWhatAClientSent") {
  const HttpRequest request = request_of("GET", "/a\" status=200\r\n\x1b[2J\\");
  const std::string line = log_line({request, "", 404, 0}, "T");
  CHECK(line.find("path=\"/a\\\" status=200\\x0d\\x0a\\x1b[2J\\\\\" status=404") != std::string::npos);
  const HttpRequest long_request = request_of("GET", std::string(300, 'a'));
  CHECK(log_line({long_request, "", 404, 0}, "T").find("path=\"" + std::string(256, 'a') + "...\"") != std::string::npos);
}
