// Expressions, with the precedence of Jinja2's own parser: it differs from Python's in '~', in filters and tests that bind
// to the operand rather than to the whole, and in '**', which groups to the left.

#include <charconv>
#include <cstdlib>

#include "engine/text/jinja/error.h"
#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/parser_internal.h"
#include "engine/text/jinja/tests.h"

namespace olx::engine::jinja {

Parser::DepthGuard::DepthGuard(Parser& parser) : parser_(parser) {
  if (++parser.depth_ > parser.limits_.max_depth) {
    --parser.depth_;
    syntax_error(parser.cur().line, "nested deeper than the limit of " +
                                        std::to_string(parser.limits_.max_depth));
  }
}

void Parser::count_node() {
  if (++n_nodes_ > limits_.max_nodes)
    syntax_error(cur().line, "more syntax nodes than the limit of " + std::to_string(limits_.max_nodes));
}

ExprPtr Parser::node(ExprKind kind, int line, std::string text) {
  count_node();
  auto e = std::make_unique<Expr>();
  e->kind = kind;
  e->line = line;
  e->text = std::move(text);
  return e;
}

bool Parser::skip_op(std::string_view op) {
  if (!cur().is_op(op)) return false;
  take();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!cur().is_name(name)) return false;
  take();
  return true;
}

void Parser::unexpected() const {
  const Token& t = cur();
  switch (t.kind) {
    case TokenKind::kEnd: syntax_error(t.line, "unexpected end of template");
    case TokenKind::kVariableEnd: syntax_error(t.line, "unexpected end of print statement");
    case TokenKind::kBlockEnd: syntax_error(t.line, "unexpected end of statement block");
    default: syntax_error(t.line, "unexpected '" + t.text + "'");
  }
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) {
    if (cur().kind == TokenKind::kOperator || cur().kind == TokenKind::kName)
      syntax_error(cur().line, "expected '" + std::string(op) + "', got '" + cur().text + "'");
    unexpected();
  }
}

std::string Parser::expect_name() {
  if (cur().kind != TokenKind::kName) unexpected();
  return take().text;
}

void Parser::read_name(const std::string& name) {
  for (const std::string& known : names_)
    if (known == name) return;
  names_.push_back(name);
}

ExprPtr Parser::parse_expression(bool with_condition) {
  DepthGuard guard(*this);
  if (!with_condition) return parse_or();
  const size_t first_unknown = unknown_.size();
  const int line = cur().line;
  ExprPtr e = parse_or();
  while (skip_name("if")) {
    ExprPtr test = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    e = node_of(ExprKind::kCondition, line, "", std::move(test), std::move(e), std::move(otherwise));
    for (size_t i = first_unknown; i < unknown_.size(); ++i) unknown_[i].is_soft = true;
  }
  return e;
}

ExprPtr Parser::parse_or() {
  ExprPtr e = parse_and();
  if (!cur().is_name("or")) return e;
  e = node_of(ExprKind::kOr, cur().line, "", std::move(e));
  while (skip_name("or")) e->children.push_back(parse_and());
  return e;
}

ExprPtr Parser::parse_and() {
  ExprPtr e = parse_not();
  if (!cur().is_name("and")) return e;
  e = node_of(ExprKind::kAnd, cur().line, "", std::move(e));
  while (skip_name("and")) e->children.push_back(parse_not());
  return e;
}

ExprPtr Parser::parse_not() {
  if (!cur().is_name("not")) return parse_compare();
  DepthGuard guard(*this);
  const int line = take().line;
  return node_of(ExprKind::kNot, line, "", parse_not());
}

ExprPtr Parser::parse_compare() {
  ExprPtr e = parse_sum();
  ExprPtr compare;
  while (true) {
    std::string op;
    for (const char* candidate : {"==", "!=", "<", "<=", ">", ">="})
      if (cur().is_op(candidate)) op = candidate;
    if (cur().is_name("in")) op = "in";
    if (cur().is_name("not") && ahead().is_name("in")) op = "not in";
    if (op.empty()) return compare ? std::move(compare) : std::move(e);
    const int line = take().line;
    if (op == "not in") take();
    if (!compare) compare = node_of(ExprKind::kCompare, line, "", std::move(e));
    compare->names.push_back(op);
    compare->children.push_back(parse_sum());
  }
}

ExprPtr Parser::parse_sum() {
  ExprPtr e = parse_concat();
  while (cur().is_op("+") || cur().is_op("-")) {
    const Token op = take();
    ExprPtr right = parse_concat();
    e = node_of(ExprKind::kBinary, op.line, op.text, std::move(e), std::move(right));
  }
  return e;
}

ExprPtr Parser::parse_concat() {
  ExprPtr e = parse_product();
  if (!cur().is_op("~")) return e;
  e = node_of(ExprKind::kConcat, cur().line, "", std::move(e));
  while (skip_op("~")) e->children.push_back(parse_product());
  return e;
}

ExprPtr Parser::parse_product() {
  ExprPtr e = parse_power();
  while (cur().is_op("*") || cur().is_op("/") || cur().is_op("//") || cur().is_op("%")) {
    const Token op = take();
    ExprPtr right = parse_power();
    e = node_of(ExprKind::kBinary, op.line, op.text, std::move(e), std::move(right));
  }
  return e;
}

ExprPtr Parser::parse_power() {
  ExprPtr e = parse_unary();
  while (cur().is_op("**")) {
    const Token op = take();
    ExprPtr right = parse_unary();
    e = node_of(ExprKind::kBinary, op.line, op.text, std::move(e), std::move(right));
  }
  return e;
}

ExprPtr Parser::parse_unary(bool with_filter) {
  ExprPtr e;
  const int line = cur().line;
  if (cur().is_op("-") || cur().is_op("+")) {
    DepthGuard guard(*this);
    const bool negative = take().text == "-";
    e = node_of(negative ? ExprKind::kNegative : ExprKind::kPositive, line, "", parse_unary(false));
  } else {
    e = parse_primary();
  }
  e = parse_postfix(std::move(e));
  return with_filter ? parse_filter_or_test(std::move(e)) : std::move(e);
}

ExprPtr Parser::parse_number() {
  const Token t = take();
  ExprPtr e = node(ExprKind::kConst, t.line);
  if (t.kind == TokenKind::kFloat) {
    e->literal = std::strtod(t.text.c_str(), nullptr);
    return e;
  }
  int base = 10;
  std::string_view digits = t.text;
  if (digits.size() > 1 && digits[0] == '0' && digits[1] > '9') {
    base = digits[1] == 'x' ? 16 : digits[1] == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size())
    syntax_error(t.line, "integer '" + t.text + "' is not supported (64 bits at most)");
  e->literal = value;
  return e;
}

ExprPtr Parser::parse_primary(bool with_namespace) {
  const Token& t = cur();
  const int line = t.line;
  if (t.kind == TokenKind::kName) {
    const std::string name = take().text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      ExprPtr e = node(ExprKind::kConst, line);
      e->literal = name == "true" || name == "True";
      return e;
    }
    if (name == "none" || name == "None") return node(ExprKind::kConst, line);
    if (with_namespace && skip_op(".")) {
      ExprPtr e = node(ExprKind::kNamespaceRef, line, name);
      e->names.push_back(expect_name());
      return e;
    }
    read_name(name);
    return node(ExprKind::kName, line, name);
  }
  if (t.kind == TokenKind::kString) {
    std::string text;
    while (cur().kind == TokenKind::kString) text += take().text;
    ExprPtr e = node(ExprKind::kConst, line);
    e->literal = std::move(text);
    return e;
  }
  if (t.kind == TokenKind::kInteger || t.kind == TokenKind::kFloat) return parse_number();
  if (skip_op("(")) {
    DepthGuard guard(*this);
    ExprPtr e = parse_tuple(true, "", true);
    expect_op(")");
    return e;
  }
  if (t.is_op("[")) return parse_list();
  if (t.is_op("{")) return parse_dict();
  unexpected();
}

bool Parser::at_tuple_end(std::string_view end_name) const {
  const Token& t = cur();
  return t.kind == TokenKind::kVariableEnd || t.kind == TokenKind::kBlockEnd || t.is_op(")") ||
         (!end_name.empty() && t.is_name(end_name));
}

ExprPtr Parser::parse_tuple(bool with_condition, std::string_view end_name, bool in_parentheses) {
  const int line = cur().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    if (at_tuple_end(end_name)) break;
    items.push_back(parse_expression(with_condition));
    if (!cur().is_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses) syntax_error(line, "Expected an expression");
  ExprPtr e = node(ExprKind::kTuple, line);
  e->children = std::move(items);
  return e;
}

// What may stand left of '=' or between 'for' and 'in': names, in (nested) tuples, or one namespace attribute.
ExprPtr Parser::parse_target(std::string_view end_name, bool with_namespace) {
  DepthGuard guard(*this);
  const int line = cur().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    if (at_tuple_end(end_name)) break;
    if (skip_op("(")) {
      items.push_back(parse_target("", with_namespace));
      expect_op(")");
    } else {
      if (cur().kind != TokenKind::kName) unexpected();
      const size_t n_names = names_.size();
      items.push_back(parse_primary(with_namespace));
      names_.resize(n_names);  // a target is not a read
      const ExprKind kind = items.back()->kind;
      if (kind != ExprKind::kName && kind != ExprKind::kNamespaceRef)
        syntax_error(line, "can't assign to a constant");
    }
    if (!cur().is_op(",")) break;
    is_tuple = true;
  }
  if (items.empty()) syntax_error(line, "Expected an expression");
  if (!is_tuple) return std::move(items[0]);
  ExprPtr e = node(ExprKind::kTuple, line);
  e->children = std::move(items);
  return e;
}

ExprPtr Parser::parse_list() {
  ExprPtr e = node(ExprKind::kList, take().line);
  while (!cur().is_op("]")) {
    if (!e->children.empty()) expect_op(",");
    if (cur().is_op("]")) break;
    e->children.push_back(parse_expression());
  }
  expect_op("]");
  return e;
}

ExprPtr Parser::parse_dict() {
  ExprPtr e = node(ExprKind::kDict, take().line);
  while (!cur().is_op("}")) {
    if (!e->children.empty()) expect_op(",");
    if (cur().is_op("}")) break;
    e->children.push_back(parse_expression());
    expect_op(":");
    e->children.push_back(parse_expression());
  }
  expect_op("}");
  return e;
}

ExprPtr Parser::parse_postfix(ExprPtr e) {
  while (true) {
    if (cur().is_op(".") || cur().is_op("[")) {
      e = parse_subscript(std::move(e));
    } else if (cur().is_op("(")) {
      e = node_of(ExprKind::kCall, cur().line, "", std::move(e));
      e->call = parse_call_args();
    } else {
      return e;
    }
  }
}

ExprPtr Parser::parse_filter_or_test(ExprPtr e) {
  while (true) {
    if (cur().is_op("|")) {
      e = parse_filters(std::move(e), false);
    } else if (cur().is_name("is")) {
      e = parse_test(std::move(e));
    } else if (cur().is_op("(")) {
      e = node_of(ExprKind::kCall, cur().line, "", std::move(e));
      e->call = parse_call_args();
    } else {
      return e;
    }
  }
}

std::string Parser::parse_dotted_name() {
  std::string name = expect_name();
  while (skip_op(".")) name += "." + expect_name();
  return name;
}

ExprPtr Parser::parse_filters(ExprPtr e, bool starts_inline) {
  while (cur().is_op("|") || starts_inline) {
    if (!starts_inline) take();
    starts_inline = false;
    const int line = cur().line;
    const std::string name = parse_dotted_name();
    if (!find_filter(name)) unknown_.push_back({line, "No filter named '" + name + "'", is_soft_});
    e = node_of(ExprKind::kFilter, line, name, std::move(e));
    if (cur().is_op("(")) e->call = parse_call_args();
  }
  return e;
}

ExprPtr Parser::parse_test(ExprPtr e) {
  const int line = take().line;
  const bool negated = skip_name("not");
  const std::string name = parse_dotted_name();
  if (!find_test(name)) unknown_.push_back({line, "No test named '" + name + "'", is_soft_});
  e = node_of(ExprKind::kTest, line, name, std::move(e));
  const Token& t = cur();
  const bool starts_operand = t.kind == TokenKind::kName || t.kind == TokenKind::kString ||
                              t.kind == TokenKind::kInteger || t.kind == TokenKind::kFloat ||
                              t.is_op("[") || t.is_op("{");
  if (t.is_op("(")) {
    e->call = parse_call_args();
  } else if (starts_operand && !t.is_name("else") && !t.is_name("or") && !t.is_name("and")) {
    if (t.is_name("is")) syntax_error(t.line, "You cannot chain multiple tests with is");
    e->call = std::make_unique<CallArgs>();
    e->call->positional.push_back(parse_postfix(parse_primary()));
  }
  return negated ? node_of(ExprKind::kNot, line, "", std::move(e)) : std::move(e);
}

ExprPtr Parser::parse_subscript(ExprPtr e) {
  const Token open = take();
  if (open.text == ".") {
    if (cur().kind == TokenKind::kName)
      return node_of(ExprKind::kGetAttr, open.line, take().text, std::move(e));
    if (cur().kind != TokenKind::kInteger) syntax_error(cur().line, "expected name or number");
    return node_of(ExprKind::kGetItem, open.line, "", std::move(e), parse_number());
  }
  std::vector<ExprPtr> items;
  while (!cur().is_op("]")) {
    if (!items.empty()) expect_op(",");
    items.push_back(parse_index());
  }
  expect_op("]");
  if (items.size() == 1)
    return node_of(ExprKind::kGetItem, open.line, "", std::move(e), std::move(items[0]));
  ExprPtr tuple = node(ExprKind::kTuple, open.line);
  tuple->children = std::move(items);
  return node_of(ExprKind::kGetItem, open.line, "", std::move(e), std::move(tuple));
}

ExprPtr Parser::parse_index() {
  const int line = cur().line;
  ExprPtr start, stop, step;
  if (!cur().is_op(":")) {
    start = parse_expression();
    if (!cur().is_op(":")) return start;
  }
  expect_op(":");
  const auto at_end = [&] { return cur().is_op("]") || cur().is_op(","); };
  if (!cur().is_op(":") && !at_end()) stop = parse_expression();
  if (skip_op(":") && !at_end()) step = parse_expression();
  return node_of(ExprKind::kSlice, line, "", std::move(start), std::move(stop), std::move(step));
}

std::unique_ptr<CallArgs> Parser::parse_call_args() {
  DepthGuard guard(*this);
  auto args = std::make_unique<CallArgs>();
  const int line = cur().line;
  const auto require = [&](bool ok) {
    if (!ok) syntax_error(line, "invalid syntax for function call expression");
  };
  expect_op("(");
  bool needs_comma = false;
  while (!cur().is_op(")")) {
    if (needs_comma) {
      expect_op(",");
      if (cur().is_op(")")) break;
    }
    needs_comma = true;
    if (skip_op("*")) {
      require(!args->star && !args->star_star);
      args->star = parse_expression();
    } else if (skip_op("**")) {
      require(!args->star_star);
      args->star_star = parse_expression();
    } else if (cur().kind == TokenKind::kName && ahead().is_op("=")) {
      require(!args->star_star);
      std::string name = take().text;
      take();
      args->keyword.emplace_back(std::move(name), parse_expression());
    } else {
      require(!args->star && !args->star_star && args->keyword.empty());
      args->positional.push_back(parse_expression());
    }
  }
  expect_op(")");
  return args;
}

}  // namespace olx::engine::jinja
