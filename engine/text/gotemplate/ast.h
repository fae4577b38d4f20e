#pragma once
// The syntax tree of a Go text/template. Built by the parser, walked by the executor, immutable in between.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/value.h"

namespace olx::engine::gotemplate {

struct Pipeline;

enum class OperandKind {
  kLiteral,   // literal (null: nil)
  kDot,       // "." then fields
  kVariable,  // text: "$name" then fields
  kFunction,  // text: its name
  kPipeline,  // (pipeline) then fields
};

struct Operand {
  OperandKind kind = OperandKind::kLiteral;
  int line = 0;
  std::string text;
  Value literal;
  std::unique_ptr<Pipeline> pipeline;
  std::vector<std::string> fields;
};

struct Command {
  std::vector<Operand> operands;  // [0] is a function when there are more
};

struct Pipeline {
  int line = 0;
  std::vector<std::string> variables;  // "$x", or "$i", "$x" in a range
  bool is_assignment = false;          // '=' rather than ':='
  std::vector<Command> commands;
};

struct Node;
using NodeList = std::vector<std::unique_ptr<Node>>;

enum class NodeKind { kText, kAction, kIf, kRange, kWith, kTemplate, kBreak, kContinue };

struct Node {
  NodeKind kind;
  int line = 0;
  int order = 0;               // position in the text: what "cut after .Response" compares
  std::string text;            // text; name for kTemplate
  std::unique_ptr<Pipeline> pipeline;
  NodeList body, else_body;
};

struct Template {
  NodeList root;
  std::map<std::string, NodeList> defined;
  // Field and variable names used anywhere, and the first node that names .Response (-1: none).
  std::vector<std::string> names;
  int response_order = -1;
  int n_nodes = 0;
};

}  // namespace olx::engine::gotemplate
