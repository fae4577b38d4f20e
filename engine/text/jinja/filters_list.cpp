// Filters over sequences and mappings.

#include <algorithm>

#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/methods.h"
#include "engine/text/jinja/tests.h"
#include "engine/text/jinja/unicode_text.h"
#include "gguf/ascii.h"

namespace olx::engine::jinja {
namespace {

using B = BoundArgs;

Val generator(Runtime& rt, std::vector<Val> items) { return rt.new_list(std::move(items), ListKind::kGenerator); }

// "a.b.0": item['a']['b'][0] (jinja2.filters.make_attrgetter). none: the item itself.
Val get_path(Runtime& rt, Val item, const Val& path, const Val& otherwise) {
  if (path.is_none()) return item;
  if (!path.string()) {
    Val found = get_item(rt, item, path);
    return found.undefined() && !otherwise.is_none() ? otherwise : found;
  }
  const std::string& text = *path.string();
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('.', start), text.size());
    const std::string part = text.substr(start, end - start);
    const bool is_index = part.size() < 10 && ascii::is_number(part);
    item = get_item(rt, item, is_index ? Val(static_cast<int64_t>(std::stoll(part))) : Val(part));
    if (item.undefined() && !otherwise.is_none()) item = otherwise;
    start = end + 1;
  }
  return item;
}

Val ignore_case(const Val& v) { return v.string() ? Val(to_lower(*v.string())) : v; }

std::function<Val(const Val&)> key_of(Runtime& rt, const Val& path, bool case_sensitive) {
  return [&rt, path, case_sensitive](const Val& v) {
    const Val key = get_path(rt, v, path, Val());
    return case_sensitive ? key : ignore_case(key);
  };
}

Val sort(Runtime& rt, const Val& v, B& a) {
  std::vector<Val> items = iterate(rt, v);
  const bool case_sensitive = a.boolean(1, false);
  const Val path = a.get(2, Val());
  if (!path.string() || path.string()->find(',') == std::string::npos) {
    sort_values(rt, items, a.boolean(0, false), key_of(rt, path, case_sensitive));
    return rt.new_list(std::move(items));
  }
  std::vector<Val> paths;
  Args comma;
  comma.positional = {Val(",")};
  paths = iterate(rt, call_value(rt, get_attribute(rt, path, "split"), comma));
  sort_values(rt, items, a.boolean(0, false), [&](const Val& item) {
    std::vector<Val> keys;
    for (const Val& p : paths) keys.push_back(key_of(rt, p, case_sensitive)(item));
    return Val(rt.new_list(std::move(keys)));
  });
  return rt.new_list(std::move(items));
}

Val dictsort(Runtime& rt, const Val& v, B& a) {
  const bool case_sensitive = a.boolean(0, false);
  const std::string by = a.text(1, "key");
  if (by != "key" && by != "value") rt.fail("You can only sort by either \"key\" or \"value\"");
  if (v.undefined()) fail_undefined(rt, v);
  if (!v.dict()) rt.fail("'" + type_name(v) + "' object has no attribute 'items'");
  std::vector<Val> pairs;
  for (const auto& [key, value] : v.dict()->items) pairs.emplace_back(rt.new_list({key, value}, ListKind::kTuple));
  sort_values(rt, pairs, a.boolean(2, false), [&](const Val& pair) {
    const Val& key = pair.list()->items[by == "key" ? 0 : 1];
    return case_sensitive ? key : ignore_case(key);
  });
  return rt.new_list(std::move(pairs));
}

Val unique(Runtime& rt, const Val& v, B& a) {
  const auto key = key_of(rt, a.get(1, Val()), a.boolean(0, false));
  Dict* seen = rt.new_dict();
  std::vector<Val> out;
  for (Val& item : iterate(rt, v)) {
    const Val k = key(item);
    if (seen->find(rt, k)) continue;
    seen->set(rt, k, Val(true));
    out.push_back(std::move(item));
  }
  return generator(rt, std::move(out));
}

Val extreme(Runtime& rt, const Val& v, B& a, int wanted) {
  const auto key = key_of(rt, a.get(1, Val()), a.boolean(0, false));
  const std::vector<Val> items = iterate(rt, v);
  if (items.empty()) return Undefined{"No aggregated item, sequence was empty."};
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i)
    if (compare(rt, key(items[i]), key(items[best]), wanted < 0 ? "<" : ">") == wanted) best = i;
  return items[best];
}

Val groupby(Runtime& rt, const Val& v, B& a) {
  const Val path = a.at(0), otherwise = a.get(1, Val());
  const bool case_sensitive = a.boolean(2, false);
  const auto raw_key = [&](const Val& item) { return get_path(rt, item, path, otherwise); };
  const auto key = [&](const Val& item) { return case_sensitive ? raw_key(item) : ignore_case(raw_key(item)); };
  std::vector<Val> items = iterate(rt, v);
  sort_values(rt, items, false, key);
  std::vector<Val> groups;
  for (size_t i = 0; i < items.size();) {
    std::vector<Val> members;
    const Val k = key(items[i]);
    const Val grouper = raw_key(items[i]);
    for (; i < items.size() && equal(rt, key(items[i]), k); ++i) members.push_back(items[i]);
    groups.emplace_back(rt.new_list({grouper, Val(rt.new_list(std::move(members)))}, ListKind::kTuple, kGroupTuple));
  }
  return rt.new_list(std::move(groups));
}

Val join(Runtime& rt, const Val& v, B& a) {
  const std::string separator = a.has(0) ? to_text(rt, a.at(0)) : "";
  const Val path = a.get(1, Val());
  std::string out;
  bool is_first = true;
  for (const Val& item : iterate(rt, v)) {
    if (!is_first) out += separator;
    is_first = false;
    out += to_text(rt, get_path(rt, item, path, Val()));
    rt.check_size(static_cast<double>(out.size()));
  }
  rt.charge_bytes(out.size());
  return Val(std::move(out));
}

Val sum(Runtime& rt, const Val& v, B& a) {
  const Val path = a.get(0, Val());
  Val total = a.get(1, Val(0));
  if (total.string()) rt.fail("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Val& item : iterate(rt, v)) total = binary(rt, "+", total, get_path(rt, item, path, Val()));
  return total;
}

Val first(Runtime& rt, const Val& v, B&) {
  if (v.list() && v.list()->is_indexable() && !v.list()->items.empty()) return v.list()->items[0];
  if (v.list() && v.list()->kind == ListKind::kGenerator && !v.list()->items.empty()) {
    Val item = v.list()->items[0];
    v.list()->items.erase(v.list()->items.begin());
    return item;
  }
  const std::vector<Val> items = iterate(rt, v);
  return items.empty() ? Val(Undefined{"No first item, sequence was empty."}) : items[0];
}

Val last(Runtime& rt, const Val& v, B&) {
  if (v.list() && v.list()->kind == ListKind::kGenerator) rt.fail("'generator' object is not reversible");
  if (v.list() && !v.list()->items.empty()) return v.list()->items.back();
  const std::vector<Val> items = iterate(rt, v);
  return items.empty() ? Val(Undefined{"No last item, sequence was empty."}) : items.back();
}

Val reverse(Runtime& rt, const Val& v, B&) {
  if (v.list() && v.list()->kind == ListKind::kGenerator) {
    std::vector<Val> items = iterate(rt, v);
    std::reverse(items.begin(), items.end());
    return rt.new_list(std::move(items));
  }
  std::vector<Val> items = iterate(rt, v);
  std::reverse(items.begin(), items.end());
  if (!v.string()) return generator(rt, std::move(items));
  std::string out;
  for (const Val& c : items) out += *c.string();
  return Val(std::move(out));
}

Val batch(Runtime& rt, const Val& v, B& a) {
  const int64_t size = a.integer(0, 0);
  std::vector<Val> rows;
  List* row = nullptr;
  for (Val& item : iterate(rt, v)) {
    if (!row || static_cast<int64_t>(row->items.size()) == size) rows.emplace_back(row = rt.new_list());
    row->items.push_back(std::move(item));
  }
  if (row && !a.is_none(1) && static_cast<int64_t>(row->items.size()) < size) {
    rt.step(size);
    row->items.resize(static_cast<size_t>(size), a.at(1));
  }
  return generator(rt, std::move(rows));
}

Val slice(Runtime& rt, const Val& v, B& a) {
  const std::vector<Val> items = iterate(rt, v);
  const int64_t n_slices = a.integer(0, 0);
  if (n_slices <= 0) rt.fail("slice(): the number of slices must be positive");
  rt.step(n_slices);
  const size_t n = static_cast<size_t>(n_slices), each = items.size() / n, n_longer = items.size() % n;
  std::vector<Val> rows;
  size_t start = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t end = start + each + (i < n_longer);
    std::vector<Val> row(items.begin() + static_cast<ptrdiff_t>(start), items.begin() + static_cast<ptrdiff_t>(end));
    if (!a.is_none(1) && i >= n_longer) row.push_back(a.at(1));
    rows.emplace_back(rt.new_list(std::move(row)));
    start = end;
  }
  return generator(rt, std::move(rows));
}

Val items(Runtime& rt, const Val& v, B&) {
  if (v.undefined()) return generator(rt, {});
  if (!v.dict() || v.dict()->is_namespace) rt.fail("Can only get item pairs from a mapping.");
  std::vector<Val> pairs;
  for (const auto& [key, value] : v.dict()->items) pairs.emplace_back(rt.new_list({key, value}, ListKind::kTuple));
  return generator(rt, std::move(pairs));
}

Val map(Runtime& rt, const Val& v, B& a) {
  Args& args = a.raw();
  std::vector<Val> out;
  if (args.positional.empty()) {
    Val path, otherwise;
    bool has_path = false;
    for (const auto& [name, value] : args.keyword) {
      if (name == "attribute") {
        path = value;
        has_path = true;
      } else if (name == "default") {
        otherwise = value;
      } else {
        rt.fail("Unexpected keyword argument '" + name + "'");
      }
    }
    if (!has_path) rt.fail("map requires a filter argument");
    for (Val& item : iterate(rt, v)) out.push_back(get_path(rt, std::move(item), path, otherwise));
    return generator(rt, std::move(out));
  }
  if (!args.positional[0].string()) rt.fail("map requires the name of a filter");
  const std::string name = *args.positional[0].string();
  Runtime::Depth depth(rt);
  for (const Val& item : iterate(rt, v)) {
    Args inner;
    inner.positional.assign(args.positional.begin() + 1, args.positional.end());
    inner.keyword = args.keyword;
    out.push_back(apply_filter(rt, name, item, inner));
  }
  return generator(rt, std::move(out));
}

Val choose(Runtime& rt, const Val& v, B& a, bool keeps, bool by_attribute) {
  Args& args = a.raw();
  const size_t n_fixed = by_attribute ? 1 : 0;
  if (args.positional.size() < n_fixed) rt.fail("Missing parameter for attribute name");
  const bool has_test = args.positional.size() > n_fixed;
  if (has_test && !args.positional[n_fixed].string()) rt.fail("select requires the name of a test");
  Runtime::Depth depth(rt);
  std::vector<Val> out;
  for (Val& item : iterate(rt, v)) {
    const Val subject = by_attribute ? get_path(rt, item, args.positional[0], Val()) : item;
    bool holds = false;
    if (has_test) {
      Args inner;
      inner.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(n_fixed) + 1, args.positional.end());
      inner.keyword = args.keyword;
      holds = apply_test(rt, *args.positional[n_fixed].string(), subject, inner);
    } else {
      holds = is_true(subject);
    }
    if (holds == keeps) out.push_back(std::move(item));
  }
  return generator(rt, std::move(out));
}

Val count(Runtime& rt, const Val& v, B&) { return Val(length(rt, v)); }

Val attr(Runtime& rt, const Val& v, B& a) {
  const std::string name = a.text(0);
  if (v.undefined()) fail_undefined(rt, v);
  Val out;
  if (v.callable() || (v.dict() && v.dict()->is_namespace)) return get_attribute(rt, v, name);
  if (!name.starts_with('_') && bind_method(rt, v, name, out)) return out;
  return Undefined{"'" + type_name(v) + " object' has no attribute '" + name + "'"};
}

constexpr FilterRow kListFilters[] = {
    {"attr", "name", attr},
    {"batch", "linecount,fill_with", batch},
    {"count", "", count},
    {"dictsort", "case_sensitive,by,reverse", dictsort},
    {"first", "", first},
    {"groupby", "attribute,default,case_sensitive", groupby},
    {"items", "", items},
    {"join", "d,attribute", join},
    {"last", "", last},
    {"length", "", count},
    {"list", "", [](Runtime& rt, const Val& v, B&) { return Val(rt.new_list(iterate(rt, v))); }},
    {"map", "*", map},
    {"max", "case_sensitive,attribute", [](Runtime& rt, const Val& v, B& a) { return extreme(rt, v, a, 1); }},
    {"min", "case_sensitive,attribute", [](Runtime& rt, const Val& v, B& a) { return extreme(rt, v, a, -1); }},
    {"reject", "*", [](Runtime& rt, const Val& v, B& a) { return choose(rt, v, a, false, false); }},
    {"rejectattr", "*", [](Runtime& rt, const Val& v, B& a) { return choose(rt, v, a, false, true); }},
    {"reverse", "", reverse},
    {"select", "*", [](Runtime& rt, const Val& v, B& a) { return choose(rt, v, a, true, false); }},
    {"selectattr", "*", [](Runtime& rt, const Val& v, B& a) { return choose(rt, v, a, true, true); }},
    {"slice", "slices,fill_with", slice},
    {"sort", "reverse,case_sensitive,attribute", sort},
    {"sum", "attribute,start", sum},
    {"unique", "case_sensitive,attribute", unique},
};

}  // namespace

const FilterRow* find_list_filter(std::string_view name) {
  for (const FilterRow& row : kListFilters)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace olx::engine::jinja
