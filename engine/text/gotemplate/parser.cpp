#include "engine/text/gotemplate/parser.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "engine/text/gotemplate/functions.h"
#include "engine/text/gotemplate/lexer.h"

namespace olx::engine::gotemplate {
namespace {

constexpr size_t kMaxSourceBytes = 256 << 10;
constexpr int kMaxNodes = 50'000;
constexpr int kMaxDepth = 128;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Template run() {
    variables_ = {"$"};
    const std::string end = parse_list(tree_.root);
    if (!end.empty()) syntax_error(cur().line, "unexpected {{" + end + "}}");
    tree_.n_nodes = n_nodes_;
    return std::move(tree_);
  }

 private:
  struct DepthGuard {
    explicit DepthGuard(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxDepth) {
        --parser.depth_;
        syntax_error(parser.cur().line, "nested deeper than the limit of " + std::to_string(kMaxDepth));
      }
    }
    ~DepthGuard() { --parser.depth_; }
    Parser& parser;
  };

  const Token& cur() const { return tokens_[pos_]; }
  bool is(TokenKind kind) const { return cur().kind == kind; }
  Token take() { return tokens_[pos_ + 1 < tokens_.size() ? pos_++ : pos_]; }
  void skip_space() {
    while (is(TokenKind::kSpace)) take();
  }
  void count_node() {
    if (++n_nodes_ > kMaxNodes)
      syntax_error(cur().line, "more syntax nodes than the limit of " + std::to_string(kMaxNodes));
  }
  std::unique_ptr<Node> node(NodeKind kind, int line) {
    count_node();
    auto n = std::make_unique<Node>();
    n->kind = kind;
    n->line = line;
    n->order = n_nodes_;
    return n;
  }
  void expect_close(const char* where) {
    skip_space();
    if (!is(TokenKind::kClose)) syntax_error(cur().line, "unexpected '" + cur().text + "' in " + where);
    take();
  }
  void note_name(const std::string& name) {
    if (std::find(tree_.names.begin(), tree_.names.end(), name) == tree_.names.end()) tree_.names.push_back(name);
    if (name == "Response" && tree_.response_order < 0 && define_depth_ == 0) tree_.response_order = n_nodes_order_;
  }

  // Parses nodes until {{end}} or {{else}}; returns that word ("" at the end of the source). For else the rest of the
  // action is still to be read.
  std::string parse_list(NodeList& list) {
    DepthGuard guard(*this);
    while (!is(TokenKind::kEnd)) {
      if (is(TokenKind::kText)) {
        auto n = node(NodeKind::kText, cur().line);
        n->text = take().text;
        list.push_back(std::move(n));
        continue;
      }
      take();  // kOpen
      skip_space();
      const int line = cur().line;
      const std::string word = is(TokenKind::kIdentifier) ? cur().text : "";
      if (word == "end") {
        take();
        expect_close("end");
        return word;
      }
      if (word == "else") {
        take();
        return word;
      }
      if (word == "if" || word == "range" || word == "with") {
        take();
        list.push_back(parse_branch(word, line));
      } else if (word == "template") {
        take();
        list.push_back(parse_template(line));
      } else if (word == "define" || word == "block") {
        take();
        parse_define(word == "block", line, list);
      } else if (word == "break" || word == "continue") {
        take();
        if (range_depth_ == 0) syntax_error(line, "{{" + word + "}} outside {{range}}");
        expect_close(word.c_str());
        list.push_back(node(word == "break" ? NodeKind::kBreak : NodeKind::kContinue, line));
      } else if (is(TokenKind::kClose)) {
        syntax_error(line, "missing value for command");
      } else {
        auto n = node(NodeKind::kAction, line);
        n_nodes_order_ = n->order;
        n->pipeline = parse_pipeline("command", false);
        expect_close("command");
        list.push_back(std::move(n));
      }
    }
    return "";
  }

  std::unique_ptr<Node> parse_branch(const std::string& word, int line) {
    auto n = node(word == "if" ? NodeKind::kIf : word == "range" ? NodeKind::kRange : NodeKind::kWith, line);
    const size_t n_variables = variables_.size();
    n_nodes_order_ = n->order;
    skip_space();
    n->pipeline = parse_pipeline(word.c_str(), word == "range");
    expect_close(word.c_str());
    if (word == "range") ++range_depth_;
    std::string end = parse_list(n->body);
    if (word == "range") --range_depth_;
    if (end == "else") {
      skip_space();
      const std::string next = is(TokenKind::kIdentifier) ? cur().text : "";
      if ((next == "if" || next == "with") && next == word) {
        // {{else if}} is an {{if}} inside the {{else}} that shares its {{end}}.
        DepthGuard guard(*this);
        const int else_line = take().line;
        n->else_body.push_back(parse_branch(next, else_line));
        variables_.resize(n_variables);
        return n;
      }
      expect_close("else");
      end = parse_list(n->else_body);
      if (end == "else") syntax_error(cur().line, "expected end; found {{else}}");
    }
    if (end != "end") syntax_error(cur().line, "unexpected EOF: {{" + word + "}} of line " + std::to_string(line) + " has no {{end}}");
    variables_.resize(n_variables);
    return n;
  }

  std::string expect_name(const char* where) {
    skip_space();
    if (!is(TokenKind::kString)) syntax_error(cur().line, std::string("expected a quoted name in ") + where);
    return take().text;
  }

  std::unique_ptr<Node> parse_template(int line) {
    auto n = node(NodeKind::kTemplate, line);
    n_nodes_order_ = n->order;
    n->text = expect_name("template");
    skip_space();
    if (!is(TokenKind::kClose)) n->pipeline = parse_pipeline("template", false);
    expect_close("template");
    return n;
  }

  void parse_define(bool is_block, int line, NodeList& list) {
    const std::string name = expect_name(is_block ? "block" : "define");
    std::unique_ptr<Node> call;
    skip_space();
    if (is_block) {
      call = node(NodeKind::kTemplate, line);
      n_nodes_order_ = call->order;
      call->text = name;
      call->pipeline = parse_pipeline("block", false);
    }
    expect_close(is_block ? "block" : "define");
    const std::vector<std::string> outer = std::exchange(variables_, {"$"});
    const int loops = std::exchange(range_depth_, 0);
    ++define_depth_;
    NodeList body;
    if (parse_list(body) != "end") syntax_error(cur().line, "unexpected EOF in define");
    --define_depth_;
    range_depth_ = loops;
    variables_ = outer;
    tree_.defined[name] = std::move(body);
    if (call) list.push_back(std::move(call));
  }

  std::unique_ptr<Pipeline> parse_pipeline(const char* where, bool is_range) {
    DepthGuard guard(*this);
    count_node();
    auto p = std::make_unique<Pipeline>();
    p->line = cur().line;
    parse_declaration(*p, is_range);
    while (true) {
      skip_space();
      p->commands.push_back(parse_command());
      skip_space();
      if (!is(TokenKind::kPipe)) break;
      take();
    }
    if (!is(TokenKind::kClose) && !is(TokenKind::kRightParen))
      syntax_error(cur().line, "unexpected '" + cur().text + "' in " + where);
    for (size_t i = 1; i < p->commands.size(); ++i)
      if (p->commands[i].operands[0].kind == OperandKind::kLiteral || p->commands[i].operands[0].kind == OperandKind::kDot)
        if (p->commands[i].operands[0].fields.empty())
          syntax_error(p->line, "non executable command in pipeline stage " + std::to_string(i + 1));
    return p;
  }

  void parse_declaration(Pipeline& p, bool is_range) {
    skip_space();
    const size_t start = pos_;
    std::vector<std::string> names;
    while (is(TokenKind::kVariable)) {
      names.push_back(take().text);
      skip_space();
      if (is_range && is(TokenKind::kComma) && names.size() < 2) {
        take();
        skip_space();
        continue;
      }
      break;
    }
    if (names.empty() || (!is(TokenKind::kDeclare) && !is(TokenKind::kAssign))) {
      pos_ = start;
      return;
    }
    p.is_assignment = take().kind == TokenKind::kAssign;
    if (p.is_assignment)
      for (const std::string& name : names) require_variable(name);
    else
      for (const std::string& name : names) variables_.push_back(name);
    p.variables = std::move(names);
  }

  void require_variable(const std::string& name) {
    if (std::find(variables_.begin(), variables_.end(), name) == variables_.end())
      syntax_error(cur().line, "undefined variable \"" + name + "\"");
  }

  Command parse_command() {
    Command c;
    while (true) {
      skip_space();
      if (is(TokenKind::kClose) || is(TokenKind::kRightParen) || is(TokenKind::kPipe)) break;
      c.operands.push_back(parse_operand());
      if (is(TokenKind::kSpace) || is(TokenKind::kClose) || is(TokenKind::kRightParen) || is(TokenKind::kPipe)) continue;
      syntax_error(cur().line, "unexpected '" + cur().text + "' in operand");
    }
    if (c.operands.empty()) syntax_error(cur().line, "missing value for command");
    if (c.operands.size() > 1 && c.operands[0].kind != OperandKind::kFunction)
      syntax_error(c.operands[0].line, "can't give argument to non-function");
    return c;
  }

  Operand parse_operand() {
    count_node();
    Operand o;
    const Token t = take();
    o.line = t.line;
    switch (t.kind) {
      case TokenKind::kString: o.literal = Value(t.text); break;
      case TokenKind::kChar: o.literal = Value(char_value(t)); break;
      case TokenKind::kNumber: o.literal = number(t); break;
      case TokenKind::kDot: o.kind = OperandKind::kDot; break;
      case TokenKind::kField:
        o.kind = OperandKind::kDot;
        o.fields.push_back(t.text);
        note_name(t.text);
        break;
      case TokenKind::kVariable:
        require_variable(t.text);
        o.kind = OperandKind::kVariable;
        o.text = t.text;
        note_name(t.text.substr(1));
        break;
      case TokenKind::kLeftParen:
        o.kind = OperandKind::kPipeline;
        o.pipeline = parse_pipeline("parenthesized pipeline", false);
        skip_space();
        if (!is(TokenKind::kRightParen)) syntax_error(t.line, "unclosed left paren");
        take();
        break;
      case TokenKind::kIdentifier:
        if (t.text == "true" || t.text == "false") o.literal = Value(t.text == "true");
        else if (t.text != "nil") {
          if (!find_function(t.text)) syntax_error(t.line, "function \"" + t.text + "\" not defined");
          o.kind = OperandKind::kFunction;
          o.text = t.text;
        }
        break;
      default: syntax_error(t.line, "unexpected '" + t.text + "' in operand");
    }
    while (is(TokenKind::kField)) {
      if (o.kind == OperandKind::kLiteral || o.kind == OperandKind::kFunction)
        syntax_error(cur().line, "unexpected . after term");
      note_name(cur().text);
      o.fields.push_back(take().text);
    }
    return o;
  }

  static int64_t char_value(const Token& t) {
    const auto lead = static_cast<unsigned char>(t.text[0]);
    if (t.text.size() == 1) return lead;
    int64_t code = lead & (t.text.size() == 2 ? 0x1F : t.text.size() == 3 ? 0x0F : 0x07);
    for (size_t i = 1; i < t.text.size() && i < 4; ++i) code = code << 6 | (t.text[i] & 0x3F);
    return code;
  }

  static Value number(const Token& t) {
    std::string digits;
    for (char c : t.text)
      if (c != '_') digits += c;
    std::string_view text = digits;
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && text[1] > '9') {
      const char kind = static_cast<char>(text[1] | 0x20);
      base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
      text.remove_prefix(2);
    }
    if (base == 0) syntax_error(t.line, "bad number syntax: '" + t.text + "'");
    int64_t i = 0;
    auto result = std::from_chars(text.data(), text.data() + text.size(), i, base);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return Value(negative ? -i : i);
    double d = 0;
    result = std::from_chars(text.data(), text.data() + text.size(), d);
    if (base == 10 && result.ec == std::errc() && result.ptr == text.data() + text.size()) return Value(negative ? -d : d);
    syntax_error(t.line, "bad number syntax: '" + t.text + "'");
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0, range_depth_ = 0, define_depth_ = 0, n_nodes_ = 0;
  int n_nodes_order_ = 0;  // order of the node whose pipeline is being read
  std::vector<std::string> variables_;
  Template tree_;
};

}  // namespace

Template parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes)
    syntax_error(1, "source of " + std::to_string(source.size()) + " bytes exceeds the limit of " +
                        std::to_string(kMaxSourceBytes));
  return Parser(lex(source)).run();
}

}  // namespace olx::engine::gotemplate
