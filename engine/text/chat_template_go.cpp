// The Go template of a TEMPLATE layer, run by Ollama's rules: which variables there are, how messages are collated, how a
// template of the older kind (.System .Prompt .Response) is run over a conversation (template.Template.Execute of Ollama).

#include <algorithm>

#include "engine/error.h"
#include "engine/text/chat_template.h"
#include "engine/text/gotemplate/executor.h"
#include "engine/text/gotemplate/parser.h"

namespace olx::engine {
namespace {

using gotemplate::Executor;

bool names(const gotemplate::Template& tree, std::string_view name) {
  return std::find(tree.names.begin(), tree.names.end(), name) != tree.names.end();
}

// A template that prints neither the messages nor the answer gets {{ .Response }} at its end.
gotemplate::Template parse_chat(std::string_view source) {
  gotemplate::Template tree = gotemplate::parse(source);
  if (!names(tree, "Messages") && !names(tree, "Response")) tree = gotemplate::parse(std::string(source) + "{{ .Response }}");
  return tree;
}

// Maps in Go print their keys sorted.
Value sorted(const Value& v, int depth = 0) {
  if (depth > 100) throw EngineError(ErrorCode::kInvalidRequest, "a tool or argument is nested deeper than the limit of 100");
  if (const ValueList* list = v.as_list()) {
    ValueList out;
    for (const Value& item : *list) out.push_back(sorted(item, depth + 1));
    return out;
  }
  const ValueMap* map = v.as_map();
  if (!map) return v;
  ValueMap out;
  for (const auto& [name, item] : *map) out.emplace_back(name, sorted(item, depth + 1));
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

// The members of a structure in the order Ollama declares them (api/types.go), which its JSON keeps.
ValueMap pick(const Value& v, std::initializer_list<const char*> order) {
  ValueMap out;
  for (const char* name : order)
    if (const Value* found = v.find(name)) out.emplace_back(name, sorted(*found));
  return out;
}

void replace_member(ValueMap& map, std::string_view name, Value value) {
  const auto member = std::find_if(map.begin(), map.end(), [&](const auto& entry) { return entry.first == name; });
  if (member != map.end()) member->second = std::move(value);
}

Value tool_property(const Value& v, int depth = 0) {
  ValueMap out = pick(v, {"anyOf", "type", "items", "description", "enum", "properties", "required"});
  if (const Value* nested = v.find("properties"); nested && nested->as_map() && depth < 64) {
    ValueMap inner;
    const Value ordered = sorted(*nested);
    for (const auto& [name, item] : *ordered.as_map()) inner.emplace_back(name, tool_property(*nested->find(name), depth + 1));
    replace_member(out, "properties", Value(std::move(inner)));
  }
  return out;
}

Value tools_value(const Value& tools) {
  ValueList out;
  if (!tools.as_list()) return out;
  for (const Value& tool : *tools.as_list()) {
    ValueMap map = pick(tool, {"type", "items", "function"});
    if (const Value* function = tool.find("function")) {
      ValueMap inner = pick(*function, {"name", "description", "parameters"});
      // Structures in Go are never missing: an absent one prints its zero values.
      if (!function->find("parameters"))
        inner.emplace_back("parameters", Value(ValueMap{{"type", Value("")}, {"properties", Value()}}));
      if (const Value* parameters = function->find("parameters")) {
        ValueMap fields = pick(*parameters, {"type", "$defs", "items", "required", "properties"});
        const Value property = tool_property(*parameters);
        if (const Value* properties = property.find("properties")) replace_member(fields, "properties", *properties);
        replace_member(inner, "parameters", Value(std::move(fields)));
      }
      replace_member(map, "function", Value(std::move(inner)));
    }
    out.push_back(Value(std::move(map)));
  }
  return out;
}

Value go_tool_calls(const std::vector<ToolCall>& calls) {
  ValueList out;
  for (size_t i = 0; i < calls.size(); ++i) {
    ValueMap function;
    function.emplace_back("Index", Value(static_cast<int64_t>(i)));
    function.emplace_back("Name", Value(calls[i].name));
    function.emplace_back("Arguments", calls[i].arguments.is_null() ? Value(ValueMap{}) : sorted(calls[i].arguments));
    ValueMap call;
    call.emplace_back("ID", Value(calls[i].id));
    call.emplace_back("Function", Value(std::move(function)));
    out.push_back(Value(std::move(call)));
  }
  return out;
}

Value go_message(const ChatMessage& m) {
  ValueMap map;
  map.emplace_back("Role", Value(m.role));
  map.emplace_back("Content", Value(m.content));
  map.emplace_back("Thinking", Value(m.thinking));
  ValueList images;
  for (size_t i = 0; i < m.images.size(); ++i) images.emplace_back("[img]");
  map.emplace_back("Images", Value(std::move(images)));
  map.emplace_back("ToolCalls", go_tool_calls(m.tool_calls));
  map.emplace_back("ToolName", Value(m.tool_name));
  map.emplace_back("ToolCallID", Value(m.tool_call_id));
  return map;
}

// Neighbours of the same role become one message; all system texts together are .System.
std::vector<ChatMessage> collate(const std::vector<ChatMessage>& messages, std::string& system) {
  std::vector<ChatMessage> out;
  for (const ChatMessage& m : messages) {
    if (m.role == "system") system += (system.empty() ? "" : "\n\n") + m.content;
    if (out.empty() || out.back().role != m.role || m.role == "tool") {
      out.push_back(m);
      continue;
    }
    out.back().content += "\n\n" + m.content;
    out.back().tool_calls.insert(out.back().tool_calls.end(), m.tool_calls.begin(), m.tool_calls.end());
    out.back().images.insert(out.back().images.end(), m.images.begin(), m.images.end());
  }
  return out;
}

void add_thinking(ValueMap& map, const ChatRequest& request) {
  const bool thinks = request.think.value_or(false) || !request.think_level.empty();
  map.emplace_back("Think", Value(thinks));
  map.emplace_back("ThinkLevel", Value(!request.think_level.empty() ? request.think_level : thinks ? "medium" : ""));
  map.emplace_back("IsThinkSet", Value(request.think.has_value() || !request.think_level.empty()));
}

class LegacyRun {
 public:
  LegacyRun(const gotemplate::Template& tree, const ChatRequest& request, const TemplateLimits& limits)
      : tree_(tree), request_(request), limits_(limits) {}

  std::string run(const std::vector<ChatMessage>& messages) {
    for (const ChatMessage& m : messages) {
      if (m.role == "system") {
        if (!prompt_.empty() || !response_.empty()) execute(false);
        system_ = m.content;
      } else if (m.role == "user") {
        if (!response_.empty()) execute(false);
        prompt_ = m.content;
      } else if (m.role == "assistant") {
        response_ = m.content;
      }
    }
    execute(true);
    return std::move(out_);
  }

 private:
  void execute(bool is_last) {
    ValueMap map;
    map.emplace_back("System", Value(system_));
    map.emplace_back("Prompt", Value(prompt_));
    map.emplace_back("Response", Value(response_));
    add_thinking(map, request_);
    Executor(tree_, limits_).run(Value(std::move(map)), is_last, out_);
    system_.clear();
    prompt_.clear();
    response_.clear();
  }

  const gotemplate::Template& tree_;
  const ChatRequest& request_;
  TemplateLimits limits_;
  std::string system_, prompt_, response_, out_;
};

std::string render_request(const gotemplate::Template& tree, const ChatRequest& request, const TemplateLimits& limits) {
  std::string system;
  const std::vector<ChatMessage> messages = collate(request.messages, system);
  if (!names(tree, "Messages")) return LegacyRun(tree, request, limits).run(messages);
  ValueList list;
  for (const ChatMessage& m : messages) list.push_back(go_message(m));
  ValueMap map;
  map.emplace_back("System", Value(system));
  map.emplace_back("Messages", Value(std::move(list)));
  map.emplace_back("Tools", tools_value(request.tools));
  map.emplace_back("Response", Value(""));
  add_thinking(map, request);
  std::string out;
  Executor(tree, limits).run(Value(std::move(map)), false, out);
  return out;
}

class GoChatTemplate : public ChatTemplate {
 public:
  explicit GoChatTemplate(std::string_view source) : tree_(parse_chat(source)) {}
  std::string render(const ChatRequest& request) const override {
    return render_request(tree_, request, {});
  }

 private:
  gotemplate::Template tree_;
};

const Value* find_either(const Value& v, const char* lower, const char* upper) {
  const Value* found = v.find(lower);
  return found ? found : v.find(upper);
}

std::string text_of(const Value& v, const char* lower, const char* upper) {
  const Value* found = find_either(v, lower, upper);
  return found && found->as_string() ? *found->as_string() : "";
}

// A conversation written as JSON, with the names of the HTTP API or of the template's variables.
ChatRequest request_from(const Value& variables, const ValueList& messages) {
  ChatRequest request;
  for (const Value& v : messages) {
    ChatMessage m;
    m.role = text_of(v, "role", "Role");
    m.content = text_of(v, "content", "Content");
    m.thinking = text_of(v, "thinking", "Thinking");
    m.tool_name = text_of(v, "tool_name", "ToolName");
    m.tool_call_id = text_of(v, "tool_call_id", "ToolCallID");
    if (const Value* calls = find_either(v, "tool_calls", "ToolCalls"); calls && calls->as_list()) {
      for (const Value& c : *calls->as_list()) {
        const Value* function = find_either(c, "function", "Function");
        if (!function) continue;
        const Value* arguments = find_either(*function, "arguments", "Arguments");
        m.tool_calls.push_back({text_of(c, "id", "ID"), text_of(*function, "name", "Name"), arguments ? *arguments : Value()});
      }
    }
    if (const Value* images = find_either(v, "images", "Images"); images && images->as_list())
      m.images.resize(images->as_list()->size());
    request.messages.push_back(std::move(m));
  }
  if (const std::string system = text_of(variables, "system", "System"); !system.empty())
    if (std::none_of(request.messages.begin(), request.messages.end(), [](const ChatMessage& m) { return m.role == "system"; }))
      request.messages.insert(request.messages.begin(), ChatMessage{.role = "system", .content = system});
  if (const Value* tools = find_either(variables, "tools", "Tools")) request.tools = *tools;
  if (const Value* think = find_either(variables, "think", "Think"); think && think->as_bool()) request.think = *think->as_bool();
  request.think_level = text_of(variables, "think_level", "ThinkLevel");
  return request;
}

}  // namespace

std::string render_go_template(std::string_view source, const Value& variables, const TemplateLimits& limits) {
  // With a conversation among the variables the template is run as for a chat; otherwise once, over the variables as given.
  if (const Value* messages = find_either(variables, "messages", "Messages"); messages && messages->as_list()) {
    const bool has_roles = std::all_of(messages->as_list()->begin(), messages->as_list()->end(),
                                       [](const Value& m) { return find_either(m, "role", "Role") != nullptr; });
    if (has_roles) return render_request(parse_chat(source), request_from(variables, *messages->as_list()), limits);
  }
  const gotemplate::Template tree = gotemplate::parse(source);
  std::string out;
  Executor(tree, limits).run(sorted(variables), false, out);
  return out;
}

std::unique_ptr<ChatTemplate> make_go_chat_template(std::string_view source) {
  return std::make_unique<GoChatTemplate>(source);
}

}  // namespace olx::engine
