#pragma once
// JSON text to the engine's Value, for tests that read golden files. Parsed by Boost.JSON, so that no code under test is used.

#include <boost/json.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "engine/value.h"

namespace olx::tests {

inline engine::Value to_value(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null: return {};
    case boost::json::kind::bool_: return json.get_bool();
    case boost::json::kind::int64: return json.get_int64();
    case boost::json::kind::uint64: return static_cast<double>(json.get_uint64());
    case boost::json::kind::double_: return json.get_double();
    case boost::json::kind::string: return std::string(json.get_string());
    case boost::json::kind::array: {
      engine::ValueList list;
      for (const auto& item : json.get_array()) list.push_back(to_value(item));
      return list;
    }
    case boost::json::kind::object: {
      engine::ValueMap map;
      for (const auto& item : json.get_object()) map.emplace_back(std::string(item.key()), to_value(item.value()));
      return map;
    }
  }
  return {};
}

inline engine::Value parse_json(const std::string& text) { return to_value(boost::json::parse(text)); }

inline std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace olx::tests
