// Any bytes as JSON: an error in words, or a value whose text is read back to the same text; and members of every type are asked for.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "server/json/json.h"

namespace {

// Numbers but for the last digits: Boost 1.81 does not round every one of them to the nearest double.
bool is_same(const boost::json::value& a, const boost::json::value& b) {
  if (a.is_number() && b.is_number()) {
    const double x = a.to_number<double>(), y = b.to_number<double>();
    return std::abs(x - y) <= 1e-14 * std::abs(x);
  }
  if (a.is_array() && b.is_array())
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(), is_same);
  if (a.is_object() && b.is_object()) {
    const auto is_same_member = [](const auto& left, const auto& right) {
      return left.key() == right.key() && is_same(left.value(), right.value());
    };
    return std::equal(a.get_object().begin(), a.get_object().end(), b.get_object().begin(), b.get_object().end(), is_same_member);
  }
  return a == b;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::server;
  boost::json::value value;
  try {
    value = parse_json({reinterpret_cast<const char*>(data), size});
  } catch (const JsonError&) {
    return 0;
  }
  // Bytes that are not UTF-8 are written as an escape, as Go does, which is a character the next time.
  const std::string text = go_json(parse_json(go_json(value)));
  if (!is_same(parse_json(go_json(parse_json(text))), parse_json(text))) std::abort();
  (void)go_json(to_json(to_value(value)));
  if (const boost::json::object* object = value.if_object()) {
    const Fields fields(*object, "Fuzz");
    const auto ask = [&](auto read) {
      try {
        (void)read();
      } catch (const JsonError&) {
      }
    };
    for (const char* name : {"a", "model", "stream", "Stop"}) {
      ask([&] { return fields.text(name); });
      ask([&] { return fields.boolean(name); });
      ask([&] { return fields.integer(name); });
      ask([&] { return fields.texts(name); });
      ask([&] { return fields.object(name); });
    }
  }
  return 0;
}
