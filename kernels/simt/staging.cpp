#include "kernels/simt/staging.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "gguf/check.h"

namespace olx::kernels::simt {
namespace {

constexpr size_t kBlockBytes = 64 << 10;  // of the first; the next ones at least double
constexpr size_t kAlignBytes = 64;

constexpr size_t aligned(size_t n_bytes) {
  return (n_bytes + kAlignBytes - 1) / kAlignBytes * kAlignBytes;
}

}  // namespace

uint64_t Staging::most_bytes(std::span<const uint64_t> array_bytes) {
  uint64_t all_bytes = 0;
  for (const uint64_t n_bytes : array_bytes) all_bytes += aligned(n_bytes);
  if (all_bytes <= kBlockBytes) return kBlockBytes;
  // A block is taken for an array that the block before has no room for any more: that one has less
  // than all_bytes, as the array has, and so the new one less than twice that; all those before it
  // together less than the new one.
  return 4 * all_bytes;
}

void Staging::begin() {
  block_ = used_bytes_ = 0;
  copies_.clear();
}

void Staging::reserve(std::span<const uint64_t> array_bytes) {
  uint64_t all_bytes = 0;
  for (const uint64_t n_bytes : array_bytes) all_bytes += aligned(n_bytes);
  begin();
  if (!blocks_.empty() && blocks_.front()->size_bytes() >= all_bytes) return;
  blocks_.clear();
  blocks_.push_back(device_.allocate(std::max<size_t>(all_bytes, kBlockBytes)));
}

const void* Staging::copy(const void* from, size_t size_bytes) {
  if (from == nullptr || size_bytes == 0) return nullptr;
  const auto [entry, is_new] = copies_.try_emplace({from, size_bytes});
  if (!is_new) return entry->second;
  while (block_ < blocks_.size() && blocks_[block_]->size_bytes() - used_bytes_ < size_bytes) {
    ++block_;
    used_bytes_ = 0;
  }
  if (block_ == blocks_.size()) {
    const size_t least_bytes = blocks_.empty() ? kBlockBytes : 2 * blocks_.back()->size_bytes();
    blocks_.push_back(device_.allocate(std::max(std::bit_ceil(size_bytes), least_bytes)));
  }
  auto* to = static_cast<std::byte*>(blocks_[block_]->host()) + used_bytes_;
  std::memcpy(to, from, size_bytes);
  used_bytes_ += aligned(size_bytes);  // of a multiple of it
  entry->second = to;
  return to;
}

// What each op has in the program's own memory.
struct Staging::Copier {
  Staging& staging;

  template <typename T>
  void move(const T*& array, int64_t n) const {
    array = static_cast<const T*>(staging.copy(array, static_cast<size_t>(n) * sizeof(T)));
  }
  // The rows of the block table up to the last sequence that a token belongs to.
  void move(KvView& kv, const TokenSlot* tokens, int64_t n_tokens) const {
    int64_t n_sequences = 0;
    for (int64_t i = 0; i < n_tokens; ++i)
      n_sequences = std::max<int64_t>(n_sequences, tokens[i].sequence + 1);
    move(kv.block_table, n_sequences * kv.max_blocks);
  }

  void operator()(EmbedArgs& args) const { move(args.ids, args.y.n_rows); }
  void operator()(RopeTableArgs& args) const { move(args.tokens, args.table.n_rows); }
  void operator()(KvStoreArgs& args) const {
    move(args.kv, args.tokens, args.k.n_rows);
    move(args.tokens, args.k.n_rows);
  }
  void operator()(AttentionArgs& args) const {
    move(args.kv, args.tokens, args.q.n_rows);
    move(args.tokens, args.q.n_rows);
  }
  void operator()(QkvMatmulArgs& args) const {
    if (!args.is_stored()) return;
    move(args.kv, args.tokens, args.y.n_rows);
    move(args.tokens, args.y.n_rows);
  }
  void operator()(QkvStoreArgs& args) const {
    move(args.kv, args.tokens, args.x.n_rows);
    move(args.tokens, args.x.n_rows);
  }

  template <typename Args>
  void fill(StagedArgs& staged) const {
    static_assert(sizeof(Args) <= sizeof staged.bytes && std::is_trivially_copyable_v<Args>);
    Args args;
    std::memcpy(&args, staged.bytes.data(), sizeof args);
    (*this)(args);
    std::memcpy(staged.bytes.data(), &args, sizeof args);
  }
};

StagedArgs Staging::stage(Op op, const void* args, size_t args_bytes) {
  StagedArgs staged;
  OLX_CHECK(args_bytes <= staged.bytes.size());
  std::memcpy(staged.bytes.data(), args, args_bytes);
  const Copier copier{*this};
  switch (op) {
    case Op::kEmbed:
      copier.fill<EmbedArgs>(staged);
      break;
    case Op::kRopeTable:
      copier.fill<RopeTableArgs>(staged);
      break;
    case Op::kKvStore:
      copier.fill<KvStoreArgs>(staged);
      break;
    case Op::kAttention:
      copier.fill<AttentionArgs>(staged);
      break;
    case Op::kQkvMatmul:
      copier.fill<QkvMatmulArgs>(staged);
      break;
    case Op::kQkvStore:
      copier.fill<QkvStoreArgs>(staged);
      break;
    case Op::kQuantize:
    case Op::kMatmul:
    case Op::kRmsNorm:
    case Op::kRope:
    case Op::kGatedActivation:
    case Op::kAdd:
    case Op::kScale:
    case Op::kSoftcap:
    case Op::kSoftmax:
    case Op::kGatedMatmul:
    case Op::kTopK:
    case Op::kRmsNormAdd:
      break;
  }
  return staged;
}

}  // namespace olx::kernels::simt
