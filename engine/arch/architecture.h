#pragma once
// Architecture: what one family of networks reads from a file and how it computes. One file and one row of archs.inc
// each. Its two tables (keys, weights) serve reading, error messages and the tiny random models of the tests.
// An architecture decides no memory, kernel or device: that is graph/ and model/.

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/model/model_config.h"

namespace olx::engine {

class GraphBuilder;
class KeyReader;

// A metadata key "<architecture>.<name>", where it goes, and what it may be.
struct KeySpec {
  const char* name;                          // "embedding_length"
  int64_t ModelConfig::*integer = nullptr;   // exactly one of integer and real
  float ModelConfig::*real = nullptr;
  double min = 0;
  double max = 0;
  bool is_required = false;  // otherwise the field keeps what it had
  double tiny = 0;           // value in a tiny test model; 0: the key is not written
};

// A dimension of a weight, in symbols.
enum class Dim : uint8_t {
  kNone,      // of a vector: no rows
  kVocab,     // vocab_size
  kModel,     // d_model
  kFf,        // d_ff
  kQuery,     // n_heads * head_dim
  kKeyValue,  // n_kv_heads * head_dim
  kHead,      // head_dim
  kRotHalf,   // n_rot / 2
};

// One tensor, or one per layer: rows x cols as the network multiplies (rows = outputs, the slower dimension).
struct WeightSpec {
  const char* name;  // "output.weight", or "attn_q.weight" of "blk.<i>." when is_per_layer
  bool is_per_layer = true;
  Dim rows = Dim::kNone;
  Dim cols = Dim::kModel;
  bool is_required = true;
  const char* alternate = nullptr;  // read instead when absent ("token_embd.weight" for a tied output)
};

class Architecture {
 public:
  virtual ~Architecture() = default;
  // Keys beside the common ones; a row with the name of a common one replaces it.
  virtual std::span<const KeySpec> keys() const { return {}; }
  virtual std::span<const WeightSpec> weights() const = 0;
  // Values of keys a file may lack, where the general default (ModelConfig's own) is not this family's.
  virtual void set_defaults(ModelConfig&) const {}
  // What follows from the keys: scales, activation, rope layout. Called after all keys are read.
  virtual void finish_config(const KeyReader& keys, ModelConfig& config) const = 0;
  // Says the network, in the order of its paper.
  virtual void build(const ModelConfig& config, GraphBuilder& b) const = 0;
};

struct ArchitectureRow {
  const char* name;  // general.architecture
  const Architecture& (*get)();
};
std::span<const ArchitectureRow> architectures();
// nullptr when unknown.
const Architecture* find_architecture(std::string_view name);
// Keys that every architecture has.
std::span<const KeySpec> common_keys();
int64_t dim_size(Dim dim, const ModelConfig& config);

}  // namespace olx::engine
