#pragma once
// The syntax tree of a Jinja template: two node types, expressions and statements, each with a kind and the few fields
// its kind uses (named beside the kind). Built by the parser, walked by the evaluator, immutable in between.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace olx::engine::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  kConst,      // literal
  kName,       // text
  kTuple,      // children
  kList,       // children
  kDict,       // children: key, value, key, value ...
  kAnd, kOr, kNot,   // children
  kNegative, kPositive,
  kBinary,     // text: + - * / // % **, children: left, right
  kConcat,     // children
  kCompare,    // children[0], then per operator: names[i] and children[i + 1]
  kCondition,  // children: test, then, else (null: undefined)
  kGetAttr,    // children[0], text
  kGetItem,    // children: object, index
  kSlice,      // children: start, stop, step (each may be null)
  kCall,       // children[0], call
  kFilter,     // text, children[0] (null inside a filter block), call
  kTest,       // text, children[0], call
  kNamespaceRef,  // text: the namespace, names[0]: its attribute; only as a target
};

struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keyword;
  ExprPtr star, star_star;  // *args, **kwargs
};

struct Expr {
  ExprKind kind;
  int line = 0;
  std::string text;
  std::variant<std::monostate, bool, int64_t, double, std::string> literal;
  std::vector<ExprPtr> children;
  std::vector<std::string> names;
  std::unique_ptr<CallArgs> call;

  // A long chain of operators is a tree as deep as it is long: it is taken down without recursion.
  ~Expr();
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Parameter {
  std::string name;
  ExprPtr default_value;  // null: none
};

enum class StmtKind {
  kText,       // text
  kOutput,     // expr
  kIf,         // branches; an else is a branch without a test
  kFor,        // target, expr, test (may be null), body, else_body, is_recursive
  kSet,        // target, expr
  kSetBlock,   // target, expr: filter chain or null, body
  kWith,       // assignments, body
  kMacro,      // text, parameters, body
  kCallBlock,  // expr: the call, parameters of the caller, body
  kFilterBlock,  // expr: filter chain, body
  kScope,      // body: block, generation, autoescape false
  kBreak, kContinue,
};

struct Branch {
  ExprPtr test;
  Body body;
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::string text;
  ExprPtr target, expr, test;
  Body body, else_body;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  std::vector<std::pair<ExprPtr, ExprPtr>> assignments;
  bool is_recursive = false;
  // Macros: which of the implicit variables the body names (Jinja2 accepts extra arguments only then).
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Template {
  Body body;
};

}  // namespace olx::engine::jinja
