// Attributes, subscripts and slices. Jinja2's "a.b" asks for the attribute first and the key second, "a['b']" the other
// way round; what is missing becomes Undefined. Only listed methods exist: there is no reflection to reach the host with.

#include <algorithm>

#include "engine/text/jinja/runtime.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {
namespace {

Val missing(Runtime& rt, const Val& object, const Val& name) {
  if (name.string())
    return Undefined{"'" + type_name(object) + " object' has no attribute '" + *name.string() + "'"};
  return Undefined{type_name(object) + " object has no element " + to_repr(rt, name)};
}

bool find_attribute(Runtime& rt, const Val& object, const std::string& name, Val& out) {
  if (name.starts_with('_')) return false;
  if (object.callable()) return object.callable()->get && object.callable()->get(rt, name, out);
  if (object.dict() && object.dict()->is_namespace) {
    const Val* found = object.dict()->find(name);
    if (found) out = *found;
    return found != nullptr;
  }
  if (object.list() && object.list()->name == kGroupTuple && (name == "grouper" || name == "list")) {
    out = object.list()->items[name == "list"];
    return true;
  }
  return bind_method(rt, object, name, out);
}

bool find_element(Runtime& rt, const Val& object, const Val& index, Val& out) {
  if (object.dict() && !object.dict()->is_namespace) {
    if (index.list() && index.list()->kind != ListKind::kTuple) return false;
    if (index.dict()) return false;
    const Val* found = object.dict()->find(rt, index);
    if (found) out = *found;
    return found != nullptr;
  }
  if (!index.integer() && !index.boolean()) return false;
  int64_t i = index.integer() ? *index.integer() : *index.boolean();
  const bool is_list = object.list() && object.list()->is_indexable();
  if (!is_list && !object.string()) return false;
  const auto n = static_cast<int64_t>(length(rt, object));
  if (i < 0) i += n;
  if (i < 0 || i >= n) return false;
  if (is_list) {
    out = object.list()->items[static_cast<size_t>(i)];
  } else {
    const std::string_view text = *object.string();
    const size_t at = char_offset(text, static_cast<size_t>(i));
    out = Val(text.substr(at, char_bytes(text, at)));
  }
  return true;
}

}  // namespace

Val get_attribute(Runtime& rt, const Val& object, const std::string& name) {
  if (object.undefined()) fail_undefined(rt, object);
  Val out;
  if (find_attribute(rt, object, name, out)) return out;
  const Val key(name);
  if (object.dict() && find_element(rt, object, key, out)) return out;
  return missing(rt, object, key);
}

Val get_item(Runtime& rt, const Val& object, const Val& index) {
  if (object.undefined()) fail_undefined(rt, object);
  Val out;
  if (find_element(rt, object, index, out)) return out;
  if (index.string() && find_attribute(rt, object, *index.string(), out)) return out;
  return missing(rt, object, index);
}

Val get_slice(Runtime& rt, const Val& object, const Val& start, const Val& stop, const Val& step) {
  if (object.undefined()) fail_undefined(rt, object);
  const bool is_list = object.list() && object.list()->is_indexable();
  if (!is_list && !object.string()) return missing(rt, object, Val("slice"));
  const auto bound = [&](const Val& v, int64_t otherwise) {
    if (v.is_none()) return otherwise;
    if (v.undefined()) fail_undefined(rt, v);
    if (!v.integer() && !v.boolean())
      rt.fail("slice indices must be integers or None, not " + type_name(v));
    return v.integer() ? *v.integer() : static_cast<int64_t>(*v.boolean());
  };
  const int64_t by = bound(step, 1);
  if (by == 0) rt.fail("slice step cannot be zero");
  std::vector<std::string_view> chars;
  if (!is_list) {
    rt.charge_items(object.string()->size() / 8);
    chars = split_chars(*object.string());
  }
  const auto n = static_cast<int64_t>(is_list ? object.list()->items.size() : chars.size());
  // Python's slice.indices(): clamp to [0, n], or to [-1, n - 1] when going backwards.
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
  const auto clamp = [&](const Val& v, int64_t otherwise) {
    if (v.is_none()) return otherwise;
    int64_t i = bound(v, 0);
    if (i < 0) i = i < -n ? low : i + n;
    return std::clamp(i, low, std::max(low, high));
  };
  int64_t i = clamp(start, by < 0 ? high : low);
  const int64_t end = clamp(stop, by < 0 ? low : high);
  std::vector<Val> items;
  std::string text;
  while (by > 0 ? i < end : i > end) {
    if (is_list) items.push_back(object.list()->items[static_cast<size_t>(i)]);
    else text += chars[static_cast<size_t>(i)];
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  if (is_list) {
    const ListKind kind = object.list()->kind == ListKind::kTuple ? ListKind::kTuple : ListKind::kList;
    return rt.new_list(std::move(items), kind);
  }
  return Str{std::make_shared<const std::string>(std::move(text)), object.is_markup()};
}

Val call_value(Runtime& rt, const Val& callee, Args& args) {
  if (callee.undefined()) fail_undefined(rt, callee);
  if (!callee.callable() || !callee.callable()->call)
    rt.fail("'" + type_name(callee) + "' object is not callable");
  return callee.callable()->call(rt, args);
}

}  // namespace olx::engine::jinja
