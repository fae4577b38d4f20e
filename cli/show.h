#pragma once
// The tables of `ollamax show` and the REPL's /show info.

#include <boost/json/object.hpp>
#include <string>

namespace olx::cli {

// answer: of POST /api/show.
std::string show_info_text(const boost::json::object& answer, bool is_verbose);

}  // namespace olx::cli
