// Cases of the ops that treat each token on its own: norm, rope, elementwise, softmax.

#include <cmath>
#include <limits>

#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {
namespace {

constexpr Values kAllValues[] = {Values::kRandom, Values::kZero, Values::kMaxCodes, Values::kHuge, Values::kOutliers};

// Every tail up to two and a half 16-lane vectors, and a few widths of models.
std::vector<int64_t> all_widths(bool is_brief) {
  if (is_brief) return {1, 7, 33, 576};
  std::vector<int64_t> widths;
  for (int64_t n = 1; n <= 40; ++n) widths.push_back(n);
  widths.insert(widths.end(), {63, 64, 65, 127, 128, 576, 640, 1100});
  return widths;
}

Values values_of(size_t index) { return kAllValues[index % std::size(kAllValues)]; }

std::string case_name(int64_t n_tokens, int64_t n_cols, Values values) {
  return "tokens " + std::to_string(n_tokens) + " cols " + std::to_string(n_cols) + " " + values_name(values);
}

// y may be x: a third of the cases are in place.
void add_output(Case& c, MatrixView& y, const MatrixView& x, Rng& rng) {
  if (rng.below(3) == 0) {
    y = x;
    c.memory.allow_writes(y, true);
  } else {
    y = c.memory.add_matrix(x.n_rows, x.n_cols, rng.pick({0, 2}), rng.coin());
    c.memory.allow_writes(y);
  }
}

template <typename Args>
const MatrixView& output_of(const Args& args) { return args.y; }
const MatrixView& output_of(const RopeTableArgs& args) { return args.table; }
const MatrixView& output_of(const RopeArgs& args) { return args.x; }

template <typename Args>
bool finish(Case& c, const Args& args, const CaseVisitor& visit) {
  c.expected = reference::evaluate(args);
  c.args = args;
  c.read = [](const AnyArgs& any) { return read_matrix(output_of(std::get<Args>(any))); };
  return visit(c);
}

}  // namespace

void each_rms_norm_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  size_t index = 0;
  for (int64_t group_cols : all_widths(context.is_brief)) {
    for (int64_t n_groups : {1, 3}) {
      const Values values = values_of(index++);
      Case c(context);
      c.name = case_name(2, group_cols * n_groups, values) + " groups " + std::to_string(n_groups);
      Rng rng(context.seed, c.name);
      RmsNormArgs args;
      args.x = c.memory.add_matrix(rng.pick({1, 2, 3}), group_cols * n_groups, rng.pick({0, 3}), rng.coin());
      fill(args.x, values, 1e15f, rng);
      args.group_cols = group_cols;
      args.eps = 1e-5f;
      if (rng.below(4) != 0) {
        const MatrixView weight = c.memory.add_matrix(1, group_cols, 0, rng.coin());
        fill(weight, Values::kOutliers, 1, rng);
        args.weight = weight.data;
      }
      add_output(c, args.y, args.x, rng);
      if (!finish(c, args, visit)) return;
    }
  }
}

void each_rms_norm_add_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  size_t index = 0;
  for (int64_t n_cols : all_widths(context.is_brief)) {
    const Values values = values_of(index++);
    Case c(context);
    c.name = case_name(2, n_cols, values);
    Rng rng(context.seed, c.name);
    RmsNormAddArgs args;
    args.x = c.memory.add_matrix(rng.pick({1, 2, 3}), n_cols, rng.pick({0, 3}), rng.coin());
    args.residual = c.memory.add_matrix(args.x.n_rows, n_cols, rng.pick({0, 5}), rng.coin());
    fill(args.x, values, 1e15f, rng);
    fill(args.residual, values_of(index), 1e15f, rng);
    args.eps = rng.coin() ? 1e-5f : 0.05f;
    if (rng.below(4) != 0) {
      const MatrixView weight = c.memory.add_matrix(1, n_cols, 0, rng.coin());
      fill(weight, Values::kOutliers, 1, rng);
      args.weight = weight.data;
    }
    add_output(c, args.y, rng.coin() ? args.x : args.residual, rng);
    if (!finish(c, args, visit)) return;
  }
}

void each_rope_table_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  for (int64_t n_rot : {2, 6, 32, 64, 80, 128, 256}) {
    for (const char* kind : {"plain", "linear", "factors", "yarn", "yarn and factors"}) {
      Case c(context);
      c.name = std::string(kind) + " n_rot " + std::to_string(n_rot);
      Rng rng(context.seed, c.name);
      const bool is_yarn = kind[0] == 'y';
      RopeTableArgs args;
      args.config.n_rot = n_rot;
      args.config.freq_base = rng.coin() ? 10000.0 : 1e6;
      args.config.attn_factor = rng.coin() ? 1.0 : 1.25;
      if (kind[0] == 'l') args.config.freq_scale = 0.125;
      if (is_yarn) {
        args.config.freq_scale = 0.25;
        args.config.ext_factor = rng.coin() ? 1.0 : 0.5;
        args.config.n_ctx_orig = 4096;
      }
      if (std::string_view(kind).find("factors") != std::string_view::npos) {
        const MatrixView factors = c.memory.add_matrix(1, n_rot / 2, 0, rng.coin());
        for (int64_t i = 0; i < n_rot / 2; ++i) factors.data[i] = 1 + 30 * std::abs(rng.uniform());
        args.config.freq_factors = factors.data;
      }
      const int64_t n_tokens = rng.pick({1, 2, 5});
      auto* tokens = reinterpret_cast<TokenSlot*>(c.memory.add(static_cast<size_t>(n_tokens) * sizeof(TokenSlot)));
      for (int64_t i = 0; i < n_tokens; ++i)
        tokens[i] = {static_cast<int32_t>(rng.below(3)), static_cast<int32_t>(rng.pick({0, 1, 17, 4095, 131071}))};
      args.tokens = tokens;
      args.table = c.memory.add_matrix(n_tokens, n_rot, rng.pick({0, 2}), rng.coin());
      c.memory.allow_writes(args.table);
      if (!finish(c, args, visit)) return;
    }
    if (context.is_brief) return;
  }
}

void each_rope_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  size_t index = 0;
  for (int64_t n_rot : {2, 4, 6, 14, 16, 18, 32, 48, 64, 80, 128, 256}) {
    for (bool is_neox : {false, true}) {
      for (int64_t rest : {0, 2, 13, 16}) {
        const Values values = values_of(index++);
        Case c(context);
        c.name = std::string(is_neox ? "neox" : "pairs") + " n_rot " + std::to_string(n_rot) + " rest " +
                 std::to_string(rest) + " " + values_name(values);
        Rng rng(context.seed, c.name);
        RopeArgs args;
        args.n_heads = rng.pick({1, 2, 3});
        args.head_dim = n_rot + rest;
        args.is_neox = is_neox;
        const int64_t n_tokens = rng.pick({1, 2, 3});
        args.x = c.memory.add_matrix(n_tokens, args.n_heads * args.head_dim, rng.pick({0, 5}), rng.coin());
        fill(args.x, values, 1e25f, rng);
        args.table = c.memory.add_matrix(n_tokens, n_rot, rng.pick({0, 1}), rng.coin());
        for (int64_t token = 0; token < n_tokens; ++token) {
          for (int64_t pair = 0; pair < n_rot / 2; ++pair) {
            const double angle = 3.2 * rng.uniform();
            args.table.row(token)[2 * pair] = static_cast<float>(std::cos(angle));
            args.table.row(token)[2 * pair + 1] = static_cast<float>(std::sin(angle));
          }
        }
        c.memory.allow_writes(args.x, true);
        if (!finish(c, args, visit)) return;
      }
    }
    if (context.is_brief && n_rot >= 16) return;
  }
}

namespace {

bool visit_gated(const CaseContext& context, int64_t n_cols, Values values, Activation activation,
                 const CaseVisitor& visit) {
  Case c(context);
  c.name = case_name(2, n_cols, values) + " activation " + std::to_string(static_cast<int>(activation));
  Rng rng(context.seed, c.name);
  const int64_t n_tokens = rng.pick({1, 2, 3});
  GatedActivationArgs args;
  args.activation = activation;
  args.gate = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
  args.up = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 1}), rng.coin());
  fill(args.gate, values, 1e15f, rng);
  fill(args.up, values, 1e15f, rng);
  if (values == Values::kRandom)
    for (int64_t row = 0; row < n_tokens; ++row)
      for (int64_t col = 0; col < n_cols; ++col) args.gate.row(row)[col] *= 12;
  add_output(c, args.y, rng.coin() ? args.gate : args.up, rng);
  return finish(c, args, visit);
}

template <typename Args>
bool visit_unary(const CaseContext& context, int64_t n_cols, Values values, float Args::*constant,
                 const CaseVisitor& visit) {
  Case c(context);
  c.name = case_name(2, n_cols, values);
  Rng rng(context.seed, c.name);
  Args args;
  args.x = c.memory.add_matrix(rng.pick({1, 2, 3}), n_cols, rng.pick({0, 3}), rng.coin());
  fill(args.x, values, 1e30f, rng);
  args.*constant = rng.coin() ? 30.0f : 0.3125f;
  if (values == Values::kRandom)
    for (int64_t row = 0; row < args.x.n_rows; ++row)
      for (int64_t col = 0; col < n_cols; ++col) args.x.row(row)[col] *= 100;
  add_output(c, args.y, args.x, rng);
  return finish(c, args, visit);
}

// n_tokens 0: a few.
bool visit_add(const CaseContext& context, int64_t n_tokens, int64_t n_cols, Values values,
               const CaseVisitor& visit) {
  Case c(context);
  c.name = case_name(n_tokens > 0 ? n_tokens : 2, n_cols, values);
  Rng rng(context.seed, c.name);
  AddArgs args;
  if (n_tokens == 0) n_tokens = rng.pick({1, 2, 3});
  args.a = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
  fill(args.a, values, 1e30f, rng);
  if (rng.coin()) {  // one row for all tokens
    args.b = c.memory.add_matrix(1, n_cols, 0, rng.coin());
    fill(args.b, values, 1e30f, rng);
    args.b.n_rows = n_tokens;
    args.b.row_stride_elems = 0;
    add_output(c, args.y, args.a, rng);
  } else {
    args.b = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
    fill(args.b, values, 1e30f, rng);
    add_output(c, args.y, rng.coin() ? args.a : args.b, rng);
  }
  return finish(c, args, visit);
}

}  // namespace

void each_elementwise_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  for (int64_t n_cols : all_widths(context.is_brief)) {
    for (Values values : kAllValues) {
      bool wants_more = true;
      switch (row.op) {
        case Op::kGatedActivation:
          for (Activation activation :
               {Activation::kSilu, Activation::kGeluTanh, Activation::kGeluErf, Activation::kRelu})
            wants_more = wants_more && visit_gated(context, n_cols, values, activation, visit);
          break;
        case Op::kAdd: wants_more = visit_add(context, 0, n_cols, values, visit); break;
        case Op::kScale: wants_more = visit_unary(context, n_cols, values, &ScaleArgs::scale, visit); break;
        default: wants_more = visit_unary(context, n_cols, values, &SoftcapArgs::cap, visit); break;
      }
      if (!wants_more) return;
    }
  }
  // More than a million elements, each of which counts.
  if (row.op == Op::kAdd && !context.is_brief)
    visit_add(context, 997, 1031, Values::kRandom, visit);
}

void each_softmax_case(const KernelRow&, const CaseContext& context, const CaseVisitor& visit) {
  const float minus_infinity = -std::numeric_limits<float>::infinity();
  size_t index = 0;
  for (int64_t n_cols : all_widths(context.is_brief)) {
    for (int64_t n_masked : {int64_t{0}, n_cols / 2, n_cols}) {
      const Values values = values_of(index++);
      Case c(context);
      c.name = case_name(2, n_cols, values) + " masked " + std::to_string(n_masked);
      Rng rng(context.seed, c.name);
      SoftmaxArgs args;
      args.x = c.memory.add_matrix(rng.pick({1, 2, 3}), n_cols, rng.pick({0, 3}), rng.coin());
      fill(args.x, values, 1e30f, rng);
      for (int64_t token = 0; token < args.x.n_rows; ++token) {
        const int64_t from = rng.below(n_cols - n_masked + 1);
        for (int64_t i = 0; i < n_masked; ++i) args.x.row(token)[from + i] = minus_infinity;
      }
      add_output(c, args.y, args.x, rng);
      if (!finish(c, args, visit)) return;
    }
  }
}

}  // namespace olx::kernels::contract
