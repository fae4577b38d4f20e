#pragma once
// The parser's class, shared by its two halves: parser_expressions.cpp and parser.cpp (statements). Not for anyone else.

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/jinja/lexer.h"
#include "engine/text/jinja/parser.h"

namespace olx::engine::jinja {

class Parser {
 public:
  Parser(std::vector<Token> tokens, const ParseLimits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}
  Template run();

 private:
  // Counts nesting of the source; the evaluator's depth follows from it.
  class DepthGuard {
   public:
    explicit DepthGuard(Parser& parser);
    ~DepthGuard() { --parser_.depth_; }
    DepthGuard(const DepthGuard&) = delete;
    DepthGuard& operator=(const DepthGuard&) = delete;

   private:
    Parser& parser_;
  };

  // Jinja2 refuses an unknown filter or test when it compiles, but inside the branches of an if (or an inline if) only when
  // it is reached: templates use that to probe. These are the names still waiting to be refused.
  struct UnknownName {
    int line;
    std::string what;
    bool is_soft;
  };

  const Token& cur() const { return tokens_[pos_]; }
  const Token& ahead(size_t n = 1) const {
    return tokens_[pos_ + n < tokens_.size() ? pos_ + n : tokens_.size() - 1];
  }
  Token take() { return tokens_[pos_ + 1 < tokens_.size() ? pos_++ : pos_]; }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  std::string expect_name();
  [[noreturn]] void unexpected() const;
  void count_node();
  ExprPtr node(ExprKind kind, int line, std::string text = "");
  template <typename... Child>
  ExprPtr node_of(ExprKind kind, int line, std::string text, Child... children) {
    ExprPtr e = node(kind, line, std::move(text));
    (e->children.push_back(std::move(children)), ...);
    return e;
  }

  // Expressions, from loosest to tightest.
  ExprPtr parse_expression(bool with_condition = true);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter = true);
  ExprPtr parse_primary(bool with_namespace = false);
  ExprPtr parse_number();
  ExprPtr parse_postfix(ExprPtr e);
  ExprPtr parse_filter_or_test(ExprPtr e);
  ExprPtr parse_filters(ExprPtr e, bool starts_inline);
  ExprPtr parse_test(ExprPtr e);
  ExprPtr parse_subscript(ExprPtr e);
  ExprPtr parse_index();
  std::unique_ptr<CallArgs> parse_call_args();
  std::string parse_dotted_name();
  ExprPtr parse_tuple(bool with_condition, std::string_view end_name, bool in_parentheses = false);
  ExprPtr parse_target(std::string_view end_name, bool with_namespace);
  bool at_tuple_end(std::string_view end_name) const;
  ExprPtr parse_list();
  ExprPtr parse_dict();

  // Statements.
  using StmtPtr = std::unique_ptr<Stmt>;
  StmtPtr stmt(StmtKind kind, int line);
  void expect_block_end();
  // Parses until one of the end tags; the tag's name has been taken and is returned.
  std::string parse_body(Body& body, std::initializer_list<std::string_view> ends);
  void parse_hard_body(Body& body, std::string_view end);
  StmtPtr parse_statement();
  StmtPtr parse_if();
  StmtPtr parse_for();
  StmtPtr parse_set();
  StmtPtr parse_with();
  StmtPtr parse_macro();
  StmtPtr parse_call_block();
  StmtPtr parse_filter_block();
  StmtPtr parse_scope(std::string_view end);
  void parse_parameters(std::vector<Parameter>& parameters);
  void read_name(const std::string& name);

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  ParseLimits limits_;
  int depth_ = 0;
  int n_nodes_ = 0;
  int loop_depth_ = 0;
  bool is_soft_ = false;
  std::vector<UnknownName> unknown_;
  std::vector<std::string> names_;
};

}  // namespace olx::engine::jinja
