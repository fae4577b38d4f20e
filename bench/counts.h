#pragma once
// Lists of numbers on the command line: the --tokens and --clients of the bench.

#include <string>
#include <vector>

namespace olx::bench {

// "1,2,4-8" as numbers from 1 to `most`, at most 64 of them. Throws std::runtime_error that names `option`.
std::vector<int> parse_counts(const std::string& option, const std::string& text, int most);

}  // namespace olx::bench
