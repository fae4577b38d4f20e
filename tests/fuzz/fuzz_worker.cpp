// Any bytes as a message of a worker: refused, or a value that is the same when it is written and
// read again. The first byte says which message.
#include <cstdlib>
#include <string_view>

#include "server/worker/messages.h"

namespace {

using namespace olx;
using namespace olx::server;

template <class T>
void round_trip(std::string_view bytes) {
  std::string once;
  try {
    once = encode(decode<T>(bytes));
  } catch (const WireError&) {
    return;
  }
  if (once != bytes) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 9) {
    case 0:
      round_trip<engine::TokenEvent>(bytes);
      break;
    case 1:
      round_trip<engine::ModelInfo>(bytes);
      break;
    case 2:
      round_trip<engine::ChatPrompt>(bytes);
      break;
    case 3:
      round_trip<engine::EngineStats>(bytes);
      break;
    case 4:
      round_trip<Failure>(bytes);
      break;
    case 5:
      round_trip<std::vector<int32_t>>(bytes);
      break;
    case 6:
      round_trip<engine::GenerateRequest>(bytes);
      break;
    case 7:
      round_trip<engine::ChatRequest>(bytes);
      break;
    case 8:
      round_trip<engine::EngineOptions>(bytes);
      break;
  }
  return 0;
}
