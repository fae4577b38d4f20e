#include "engine/text/jinja/parser.h"

#include <algorithm>

#include "engine/text/jinja/error.h"
#include "engine/text/jinja/parser_internal.h"

namespace olx::engine::jinja {

static void take_children(Expr& e, std::vector<ExprPtr>& out) {
  for (ExprPtr& child : e.children)
    if (child) out.push_back(std::move(child));
  e.children.clear();
  if (!e.call) return;
  for (ExprPtr& child : e.call->positional) out.push_back(std::move(child));
  for (auto& [name, child] : e.call->keyword) out.push_back(std::move(child));
  if (e.call->star) out.push_back(std::move(e.call->star));
  if (e.call->star_star) out.push_back(std::move(e.call->star_star));
  e.call.reset();
}

Expr::~Expr() {
  if (children.empty() && !call) return;
  std::vector<ExprPtr> pending;
  take_children(*this, pending);
  while (!pending.empty()) {
    const ExprPtr e = std::move(pending.back());
    pending.pop_back();
    if (e) take_children(*e, pending);
  }
}

std::unique_ptr<Stmt> Parser::stmt(StmtKind kind, int line) {
  count_node();
  auto s = std::make_unique<Stmt>();
  s->kind = kind;
  s->line = line;
  return s;
}

void Parser::expect_block_end() {
  if (cur().kind != TokenKind::kBlockEnd) {
    if (cur().kind == TokenKind::kEnd) unexpected();
    syntax_error(cur().line, "expected end of statement block, got '" + cur().text + "'");
  }
  take();
}

Template Parser::run() {
  Template result;
  parse_body(result.body, {});
  for (const UnknownName& name : unknown_)
    if (!name.is_soft) syntax_error(name.line, name.what);
  return result;
}

std::string Parser::parse_body(Body& body, std::initializer_list<std::string_view> ends) {
  DepthGuard guard(*this);
  while (true) {
    const int line = cur().line;
    switch (cur().kind) {
      case TokenKind::kEnd: {
        if (ends.size() == 0) return "";
        syntax_error(line, "unexpected end of template, expected '" + std::string(*(ends.end() - 1)) + "'");
      }
      case TokenKind::kText: {
        auto s = stmt(StmtKind::kText, line);
        s->text = take().text;
        body.push_back(std::move(s));
        break;
      }
      case TokenKind::kVariableBegin: {
        take();
        auto s = stmt(StmtKind::kOutput, line);
        s->expr = parse_tuple(true, "");
        if (cur().kind != TokenKind::kVariableEnd) {
          if (cur().kind == TokenKind::kEnd) unexpected();
          syntax_error(cur().line, "expected end of print statement, got '" + cur().text + "'");
        }
        take();
        body.push_back(std::move(s));
        break;
      }
      default: {
        take();
        if (cur().kind != TokenKind::kName) syntax_error(cur().line, "tag name expected");
        if (std::find(ends.begin(), ends.end(), cur().text) != ends.end()) return take().text;
        if (cur().text == "print") {
          take();
          bool is_first = true;
          while (cur().kind != TokenKind::kBlockEnd) {
            if (!is_first) expect_op(",");
            is_first = false;
            auto s = stmt(StmtKind::kOutput, line);
            s->expr = parse_expression();
            body.push_back(std::move(s));
          }
        } else {
          body.push_back(parse_statement());
        }
        expect_block_end();
      }
    }
  }
}

// The body of a tag that starts a new frame, where Jinja2's leniency inside an if ends.
void Parser::parse_hard_body(Body& body, std::string_view end) {
  const bool was_soft = std::exchange(is_soft_, false);
  skip_op(":");
  expect_block_end();
  parse_body(body, {end});
  is_soft_ = was_soft;
}

std::unique_ptr<Stmt> Parser::parse_statement() {
  const int line = cur().line;
  const std::string tag = cur().text;
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "with") return parse_with();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "block") return parse_scope("endblock");
  if (tag == "generation") return parse_scope("endgeneration");
  if (tag == "autoescape") return parse_scope("endautoescape");
  if (tag == "break" || tag == "continue") {
    take();
    if (loop_depth_ == 0) syntax_error(line, "'" + tag + "' outside of a loop");
    return stmt(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue, line);
  }
  for (const char* refused : {"include", "import", "from", "extends", "do", "trans", "debug"})
    if (tag == refused) syntax_error(line, "the tag '" + tag + "' is not supported in chat templates");
  syntax_error(line, "Encountered unknown tag '" + tag + "'");
}

std::unique_ptr<Stmt> Parser::parse_if() {
  auto s = stmt(StmtKind::kIf, take().line);
  const bool was_soft = std::exchange(is_soft_, true);
  std::string end = "elif";
  while (end == "elif") {
    Branch& branch = s->branches.emplace_back();
    branch.test = parse_tuple(false, "");
    skip_op(":");
    expect_block_end();
    end = parse_body(branch.body, {"elif", "else", "endif"});
  }
  if (end == "else") {
    skip_op(":");
    expect_block_end();
    parse_body(s->branches.emplace_back().body, {"endif"});
  }
  is_soft_ = was_soft;
  return s;
}

std::unique_ptr<Stmt> Parser::parse_for() {
  auto s = stmt(StmtKind::kFor, take().line);
  s->target = parse_target("in", false);
  if (!skip_name("in")) syntax_error(cur().line, "expected token 'in', got '" + cur().text + "'");
  const bool was_soft = is_soft_;
  s->expr = parse_tuple(false, "recursive");
  is_soft_ = false;
  if (skip_name("if")) s->test = parse_expression();
  s->is_recursive = skip_name("recursive");
  skip_op(":");
  expect_block_end();
  ++loop_depth_;
  const std::string end = parse_body(s->body, {"endfor", "else"});
  --loop_depth_;
  if (end == "else") {
    skip_op(":");
    expect_block_end();
    parse_body(s->else_body, {"endfor"});
  }
  is_soft_ = was_soft;
  return s;
}

std::unique_ptr<Stmt> Parser::parse_set() {
  const int line = take().line;
  ExprPtr target = parse_target("", true);
  if (skip_op("=")) {
    auto s = stmt(StmtKind::kSet, line);
    s->target = std::move(target);
    s->expr = parse_tuple(true, "");
    return s;
  }
  auto s = stmt(StmtKind::kSetBlock, line);
  s->target = std::move(target);
  s->expr = parse_filters(nullptr, false);
  parse_hard_body(s->body, "endset");
  return s;
}

std::unique_ptr<Stmt> Parser::parse_with() {
  auto s = stmt(StmtKind::kWith, take().line);
  while (cur().kind != TokenKind::kBlockEnd) {
    if (!s->assignments.empty()) expect_op(",");
    // One name at a time: a comma separates assignments here.
    ExprPtr target;
    if (skip_op("(")) {
      target = parse_target("", false);
      expect_op(")");
    } else {
      const int line = cur().line;
      target = node(ExprKind::kName, line, expect_name());
    }
    expect_op("=");
    s->assignments.emplace_back(std::move(target), parse_expression());
  }
  parse_hard_body(s->body, "endwith");
  return s;
}

void Parser::parse_parameters(std::vector<Parameter>& parameters) {
  expect_op("(");
  while (!cur().is_op(")")) {
    if (!parameters.empty()) expect_op(",");
    Parameter& p = parameters.emplace_back();
    p.name = expect_name();
    if (skip_op("=")) p.default_value = parse_expression();
    else if (parameters.size() > 1 && parameters[parameters.size() - 2].default_value)
      syntax_error(cur().line, "non-default argument follows default argument");
  }
  expect_op(")");
}

// Finds whether a macro's body names the implicit variables; names_ is restored to hold all of them.
struct NameWindow {
  explicit NameWindow(std::vector<std::string>& names) : names_(names) { outer_.swap(names_); }
  void close(Stmt& s) {
    for (const std::string& name : names_) {
      if (name == "varargs") s.uses_varargs = true;
      if (name == "kwargs") s.uses_kwargs = true;
      if (name == "caller") s.uses_caller = true;
      if (std::find(outer_.begin(), outer_.end(), name) == outer_.end()) outer_.push_back(name);
    }
    names_.swap(outer_);
  }
  std::vector<std::string>& names_;
  std::vector<std::string> outer_;
};

std::unique_ptr<Stmt> Parser::parse_macro() {
  auto s = stmt(StmtKind::kMacro, take().line);
  s->text = expect_name();
  NameWindow window(names_);
  parse_parameters(s->parameters);
  const int loops = std::exchange(loop_depth_, 0);
  parse_hard_body(s->body, "endmacro");
  loop_depth_ = loops;
  window.close(*s);
  return s;
}

std::unique_ptr<Stmt> Parser::parse_call_block() {
  auto s = stmt(StmtKind::kCallBlock, take().line);
  if (cur().is_op("(")) parse_parameters(s->parameters);
  s->expr = parse_expression();
  if (s->expr->kind != ExprKind::kCall) syntax_error(s->line, "expected call");
  NameWindow window(names_);
  const int loops = std::exchange(loop_depth_, 0);
  parse_hard_body(s->body, "endcall");
  loop_depth_ = loops;
  window.close(*s);
  return s;
}

std::unique_ptr<Stmt> Parser::parse_filter_block() {
  auto s = stmt(StmtKind::kFilterBlock, take().line);
  s->expr = parse_filters(nullptr, true);
  parse_hard_body(s->body, "endfilter");
  return s;
}

std::unique_ptr<Stmt> Parser::parse_scope(std::string_view end) {
  auto s = stmt(StmtKind::kScope, take().line);
  std::string name;
  if (end == "endblock") {
    name = expect_name();
    skip_name("scoped");
    skip_name("required");
  } else if (end == "endautoescape") {
    const ExprPtr on = parse_expression();
    const bool* value = on->kind == ExprKind::kConst ? std::get_if<bool>(&on->literal) : nullptr;
    if (!value || *value) syntax_error(s->line, "'autoescape' is only supported with false");
  }
  parse_hard_body(s->body, end);
  if (!name.empty()) skip_name(name);
  return s;
}

Template parse(std::string_view source, const ParseLimits& limits) {
  if (source.size() > limits.max_source_bytes)
    syntax_error(1, "source of " + std::to_string(source.size()) + " bytes exceeds the limit of " +
                        std::to_string(limits.max_source_bytes));
  return Parser(lex(source), limits).run();
}

}  // namespace olx::engine::jinja
