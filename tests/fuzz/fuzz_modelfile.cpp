// Any bytes as a Modelfile: an error in words, or commands that are the same when they are written and read again.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "server/modelfile/create_fields.h"
#include "server/modelfile/modelfile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace olx::server;
  try {
    const Modelfile commands = parse_modelfile({reinterpret_cast<const char*>(data), size});
    try {
      const Modelfile again = parse_modelfile(write_modelfile(commands));
      const auto is_same = [](const ModelfileCommand& a, const ModelfileCommand& b) {
        return a.name == b.name && a.argument == b.argument && a.value == b.value;
      };
      if (!std::equal(commands.begin(), commands.end(), again.begin(), again.end(), is_same)) std::abort();
    } catch (const ModelfileError&) {
      std::abort();  // what was written cannot be read
    }
    (void)create_fields(commands);
  } catch (const ModelfileError&) {
  }
  return 0;
}
