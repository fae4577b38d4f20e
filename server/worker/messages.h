#pragma once
// What the frames between the server and a worker carry, as bytes and back. Used by worker_host.cpp
// and worker_main.cpp. Decoding checks every count, length and enumerator against the bytes that
// are there and against what the server can work with, and allocates no more than these bytes are
// worth: a worker may have been taken over by its model file.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "server/worker/channel.h"

namespace olx::server {

struct PromptToTokenize {
  engine::ChatPrompt prompt;
  bool adds_bos = false;
};

struct TextToTokenize {
  std::string text;
  bool adds_bos = false;
  bool parses_special = false;
};

// An exception that crosses.
struct Failure {
  enum class Kind : uint8_t { kEngine, kFormat, kOther };
  Kind kind = Kind::kOther;
  engine::ErrorCode code = engine::ErrorCode::kInternal;  // of kEngine
  std::string text;

  static Failure of(const std::exception& error);
  [[noreturn]] void raise() const;  // EngineError, gguf::FormatError or std::runtime_error
};

// T: engine::EngineOptions (without the callbacks and descriptors), ChatRequest, ChatPrompt,
// GenerateRequest, EmbedRequest, TokenEvent, ModelInfo, EngineStats; PromptToTokenize,
// TextToTokenize, Failure; std::vector of int32_t or float; float, uint64_t.
template <class T>
std::string encode(const T& value);
// WireError when the bytes are not exactly such a value.
template <class T>
T decode(std::string_view bytes);

}  // namespace olx::server
