// The tojson filter: Python's json.dumps(value, ensure_ascii=False, ...), which is what apply_chat_template installs in place
// of Jinja2's own (that one would escape '<' and the like for HTML).

#include <cmath>

#include "engine/text/jinja/bound_args.h"
#include "engine/text/jinja/methods.h"
#include "engine/text/jinja/unicode_text.h"

namespace olx::engine::jinja {
namespace {

struct JsonStyle {
  bool ensure_ascii = false;
  bool has_indent = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

void append_escape(std::string& out, uint32_t unit) {
  char buffer[8];
  std::snprintf(buffer, sizeof buffer, "\\u%04x", unit & 0xFFFF);
  out += buffer;
}

void write_string(std::string_view text, const JsonStyle& style, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const size_t n = char_bytes(text, i);
    const uint32_t c = char_code(text, i);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (c < 0x20 || (style.ensure_ascii && c >= 0x7F && c < 0x10000 && c != 0x7F)) {
          append_escape(out, c);
        } else if (style.ensure_ascii && c >= 0x10000) {
          append_escape(out, 0xD7C0 + (c >> 10));
          append_escape(out, 0xDC00 + (c & 0x3FF));
        } else {
          out.append(text.substr(i, n));
        }
    }
    i += n;
  }
  out += '"';
}

std::string number_text(const Val& v) {
  if (v.boolean()) return *v.boolean() ? "true" : "false";
  if (v.integer()) return std::to_string(*v.integer());
  const double d = *v.real();
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
  return real_text(d);
}

std::string key_text(Runtime& rt, const Val& key) {
  if (key.string()) return *key.string();
  if (key.is_none()) return "null";
  if (key.is_number()) return number_text(key);
  rt.fail("keys must be str, int, float, bool or None, not " + type_name(key));
}

class Writer {
 public:
  Writer(Runtime& rt, const JsonStyle& style) : rt_(rt), style_(style) {}

  void write(const Val& v) {
    rt_.step();
    if (v.is_none()) out += "null";
    else if (v.is_number()) out += number_text(v);
    else if (v.string()) {
      rt_.charge_bytes(v.string()->size());
      write_string(*v.string(), style_, out);
      rt_.check_size(static_cast<double>(out.size()));
    } else if (v.list() && v.list()->kind <= ListKind::kTuple) write_list(*v.list());
    else if (v.dict() && !v.dict()->is_namespace) write_dict(*v.dict());
    else rt_.fail("Object of type " + type_name(v) + " is not JSON serializable");
  }

  std::string out;

 private:
  void new_line(int level) {
    if (!style_.has_indent) return;
    out += '\n';
    rt_.charge_bytes(style_.indent.size() * static_cast<size_t>(level));
    rt_.check_size(static_cast<double>(out.size()) + static_cast<double>(style_.indent.size()) * level);
    for (int i = 0; i < level; ++i) out += style_.indent;
  }

  void write_list(const List& list) {
    if (list.items.empty()) {
      out += "[]";
      return;
    }
    Runtime::Depth depth(rt_);
    out += '[';
    ++level_;
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(level_);
      write(list.items[i]);
    }
    new_line(--level_);
    out += ']';
  }

  void write_dict(const Dict& dict) {
    if (dict.items.empty()) {
      out += "{}";
      return;
    }
    Runtime::Depth depth(rt_);
    std::vector<Val> order;
    for (size_t i = 0; i < dict.items.size(); ++i) order.emplace_back(i);
    const auto key_at = [&](const Val& i) -> Val { return dict.items[static_cast<size_t>(*i.integer())].first; };
    if (style_.sort_keys) sort_values(rt_, order, false, key_at);
    out += '{';
    ++level_;
    bool is_first = true;
    for (const Val& i : order) {
      if (!is_first) out += style_.item_separator;
      is_first = false;
      new_line(level_);
      write_string(key_text(rt_, key_at(i)), style_, out);
      out += style_.key_separator;
      write(dict.items[static_cast<size_t>(*i.integer())].second);
    }
    new_line(--level_);
    out += '}';
  }

  Runtime& rt_;
  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

std::string write_json(Runtime& rt, const Val& v, Args& options) {
  BoundArgs a(rt, "tojson", "ensure_ascii,indent,separators,sort_keys", options);
  if (v.undefined()) fail_undefined(rt, v);
  JsonStyle style;
  style.ensure_ascii = a.boolean(0, false);
  style.sort_keys = a.boolean(3, false);
  if (!a.is_none(1)) {
    style.has_indent = true;
    style.item_separator = ",";
    if (a.at(1).string()) {
      style.indent = *a.at(1).string();
    } else {
      const int64_t n = a.integer(1, 0);
      rt.check_size(static_cast<double>(n));
      style.indent.assign(n > 0 ? static_cast<size_t>(n) : 0, ' ');
    }
  }
  if (!a.is_none(2)) {
    const std::vector<Val> parts = iterate(rt, a.at(2));
    if (parts.size() != 2 || !parts[0].string() || !parts[1].string())
      rt.fail("tojson(): separators must be two strings");
    style.item_separator = *parts[0].string();
    style.key_separator = *parts[1].string();
  }
  Writer writer(rt, style);
  writer.write(v);
  return std::move(writer.out);
}

}  // namespace olx::engine::jinja
