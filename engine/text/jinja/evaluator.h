#pragma once
// Walks a syntax tree and writes the rendering. One Evaluator is one rendering. Used by jinja.cpp only.

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/ast.h"
#include "engine/text/jinja/loop.h"
#include "engine/text/jinja/runtime.h"

namespace olx::engine::jinja {

// Names visible at a point: blocks that open a frame (for, with, macro ...) chain to the one around them. Kept in an arena
// until the rendering ends, since macros keep the scope they were made in.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Val>> names;
  const Val* find_here(std::string_view name) const;
  const Val* find(std::string_view name) const;
  void set(std::string_view name, Val value);
};

class Evaluator {
 public:
  Evaluator(Runtime& rt, std::string& out) : rt_(rt), out_(&out) {}
  void run(const Template& tree, const Value& variables);

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  Scope* new_scope(Scope* parent);
  Flow run_body(const Body& body, Scope* scope);
  Flow run_stmt(const Stmt& s, Scope* scope);
  Flow run_if(const Stmt& s, Scope* scope);
  void run_for(const Stmt& s, Scope* scope);
  void run_loop(const Stmt& s, Scope* scope, const Val& iterable, int depth);
  void run_with(const Stmt& s, Scope* scope);
  void run_call_block(const Stmt& s, Scope* scope);
  Val make_macro(const Stmt& s, Scope* scope, std::string name);
  Val call_macro(const Stmt& s, Scope* scope, const std::string& name, Args& args);
  void assign(const Expr& target, const Val& value, Scope* scope);
  // The body's output as a string.
  std::string capture(const Body& body, Scope* scope);
  void write(std::string_view text);

  Val eval(const Expr& e, Scope* scope);
  Val eval_name(const Expr& e, Scope* scope);
  Val eval_list(const Expr& e, Scope* scope, ListKind kind);
  Val eval_dict(const Expr& e, Scope* scope);
  Val eval_concat(const Expr& e, Scope* scope);
  Val eval_compare(const Expr& e, Scope* scope);
  Val eval_subscript(const Expr& e, Scope* scope);
  Val eval_call(const Expr& e, Scope* scope);
  Val eval_sign(const Expr& e, Scope* scope);
  Val eval_filter(const Expr& e, Scope* scope, const Val* piped);
  Args eval_args(const CallArgs* call, Scope* scope);

  Runtime& rt_;
  std::string* out_;
  std::deque<Scope> scopes_;
  std::deque<LoopState> loops_;
};

}  // namespace olx::engine::jinja
