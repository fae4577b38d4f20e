#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cli/format.h"
#include "server/wire.h"

namespace olx::cli {
namespace {

constexpr int64_t kRedrawMs = 80;
constexpr int kRightMargin = 5;  // as Ollama leaves it

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

size_t character_bytes(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const size_t n = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return std::min(n, text.size() - at);
}

}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

int terminal_columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

ProgressLine::ProgressLine() : is_terminal_(is_terminal(STDERR_FILENO)), started_ms_(now_ms()) {}
ProgressLine::~ProgressLine() { finish(false); }

void ProgressLine::update(std::string_view status, int64_t completed_bytes, int64_t total_bytes) {
  const bool is_new = status != status_;
  if (is_new && is_terminal_ && is_drawn_) finish(true);
  if (is_new) {
    status_ = status;
    started_ms_ = now_ms();
    started_bytes_ = completed_bytes;  // a download that goes on did not just fetch what is there
    if (!is_terminal_) std::fprintf(stderr, "%s\n", status_.c_str());
  }
  completed_bytes_ = completed_bytes;
  total_bytes_ = total_bytes;
  if (is_terminal_ && (is_new || now_ms() - drawn_ms_ >= kRedrawMs)) draw();
}

void ProgressLine::draw() {
  static const char* const kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
  std::string line;
  if (total_bytes_ > 0) {
    const double fraction = std::clamp(static_cast<double>(completed_bytes_) / static_cast<double>(total_bytes_), 0.0, 1.0);
    const int64_t elapsed_ms = std::max<int64_t>(1, now_ms() - started_ms_);
    const int64_t rate = (completed_bytes_ - started_bytes_) * 1000 / elapsed_ms;
    char percent[16];
    std::snprintf(percent, sizeof percent, ": %3d%% ", static_cast<int>(fraction * 100));
    std::string right = " " + human_bytes(completed_bytes_) + "/" + human_bytes(total_bytes_);
    if (rate > 0 && fraction < 1)
      right += "  " + human_bytes(rate) + "/s  " + server::go_duration((total_bytes_ - completed_bytes_) / rate * 1'000'000'000);
    const int room = terminal_columns(STDERR_FILENO) - display_width(status_) - 8 - display_width(right) - 3;
    line = status_ + percent + "▕";
    for (int i = 0; i < std::max(room, 0); ++i) line += i < static_cast<int>(fraction * room) ? "█" : " ";
    line += "▏" + right;
  } else {
    line = status_ + " " + kFrames[frame_++ % 10];
  }
  std::fprintf(stderr, "\x1b[?25l\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
  is_drawn_ = true;
  drawn_ms_ = now_ms();
}

void ProgressLine::finish(bool keep) {
  if (!is_drawn_) return;
  if (keep) {
    draw();
    std::fputs("\n\x1b[?25h", stderr);
  } else {
    std::fputs("\r\x1b[K\x1b[?25h", stderr);
  }
  std::fflush(stderr);
  is_drawn_ = false;
}

WordWrapper::WordWrapper(bool is_on) : is_on_(is_on && is_terminal(STDOUT_FILENO)) {
  columns_ = std::max(20, terminal_columns(STDOUT_FILENO) - kRightMargin);
}

void WordWrapper::write(std::string_view text) {
  if (!is_on_) {
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    for (size_t i = 0; i < text.size();) {
      const size_t n = character_bytes(text, i);
      put(text.substr(i, n));
      i += n;
    }
  }
  std::fflush(stdout);
}

// The word so far is on the screen already; when it outgrows the line it is wiped there and written again below.
void WordWrapper::put(std::string_view character) {
  if (character == "\n") {
    std::fputc('\n', stdout);
    column_ = word_width_ = 0;
    word_.clear();
    return;
  }
  const int width = display_width(character);
  if (column_ + width > columns_ && character != " ") {
    if (!word_.empty() && word_width_ < columns_) {
      std::printf("\x1b[%dD\x1b[K\n%s", word_width_, word_.c_str());
      column_ = word_width_;
    } else {
      std::fputc('\n', stdout);
      column_ = 0;
    }
  }
  std::fwrite(character.data(), 1, character.size(), stdout);
  column_ += width;
  if (character == " ") {
    word_.clear();
    word_width_ = 0;
    if (column_ >= columns_) {
      std::fputc('\n', stdout);
      column_ = 0;
    }
  } else {
    word_ += character;
    word_width_ += width;
  }
}

}  // namespace olx::cli
