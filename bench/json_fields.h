#pragma once
// Members of a report that is known to have them. Used by what prints one.

#include <boost/json/value.hpp>

namespace olx::bench {

inline double number(const boost::json::value& value, const char* key) { return value.at(key).to_number<double>(); }
// Lives as long as `value`.
inline const char* text(const boost::json::value& value, const char* key) { return value.at(key).as_string().c_str(); }

}  // namespace olx::bench
