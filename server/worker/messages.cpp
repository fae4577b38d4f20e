#include "server/worker/messages.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "gguf/value.h"

namespace olx::server {
namespace {

constexpr int kMaxValueDepth = 1024;  // of a Value; deeper than any JSON that the server reads

class Writer {
 public:
  std::string take() && { return std::move(bytes_); }

  template <class... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }

 private:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void put(T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes_.append(raw, sizeof value);
  }
  void put(const std::string& text) {
    put(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put(static_cast<uint64_t>(values.size()));
    if constexpr (std::is_arithmetic_v<T>)
      bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    else
      for (const T& value : values) put(value);
  }
  template <class A, class B>
  void put(const std::pair<A, B>& pair) {
    put(pair.first);
    put(pair.second);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  void put(const engine::Value& value);
  template <class T>
  requires(std::is_class_v<T>) void put(const T& value);

  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool is_at_end() const { return bytes_.empty(); }

  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }

 private:
  std::string_view take(uint64_t n) {
    if (n > bytes_.size()) throw WireError("a message ends early");
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }
  // How many elements follow. Each takes at least min_bytes of what is left.
  size_t count(size_t min_bytes) {
    uint64_t n = 0;
    get(n);
    if (n > bytes_.size() / min_bytes) throw WireError("a list is longer than its message");
    return static_cast<size_t>(n);
  }
  template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) void get(T& value) {
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
  }
  void get(bool& value) {
    uint8_t byte = 0;
    get(byte);
    if (byte > 1) throw WireError("a flag that is neither 0 nor 1");
    value = byte == 1;
  }
  template <class T>
  void get_enum(T& value, T last) {
    std::underlying_type_t<T> number{};
    get(number);
    if (number < 0 || number > static_cast<std::underlying_type_t<T>>(last))
      throw WireError("an unknown enumerator");
    value = static_cast<T>(number);
  }
  void get(engine::SpeculateMode& value) { get_enum(value, engine::SpeculateMode::kAlways); }
  void get(engine::DoneReason& value) { get_enum(value, engine::DoneReason::kError); }
  void get(engine::ErrorCode& value) { get_enum(value, engine::ErrorCode::kProcessDied); }
  void get(Failure::Kind& value) {
    uint8_t number = 0;
    get(number);
    if (number > static_cast<uint8_t>(Failure::Kind::kOther))
      throw WireError("an unknown enumerator");
    value = static_cast<Failure::Kind>(number);
  }
  void get(std::string& text) { text = take(count(1)); }
  template <class T>
  void get(std::vector<T>& values) {
    if constexpr (std::is_arithmetic_v<T>) {
      values.resize(count(sizeof(T)));
      const std::string_view raw = take(values.size() * sizeof(T));
      if (!raw.empty()) std::memcpy(values.data(), raw.data(), raw.size());
    } else {
      // Not reserved: an element in memory may be a hundred times what it is here.
      for (size_t n = count(1); n > 0; --n) get(values.emplace_back());
    }
  }
  template <class A, class B>
  void get(std::pair<A, B>& pair) {
    get(pair.first);
    get(pair.second);
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool has_value = false;
    get(has_value);
    value.reset();
    if (has_value) get(value.emplace());
  }
  void get(engine::Value& value);
  template <class T>
  requires(std::is_class_v<T>) void get(T& value);

  std::string_view bytes_;
  int depth_ = 0;
};

// The members of each struct, once for both directions.
void fields(auto& io, auto& v, const engine::SamplingOptions*) {
  io(v.temperature, v.top_k, v.top_p, v.min_p, v.typical_p, v.repeat_last_n, v.repeat_penalty,
     v.presence_penalty, v.frequency_penalty, v.mirostat, v.mirostat_tau, v.mirostat_eta, v.seed);
}
void fields(auto& io, auto& v, const engine::OutputConstraint*) {
  io(v.grammar, v.schemas, v.free_open, v.free_close, v.begins_free);
}
void fields(auto& io, auto& v, const engine::GenerateRequest*) {
  io(v.prompt_tokens, v.constraint, v.marks, v.sampling, v.stop, v.n_predict, v.n_keep,
     v.may_truncate, v.may_shift, v.ignore_eos, v.n_logprobs, v.n_draft_max);
}
void fields(auto& io, auto& v, const engine::TokenLogprob::Rival*) { io(v.token, v.id, v.logprob); }
void fields(auto& io, auto& v, const engine::TokenLogprob*) { io(v.token, v.id, v.logprob, v.top); }
void fields(auto& io, auto& v, const engine::EmbedRequest*) { io(v.inputs, v.is_normalized); }
void fields(auto& io, auto& v, const engine::GenerateStats*) {
  io(v.n_prompt_tokens, v.n_cached_tokens, v.n_generated_tokens, v.prompt_ns, v.generate_ns,
     v.queue_ns, v.load_ns, v.n_truncated_tokens, v.n_drafted_tokens, v.n_accepted_tokens);
}
void fields(auto& io, auto& v, const engine::TokenEvent*) {
  io(v.text, v.tokens, v.logprobs, v.done, v.error, v.stats);
}
void fields(auto& io, auto& v, const engine::ToolCall*) { io(v.id, v.name, v.arguments); }
void fields(auto& io, auto& v, const engine::ChatMessage*) {
  io(v.role, v.content, v.thinking, v.tool_calls, v.tool_name, v.tool_call_id, v.images);
}
void fields(auto& io, auto& v, const engine::ChatRequest*) {
  io(v.messages, v.tools, v.think, v.think_level, v.add_generation_prompt, v.template_text);
}
void fields(auto& io, auto& v, const engine::ChatPrompt*) { io(v.text, v.breaks); }
void fields(auto& io, auto& v, const engine::EngineOptions*) {
  io(v.model_path, v.template_text, v.adapter_paths, v.device, v.main_gpu, v.n_gpu_layers,
     v.gpu_spare_bytes, v.is_device_required, v.cpu_isa, v.n_threads, v.n_ctx, v.n_parallel,
     v.n_batch, v.kv_cache_type, v.speculate, v.draft_path, v.is_draft_required, v.n_deferred_bytes_min);
}
void fields(auto& io, auto& v, const engine::ModelInfo*) {
  io(v.architecture, v.name, v.parameter_size, v.quantization, v.n_parameters, v.n_ctx_train,
     v.n_ctx, v.n_embd, v.vocab_size, v.weight_bytes, v.kv_bytes, v.scratch_bytes, v.device, v.n_device_layers, v.n_places, v.device_bytes,
     v.has_chat_template, v.chat_template, v.is_embedding, v.default_stops);
}
void fields(auto& io, auto& v, const engine::EngineStats*) {
  io(v.n_active, v.n_queued, v.n_prompt_tokens, v.n_generated_tokens, v.n_kv_pages_used,
     v.n_kv_pages, v.n_kv_pages_cached, v.n_prefix_hits, v.n_prefix_tokens, v.n_prefix_evictions,
     v.n_drafted_tokens, v.n_accepted_tokens, v.n_unread_bytes, v.n_steps);
}
void fields(auto& io, auto& v, const PromptToTokenize*) { io(v.prompt, v.adds_bos); }
void fields(auto& io, auto& v, const TextToTokenize*) { io(v.text, v.adds_bos, v.parses_special); }
void fields(auto& io, auto& v, const Failure*) { io(v.kind, v.code, v.text); }

template <class T>
requires(std::is_class_v<T>) void Writer::put(const T& value) {
  fields(*this, value, static_cast<const T*>(nullptr));
}
template <class T>
requires(std::is_class_v<T>) void Reader::get(T& value) {
  fields(*this, value, static_cast<const T*>(nullptr));
}

enum class ValueKind : uint8_t { kNull, kBool, kInt, kDouble, kString, kList, kMap };

void Writer::put(const engine::Value& value) {
  if (const bool* flag = value.as_bool())
    (*this)(ValueKind::kBool, *flag);
  else if (const int64_t* integer = value.as_int())
    (*this)(ValueKind::kInt, *integer);
  else if (const double* number = value.as_double())
    (*this)(ValueKind::kDouble, *number);
  else if (const std::string* text = value.as_string())
    (*this)(ValueKind::kString, *text);
  else if (const engine::ValueList* list = value.as_list())
    (*this)(ValueKind::kList, *list);
  else if (const engine::ValueMap* map = value.as_map())
    (*this)(ValueKind::kMap, *map);
  else
    put(ValueKind::kNull);
}

void Reader::get(engine::Value& value) {
  if (++depth_ > kMaxValueDepth) throw WireError("a value is nested too deeply");
  const auto read = [&]<class T>(T part) {
    get(part);
    value = engine::Value(std::move(part));
  };
  uint8_t kind = 0;
  get(kind);
  switch (static_cast<ValueKind>(kind)) {
    case ValueKind::kNull:
      value = nullptr;
      break;
    case ValueKind::kBool:
      read(false);
      break;
    case ValueKind::kInt:
      read(int64_t{0});
      break;
    case ValueKind::kDouble:
      read(0.0);
      break;
    case ValueKind::kString:
      read(std::string());
      break;
    case ValueKind::kList:
      read(engine::ValueList());
      break;
    case ValueKind::kMap:
      read(engine::ValueMap());
      break;
    default:
      throw WireError("an unknown kind of value");
  }
  --depth_;
}

void require(bool holds, const char* what) {
  if (!holds) throw WireError(what);
}

// Numbers that the server divides by, allocates by or adds up.
template <class T>
void check(const T&) {}

void check(const engine::ModelInfo& info) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  require(info.n_ctx >= 1 && info.n_ctx <= kMost && info.n_ctx_train >= 0,
          "a context length out of range");
  require(info.n_embd >= 1 && info.n_embd <= kMost, "an embedding length out of range");
  require(info.vocab_size >= 1 && info.vocab_size <= kMost, "a vocabulary size out of range");
  require(info.n_parameters >= 0, "a number of parameters out of range");
  constexpr uint64_t kMostBytes = uint64_t{1} << 60;
  require(info.weight_bytes < kMostBytes && info.kv_bytes < kMostBytes &&
              info.scratch_bytes < kMostBytes,
          "a size out of range");
}

void check(const engine::TokenEvent& event) {
  const engine::GenerateStats& stats = event.stats;
  // A hundred years of nanoseconds: sums of some of them do not overflow.
  constexpr int64_t kMost = int64_t{1} << 61;
  for (const int64_t n :
       {stats.n_prompt_tokens, stats.n_cached_tokens, stats.n_generated_tokens, stats.prompt_ns,
        stats.generate_ns, stats.queue_ns, stats.load_ns, stats.n_truncated_tokens,
        stats.n_drafted_tokens, stats.n_accepted_tokens})
    require(n >= 0 && n < kMost, "a figure out of range");
}

void check(const engine::EngineStats& stats) {
  for (const int64_t n :
       {stats.n_active, stats.n_queued, stats.n_prompt_tokens, stats.n_generated_tokens,
        stats.n_kv_pages_used, stats.n_kv_pages, stats.n_kv_pages_cached, stats.n_prefix_hits,
        stats.n_prefix_tokens, stats.n_prefix_evictions, stats.n_drafted_tokens,
        stats.n_accepted_tokens, stats.n_unread_bytes, stats.n_steps})
    require(n >= 0, "a figure out of range");
}

void check(const engine::ChatPrompt& prompt) {
  require(std::is_sorted(prompt.breaks.begin(), prompt.breaks.end()) &&
              (prompt.breaks.empty() || prompt.breaks.back() <= prompt.text.size()),
          "a break outside its text");
}

}  // namespace

template <class T>
std::string encode(const T& value) {
  Writer writer;
  writer(value);
  return std::move(writer).take();
}

template <class T>
T decode(std::string_view bytes) {
  T value{};
  Reader reader(bytes);
  reader(value);
  if (!reader.is_at_end()) throw WireError("a message goes on after its end");
  check(value);
  return value;
}

#define OLX_MESSAGE(T)                      \
  template std::string encode<T>(const T&); \
  template T decode<T>(std::string_view);
OLX_MESSAGE(engine::EngineOptions)
OLX_MESSAGE(engine::ChatRequest)
OLX_MESSAGE(engine::ChatPrompt)
OLX_MESSAGE(engine::GenerateRequest)
OLX_MESSAGE(engine::EmbedRequest)
OLX_MESSAGE(engine::TokenEvent)
OLX_MESSAGE(engine::EngineStats)
OLX_MESSAGE(engine::ModelInfo)
OLX_MESSAGE(PromptToTokenize)
OLX_MESSAGE(TextToTokenize)
OLX_MESSAGE(Failure)
OLX_MESSAGE(std::vector<int32_t>)
OLX_MESSAGE(std::vector<float>)
OLX_MESSAGE(float)
OLX_MESSAGE(uint64_t)
#undef OLX_MESSAGE

Failure Failure::of(const std::exception& error) {
  if (const auto* engine_error = dynamic_cast<const engine::EngineError*>(&error))
    return {Kind::kEngine, engine_error->code(), error.what()};
  const bool is_format = dynamic_cast<const gguf::FormatError*>(&error) != nullptr;
  return {is_format ? Kind::kFormat : Kind::kOther, engine::ErrorCode::kInternal, error.what()};
}

void Failure::raise() const {
  switch (kind) {
    case Kind::kEngine:
      throw engine::EngineError(code, text);
    case Kind::kFormat:
      throw gguf::FormatError(text);
    case Kind::kOther:
      break;
  }
  throw std::runtime_error(text);
}

}  // namespace olx::server
