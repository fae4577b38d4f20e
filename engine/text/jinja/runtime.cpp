#include "engine/text/jinja/runtime.h"

#include "engine/text/jinja/error.h"

namespace olx::engine::jinja {

// One level of syntax is one frame of the evaluator and a few of C++ (about 2 KB together), so that 8 levels for every
// level of source nesting stay far from the end of an 8 MiB stack.
constexpr int kFramesPerLevel = 8;

Runtime::Depth::Depth(Runtime& rt) : rt_(rt) {
  if (++rt.depth_ > rt.limits_.max_depth * kFramesPerLevel) {
    --rt.depth_;
    rt.fail("recursion deeper than the limit of " +
            std::to_string(rt.limits_.max_depth * kFramesPerLevel));
  }
}

void Runtime::fail(const std::string& what) const { run_error(line, what); }

void Runtime::unsupported(const std::string& what) const { syntax_error(line, what); }

void Runtime::fail_steps() const {
  fail("more steps than the limit of " + std::to_string(limits_.max_steps));
}

void Runtime::check_size(double n_bytes) const {
  if (n_bytes > static_cast<double>(limits_.max_output_bytes))
    fail("a string longer than the limit of " + std::to_string(limits_.max_output_bytes) + " bytes");
}

List* Runtime::new_list(std::vector<Val> items, ListKind kind, std::string name) {
  charge_items(items.size());
  return &lists_.emplace_back(List{std::move(items), kind, std::move(name)});
}

Dict* Runtime::new_dict() {
  step();
  return &dicts_.emplace_back();
}

Callable* Runtime::new_callable(std::string name, std::function<Val(Runtime&, Args&)> call) {
  step();
  return &callables_.emplace_back(Callable{std::move(name), std::move(call), {}});
}

constexpr size_t kIndexFrom = 8;

Val* Dict::find(std::string_view key) {
  if (!index_.empty()) {
    const auto it = index_.find("s" + std::string(key));
    return it == index_.end() ? nullptr : &items[it->second].second;
  }
  for (auto& [name, value] : items)
    if (name.string() && *name.string() == key) return &value;
  return nullptr;
}

Val* Dict::find(Runtime& rt, const Val& key) {
  if (key.string()) return find(*key.string());
  const std::string wanted = hash_key(rt, key);
  if (!index_.empty()) {
    const auto it = index_.find(wanted);
    return it == index_.end() ? nullptr : &items[it->second].second;
  }
  for (auto& [name, value] : items)
    if (hash_key(rt, name) == wanted) return &value;
  return nullptr;
}

void Dict::set(Runtime& rt, const Val& key, Val value) {
  if (Val* old = find(rt, key)) {
    *old = std::move(value);
    return;
  }
  std::string hash = hash_key(rt, key);
  items.emplace_back(key, std::move(value));
  if (!index_.empty()) {
    index_.emplace(std::move(hash), items.size() - 1);
  } else if (items.size() > kIndexFrom) {
    for (size_t i = 0; i < items.size(); ++i) index_.emplace(hash_key(rt, items[i].first), i);
  }
}

bool Dict::erase(Runtime& rt, const Val& key) {
  const Val* found = find(rt, key);
  if (!found) return false;
  size_t i = 0;
  while (&items[i].second != found) ++i;
  rt.charge_items(items.size());
  items.erase(items.begin() + static_cast<ptrdiff_t>(i));
  index_.clear();
  if (items.size() > kIndexFrom)
    for (size_t k = 0; k < items.size(); ++k) index_.emplace(hash_key(rt, items[k].first), k);
  return true;
}

Val from_value(Runtime& rt, const Value& value) {
  if (value.is_null()) return Val();
  if (const bool* b = value.as_bool()) return Val(*b);
  if (const int64_t* i = value.as_int()) return Val(*i);
  if (const double* d = value.as_double()) return Val(*d);
  if (const std::string* s = value.as_string()) return Val(*s);
  Runtime::Depth depth(rt);
  if (const ValueList* list = value.as_list()) {
    std::vector<Val> items;
    items.reserve(list->size());
    for (const Value& item : *list) items.push_back(from_value(rt, item));
    return Val(rt.new_list(std::move(items)));
  }
  Dict* dict = rt.new_dict();
  for (const auto& [name, item] : *value.as_map()) dict->set(rt, Val(name), from_value(rt, item));
  return Val(dict);
}

}  // namespace olx::engine::jinja
