#pragma once
// The reports of `kernels`, `model` and `peers` as one page: roofline and bars as inline SVG, and the figures as a table.
// The page needs nothing from outside.

#include <boost/json/object.hpp>
#include <string>

namespace olx::bench {

// `report` is what --json prints. Throws std::runtime_error naming the path when it cannot be written.
void write_html_report(const std::string& path, const std::string& command, const boost::json::object& report);

}  // namespace olx::bench
