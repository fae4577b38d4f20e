#include "cli/line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <sys/stat.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>

namespace olx::cli {

namespace {

constexpr int kHistoryLines = 100;

}  // namespace

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string history_path;
  std::string prompt;
  bool is_history_on = true;
  bool is_interrupted = false;
};

LineEditor::LineEditor(const std::string& history_path) : impl_(std::make_unique<Impl>()) {
  if (std::setlocale(LC_CTYPE, "") == nullptr || std::string(std::setlocale(LC_CTYPE, nullptr)) == "C")
    std::setlocale(LC_CTYPE, "C.UTF-8");
  impl_->history_path = history_path;
  impl_->editor = el_init("ollamax", stdin, stdout, stderr);
  el_set(impl_->editor, EL_CLIENTDATA, impl_.get());
  using PromptFn = char* (*)(EditLine*);
  const PromptFn prompt = [](EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<Impl*>(data)->prompt.data();
  };
  el_set(impl_->editor, EL_PROMPT, prompt);
  el_set(impl_->editor, EL_EDITOR, "emacs");
  impl_->history = history_init();
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistoryLines);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  el_set(impl_->editor, EL_HIST, history, impl_->history);
  if (!impl_->history_path.empty()) history(impl_->history, &event, H_LOAD, impl_->history_path.c_str());
  // Ctrl-C is a key here, not a signal: it clears the line, or says how to leave.
  using KeyFn = unsigned char (*)(EditLine*, int);
  const KeyFn on_interrupt = [](EditLine* editor, int) -> unsigned char {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    static_cast<Impl*>(data)->is_interrupted = true;
    const LineInfo* line = el_line(editor);
    el_deletestr(editor, static_cast<int>(line->cursor - line->buffer));
    return CC_NEWLINE;
  };
  el_set(impl_->editor, EL_ADDFN, "olx-interrupt", "clear the line", on_interrupt);
  el_set(impl_->editor, EL_SETTY, "-d", "-isig", nullptr);
  el_set(impl_->editor, EL_BIND, "^C", "olx-interrupt", nullptr);
  el_set(impl_->editor, EL_BIND, "^L", "ed-clear-screen", nullptr);
  el_set(impl_->editor, EL_BIND, "\\e[1~", "ed-move-to-beg", nullptr);
  el_set(impl_->editor, EL_BIND, "\\e[4~", "ed-move-to-end", nullptr);
  el_set(impl_->editor, EL_BIND, "\\e[H", "ed-move-to-beg", nullptr);
  el_set(impl_->editor, EL_BIND, "\\e[F", "ed-move-to-end", nullptr);
  el_set(impl_->editor, EL_BIND, "\\e[3~", "ed-delete-next-char", nullptr);
}

LineEditor::~LineEditor() {
  if (!impl_->history_path.empty()) {
    // 0600 before the first byte: a history may hold what is nobody else's business.
    const int fd = ::open(impl_->history_path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    HistEvent event;
    history(impl_->history, &event, H_SAVE, impl_->history_path.c_str());
  }
  el_end(impl_->editor);
  history_end(impl_->history);
}

std::optional<LineEditor::Line> LineEditor::read(const std::string& prompt) {
  impl_->prompt = prompt;
  impl_->is_interrupted = false;
  int count = 0;
  const char* text = el_gets(impl_->editor, &count);
  if (text == nullptr || count <= 0) {
    if (impl_->is_interrupted) return Line{"", true};
    return std::nullopt;
  }
  Line line{std::string(text, static_cast<size_t>(count)), impl_->is_interrupted};
  if (line.text.ends_with('\n')) line.text.pop_back();
  if (line.is_interrupted) line.text.clear();
  return line;
}

void LineEditor::add_history(const std::string& text) {
  if (!impl_->is_history_on || text.empty()) return;
  HistEvent event;
  history(impl_->history, &event, H_ENTER, text.c_str());
}

void LineEditor::set_history(bool is_on) { impl_->is_history_on = is_on; }

}  // namespace olx::cli
