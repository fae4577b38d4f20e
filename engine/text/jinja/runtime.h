#pragma once
// What Jinja code computes with: Val (a Python object as far as templates can see one) and Runtime, which owns every list
// and dictionary of one rendering and counts its limits. Used by the evaluator, filters, tests and methods; one rendering
// has one Runtime and one thread. Not the Value of the engine's door: from_value() converts.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "engine/text/chat_template.h"
#include "engine/value.h"

namespace olx::engine::jinja {

class Runtime;
struct List;
struct Dict;
struct Callable;

struct Undefined {
  std::string what;  // "'x' is undefined": the message when it is used
};

// Strings are immutable and shared by many owners (variables, lists, the tree's literals), as in Python.
struct Str {
  std::shared_ptr<const std::string> text;
  bool is_markup = false;  // markupsafe.Markup: '+' escapes the other operand
};

class Val {
 public:
  Val() = default;  // None
  Val(Undefined u) : data_(std::move(u)) {}
  Val(bool b) : data_(b) {}
  Val(int i) : data_(static_cast<int64_t>(i)) {}
  Val(int64_t i) : data_(i) {}
  Val(size_t i) : data_(static_cast<int64_t>(i)) {}
  Val(double d) : data_(d) {}
  Val(std::string s) : data_(Str{std::make_shared<const std::string>(std::move(s))}) {}
  Val(std::string_view s) : Val(std::string(s)) {}
  Val(const char* s) : Val(std::string(s)) {}
  Val(Str s) : data_(std::move(s)) {}
  Val(List* list) : data_(list) {}
  Val(Dict* dict) : data_(dict) {}
  Val(Callable* callable) : data_(callable) {}

  bool is_none() const { return std::holds_alternative<std::monostate>(data_); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const std::string* string() const {
    const Str* s = std::get_if<Str>(&data_);
    return s ? s->text.get() : nullptr;
  }
  const Str* str() const { return std::get_if<Str>(&data_); }
  bool is_markup() const { return str() && str()->is_markup; }
  List* list() const { return pointer<List>(); }
  Dict* dict() const { return pointer<Dict>(); }
  Callable* callable() const { return pointer<Callable>(); }
  bool is_number() const { return boolean() || integer() || real(); }

 private:
  template <typename T>
  T* pointer() const {
    T* const* p = std::get_if<T*>(&data_);
    return p ? *p : nullptr;
  }
  std::variant<std::monostate, Undefined, bool, int64_t, double, Str, List*, Dict*, Callable*> data_;
};

enum class ListKind { kList, kTuple, kRange, kView, kGenerator };

// name of the tuples that groupby makes: they also answer to .grouper and .list.
inline constexpr const char* kGroupTuple = "group";

struct List {
  std::vector<Val> items;
  ListKind kind = ListKind::kList;
  std::string name;  // "dict_keys" for a view, "range(0, 3)" for a range
  bool is_indexable() const { return kind <= ListKind::kRange; }
};

// A dict, or a namespace() when is_namespace. Insertion order; an index of hashed keys appears when it grows.
struct Dict {
  std::vector<std::pair<Val, Val>> items;
  bool is_namespace = false;
  Val* find(Runtime& rt, const Val& key);
  Val* find(std::string_view key);
  void set(Runtime& rt, const Val& key, Val value);
  bool erase(Runtime& rt, const Val& key);

 private:
  std::unordered_map<std::string, size_t> index_;  // empty while small
};

struct Args {
  std::vector<Val> positional;
  std::vector<std::pair<std::string, Val>> keyword;
};

// Anything that can be called or that carries attributes of its own: functions, bound methods, macros, loop, cycler, joiner.
struct Callable {
  std::string name;
  std::function<Val(Runtime&, Args&)> call;                   // empty: not callable
  std::function<bool(Runtime&, std::string_view, Val&)> get;  // an attribute; false: none
};

// A rendering's clock: fields as strftime wants them.
struct RenderClock {
  int64_t unix_seconds = -1;   // < 0: the present
  bool is_utc = false;         // else the machine's time zone
};

class Runtime {
 public:
  Runtime(const TemplateLimits& limits, const RenderClock& clock) : limits_(limits), clock_(clock) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Fuel: one step a node, and one for every 64 bytes or element that a builtin makes.
  void step(int64_t n = 1) {
    steps_ += n;
    if (steps_ > limits_.max_steps) fail_steps();
  }
  void charge_bytes(size_t n) { step(static_cast<int64_t>(n / 64) + 1); }
  void charge_items(size_t n) { step(static_cast<int64_t>(n) + 1); }
  // Room for a string of n bytes that a builtin is about to build.
  void check_size(double n_bytes) const;

  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void unsupported(const std::string& what) const;

  List* new_list(std::vector<Val> items = {}, ListKind kind = ListKind::kList, std::string name = "");
  Dict* new_dict();
  Callable* new_callable(std::string name, std::function<Val(Runtime&, Args&)> call);

  int line = 1;
  const TemplateLimits& limits() const { return limits_; }
  const RenderClock& clock() const { return clock_; }

  // Recursion of the evaluator and of walks over nested values.
  class Depth {
   public:
    explicit Depth(Runtime& rt);
    ~Depth() { --rt_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Runtime& rt_;
  };

 private:
  [[noreturn]] void fail_steps() const;
  TemplateLimits limits_;
  RenderClock clock_;
  int64_t steps_ = 0;
  int depth_ = 0;
  // Values point into these; everything goes at once when the rendering ends, so that cycles and deep nests are harmless.
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Callable> callables_;
};

Val from_value(Runtime& rt, const Value& value);

bool is_true(const Val& v);
bool equal(Runtime& rt, const Val& a, const Val& b);
// Python's ordering: < 0, 0, > 0; fails for types that have none. NaN: returns 2.
int compare(Runtime& rt, const Val& a, const Val& b, std::string_view op);
bool contains(Runtime& rt, const Val& container, const Val& item);
std::string type_name(const Val& v);
// An identity of hashable values: equal keys have equal text (1, 1.0 and True are one key).
std::string hash_key(Runtime& rt, const Val& v);

// Elements, as Python's iter() would give; consumes a generator. Fails for what cannot be iterated.
std::vector<Val> iterate(Runtime& rt, const Val& v);
size_t length(Runtime& rt, const Val& v);
[[noreturn]] void fail_undefined(const Runtime& rt, const Val& v);

// str(v) and repr(v).
std::string to_text(Runtime& rt, const Val& v);
std::string to_repr(Runtime& rt, const Val& v);
std::string real_text(double d);
std::string escape_html(std::string_view text);

// Attribute and subscript lookups in Jinja2's order, and a bound method or an Undefined in their place.
Val get_attribute(Runtime& rt, const Val& object, const std::string& name);
Val get_item(Runtime& rt, const Val& object, const Val& index);
Val get_slice(Runtime& rt, const Val& object, const Val& start, const Val& stop, const Val& step);
// A built-in method of a string, list or dict bound to it; false where there is none of that name.
bool bind_method(Runtime& rt, const Val& object, std::string_view name, Val& out);

Val call_value(Runtime& rt, const Val& callee, Args& args);

// Operators: + - * / // % **.
Val binary(Runtime& rt, std::string_view op, const Val& a, const Val& b);
Val percent_format(Runtime& rt, const std::string& format, const Val& args);
std::string brace_format(Runtime& rt, const std::string& format, Args& args);
// The mini-language after ':' in format strings.
std::string format_value(Runtime& rt, const Val& v, std::string_view spec);
std::string write_json(Runtime& rt, const Val& v, Args& options);

}  // namespace olx::engine::jinja
