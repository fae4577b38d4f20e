// Methods of dictionaries and lists, and the lookup over all method tables.

#include "engine/text/jinja/methods.h"

#include <algorithm>

namespace olx::engine::jinja {
namespace {

using B = BoundArgs;

Val view(Runtime& rt, Dict* dict, const char* name, int what) {
  std::vector<Val> items;
  items.reserve(dict->items.size());
  for (const auto& [key, value] : dict->items)
    items.push_back(what == 0 ? key : what == 1 ? value : Val(rt.new_list({key, value}, ListKind::kTuple)));
  return rt.new_list(std::move(items), ListKind::kView, name);
}

Val dict_pop(Runtime& rt, const Val& self, B& a) {
  Dict* dict = self.dict();
  if (const Val* found = dict->find(rt, a.at(0))) {
    Val value = *found;
    dict->erase(rt, a.at(0));
    return value;
  }
  if (a.has(1)) return a.at(1);
  rt.fail("KeyError: " + to_repr(rt, a.at(0)));
}

Val dict_update(Runtime& rt, const Val& self, B& a) {
  Args& args = a.raw();
  for (const Val& from : args.positional) {
    if (!from.dict()) rt.fail("update() expects a dict, got " + type_name(from));
    const auto items = from.dict()->items;
    for (const auto& [key, value] : items) self.dict()->set(rt, key, value);
  }
  for (const auto& [key, value] : args.keyword) self.dict()->set(rt, Val(key), value);
  return Val();
}

constexpr MethodRow kDictMethods[] = {
    {"items", "", [](Runtime& rt, const Val& s, B&) { return view(rt, s.dict(), "dict_items", 2); }},
    {"keys", "", [](Runtime& rt, const Val& s, B&) { return view(rt, s.dict(), "dict_keys", 0); }},
    {"values", "", [](Runtime& rt, const Val& s, B&) { return view(rt, s.dict(), "dict_values", 1); }},
    {"get", "key,default", [](Runtime& rt, const Val& s, B& a) {
       const Val* found = s.dict()->find(rt, a.at(0));
       return found ? *found : a.get(1, Val()); }},
    {"pop", "key,default", dict_pop},
    {"update", "*", dict_update},
    {"setdefault", "key,default", [](Runtime& rt, const Val& s, B& a) {
       if (const Val* found = s.dict()->find(rt, a.at(0))) return *found;
       s.dict()->set(rt, a.at(0), a.get(1, Val()));
       return a.get(1, Val()); }},
    {"copy", "", [](Runtime& rt, const Val& s, B&) {
       Dict* copy = rt.new_dict();
       for (const auto& [key, value] : s.dict()->items) copy->set(rt, key, value);
       return Val(copy); }},
    {"clear", "", [](Runtime& rt, const Val& s, B&) {
       while (!s.dict()->items.empty()) s.dict()->erase(rt, Val(s.dict()->items.back().first));
       return Val(); }},
};

size_t position(Runtime& rt, const List& list, int64_t i, bool clamps) {
  const auto n = static_cast<int64_t>(list.items.size());
  if (i < 0) i += n;
  if (clamps) return static_cast<size_t>(std::clamp<int64_t>(i, 0, n));
  if (i < 0 || i >= n) rt.fail("pop index out of range");
  return static_cast<size_t>(i);
}

size_t find_in_list(Runtime& rt, const List& list, const Val& item) {
  for (size_t i = 0; i < list.items.size(); ++i)
    if (equal(rt, list.items[i], item)) return i;
  rt.fail(to_repr(rt, item) + " is not in list");
}

constexpr MethodRow kListMethods[] = {
    {"append", "x", [](Runtime&, const Val& s, B& a) { s.list()->items.push_back(a.at(0)); return Val(); }},
    {"extend", "x", [](Runtime& rt, const Val& s, B& a) {
       for (Val& v : iterate(rt, a.at(0))) s.list()->items.push_back(std::move(v));
       return Val(); }},
    {"insert", "i,x", [](Runtime& rt, const Val& s, B& a) {
       auto& items = s.list()->items;
       rt.charge_items(items.size() / 8);
       items.insert(items.begin() + static_cast<ptrdiff_t>(position(rt, *s.list(), a.integer(0, 0), true)), a.at(1));
       return Val(); }},
    {"pop", "i", [](Runtime& rt, const Val& s, B& a) {
       auto& items = s.list()->items;
       if (items.empty()) rt.fail("pop from empty list");
       const size_t i = position(rt, *s.list(), a.integer(0, -1), false);
       Val v = items[i];
       rt.charge_items(items.size() / 8);
       items.erase(items.begin() + static_cast<ptrdiff_t>(i));
       return v; }},
    {"remove", "x", [](Runtime& rt, const Val& s, B& a) {
       auto& items = s.list()->items;
       items.erase(items.begin() + static_cast<ptrdiff_t>(find_in_list(rt, *s.list(), a.at(0))));
       return Val(); }},
    {"reverse", "", [](Runtime& rt, const Val& s, B&) {
       rt.charge_items(s.list()->items.size());
       std::reverse(s.list()->items.begin(), s.list()->items.end());
       return Val(); }},
    {"copy", "", [](Runtime& rt, const Val& s, B&) { return Val(rt.new_list(s.list()->items)); }},
    {"clear", "", [](Runtime&, const Val& s, B&) { s.list()->items.clear(); return Val(); }},
    {"sort", "key,reverse", [](Runtime& rt, const Val& s, B& a) {
       if (!a.is_none(0)) rt.unsupported("list.sort(key=...) is not supported");
       const bool reverse = a.boolean(1, false);
       sort_values(rt, s.list()->items, reverse, [](const Val& v) { return v; });
       return Val(); }},
};

// What tuples have as well.
constexpr MethodRow kSequenceMethods[] = {
    {"index", "x", [](Runtime& rt, const Val& s, B& a) { return Val(find_in_list(rt, *s.list(), a.at(0))); }},
    {"count", "x", [](Runtime& rt, const Val& s, B& a) {
       int64_t n = 0;
       for (const Val& v : s.list()->items) n += equal(rt, v, a.at(0));
       return Val(n); }},
};

template <size_t N>
const MethodRow* find_row(const MethodRow (&rows)[N], std::string_view name) {
  for (const MethodRow& row : rows)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace

void sort_values(Runtime& rt, std::vector<Val>& items, bool reverse, const std::function<Val(const Val&)>& key) {
  rt.charge_items(items.size());
  std::vector<std::pair<Val, Val>> keyed;
  keyed.reserve(items.size());
  for (Val& v : items) keyed.emplace_back(key(v), v);
  // Insertion into place by merge keeps the order of equals, in both directions, as Python's sort does.
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return compare(rt, reverse ? b.first : a.first, reverse ? a.first : b.first, "<") == -1;
  });
  for (size_t i = 0; i < items.size(); ++i) items[i] = std::move(keyed[i].second);
}

bool bind_method(Runtime& rt, const Val& object, std::string_view name, Val& out) {
  const MethodRow* row = nullptr;
  if (object.string()) row = find_string_method(name);
  else if (object.dict() && !object.dict()->is_namespace) row = find_row(kDictMethods, name);
  else if (object.list() && object.list()->kind <= ListKind::kRange) {
    row = find_row(kSequenceMethods, name);
    if (!row && object.list()->kind == ListKind::kList) row = find_row(kListMethods, name);
  }
  if (!row) return false;
  out = Val(rt.new_callable("built-in method " + std::string(name), [row, object](Runtime& r, Args& args) {
    BoundArgs bound(r, row->name, row->parameters, args);
    r.step();
    return row->run(r, object, bound);
  }));
  return true;
}

}  // namespace olx::engine::jinja
