// GET / and GET /web/…: the page to chat with, files of server/web/ that are part of the program. A
// program that asks for / still gets Ollama's line.
#include <array>

#include "server/api/app.h"
#include "server/api/embedded.h"
#include "server/http/negotiation.h"
#include "server/store/digest.h"

namespace olx::server {
namespace {

constexpr std::string_view kHtml = "text/html; charset=utf-8", kCss = "text/css; charset=utf-8",
                           kScript = "text/javascript; charset=utf-8", kSvg = "image/svg+xml";

// Nothing but the page's own files is ever loaded, and no text can become markup: a model's words
// are the attacker here.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
    "'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types "
    "'none'";

struct WebFile {
  std::string_view name, type, bytes;
  std::string etag;
};

// Made at the first request: the bytes are constants of another translation unit.
const auto& web_files() {
  const auto file = [](std::string_view name, std::string_view type, std::string_view bytes) {
    return WebFile{name, type, bytes, '"' + sha256_of(bytes).hex().substr(0, 32) + '"'};
  };
  static const std::array files = {
      file("index.html", kHtml, k_index_html),   file("style.css", kCss, k_style_css),
      file("icon.svg", kSvg, k_icon_svg),        file("api.js", kScript, k_api_js),
      file("app.js", kScript, k_app_js),         file("chat.js", kScript, k_chat_js),
      file("dom.js", kScript, k_dom_js),         file("markdown.js", kScript, k_markdown_js),
      file("message.js", kScript, k_message_js), file("settings.js", kScript, k_settings_js),
      file("storage.js", kScript, k_storage_js), file("theme.js", kScript, k_theme_js),
  };
  return files;
}

// A browser asks each time whether its copy is still the program's: an update never mixes files of
// two versions.
void send_file(Exchange& exchange, const WebFile& file) {
  exchange.add_header("ETag", file.etag);
  exchange.add_header("Cache-Control", "no-cache");
  exchange.add_header("Content-Security-Policy", kPolicy);
  exchange.add_header("X-Content-Type-Options", "nosniff");
  exchange.add_header("Referrer-Policy", "no-referrer");
  exchange.add_header("Cross-Origin-Resource-Policy", "same-origin");
  if (has_etag(exchange.request().if_none_match, file.etag)) return exchange.send(304, "", "");
  exchange.send(200, file.type, file.bytes);
}

}  // namespace

void handle_root(App&, Exchange& exchange) {
  exchange.add_header("Vary", "Accept");
  if (prefers_html(exchange.request().accept)) return send_file(exchange, web_files()[0]);
  exchange.send(200, "text/plain; charset=utf-8", "Ollama is running");
}

void handle_web(App&, Exchange& exchange) {
  const std::string_view name =
      std::string_view(exchange.request().path).substr(std::string_view("/web/").size());
  for (const WebFile& file : web_files())
    if (file.name == name && file.type != kHtml)
      return send_file(exchange, file);  // the page lives at / alone
  exchange.send(404, "text/plain; charset=utf-8", "404 page not found");
}

}  // namespace olx::server
