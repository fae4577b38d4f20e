// Cases of the ops that read weights or make activations: matmul, embed, quantize.

#include <algorithm>
#include <cstring>
#include <numeric>

#include "gguf/check.h"
#include "tests/kernels/contract/case.h"

namespace olx::kernels::contract {
namespace {

struct Shape {
  int64_t n_tokens, n_rows, n_cols;
  Values values;
};

// Row lengths a type can have: multiples of its block, and of 32 where activations are quantized in blocks.
std::vector<int64_t> widths(DType dtype, int64_t activation_block) {
  const int64_t step = std::lcm(gguf::dtype_info(dtype).block_elems, activation_block);
  if (step > 1) return {step, 2 * step, 3 * step, 5 * step};
  return {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 100};
}

// The smallest of 576, 1024, 1536 ... that is a legal row length: a small model's.
int64_t model_width(DType dtype) { return gguf::dtype_info(dtype).block_elems > 64 ? 768 : 576; }

std::vector<Shape> matmul_shapes(const KernelRow& row, bool is_brief, Rng& rng) {
  const std::vector<int64_t> cols = widths(row.dtype, row.activation->block_elems);
  const int64_t block_rows = row.layout != nullptr ? row.layout->row_multiple : 16;
  const std::vector<int64_t> rows{1, 2, 3, 4, 5, 7, 8, 9, block_rows - 1, block_rows, block_rows + 1, 2 * block_rows + 3};
  const auto any = [&](const std::vector<int64_t>& of) { return of[static_cast<size_t>(rng.below(static_cast<int64_t>(of.size())))]; };
  const auto any_values = [&] { return static_cast<Values>(rng.below(5)); };
  std::vector<Shape> shapes;
  for (int64_t n_tokens = 1; n_tokens <= 20; ++n_tokens)
    shapes.push_back({n_tokens, any(rows), any(cols), n_tokens % 3 == 0 ? any_values() : Values::kRandom});
  if (is_brief) {
    shapes.resize(8);
    return shapes;
  }
  for (int64_t n_rows : rows)
    if (n_rows > 0) shapes.push_back({rng.pick({1, 2, 4, 9}), n_rows, any(cols), Values::kRandom});
  for (int64_t n_cols : cols) shapes.push_back({rng.pick({1, 3, 6}), any(rows), n_cols, Values::kRandom});
  for (Values values : {Values::kZero, Values::kMaxCodes, Values::kMaxCodes, Values::kHuge, Values::kOutliers})
    for (int64_t n_tokens : {1, 5}) shapes.push_back({n_tokens, block_rows + 1, cols.back(), values});
  shapes.push_back({1, 200, model_width(row.dtype), Values::kRandom});
  shapes.push_back({13, 72, model_width(row.dtype), Values::kOutliers});
  for (int64_t n_tokens : {2, 11}) shapes.push_back({n_tokens, 24, 6 * 1024, Values::kRandom});
  shapes.push_back({50, 300, 2 * model_width(row.dtype), Values::kRandom});
  // More than a million elements, each of which counts.
  if (row.dtype == DType::kF32) shapes.push_back({517, 2039, 8, Values::kRandom});
  for (Shape& shape : shapes) shape.n_rows = std::max<int64_t>(shape.n_rows, 1);
  return shapes;
}

// Native bytes as the row's layout wants them, packed in two calls where that is possible. Every row must unpack again.
const void* add_weights(const KernelRow& row, const std::vector<std::byte>& native, int64_t n_rows, int64_t n_cols,
                        Memory& memory) {
  if (row.layout == nullptr) {
    std::byte* data = memory.add(native.size());
    std::memcpy(data, native.data(), native.size());
    return data;
  }
  const WeightLayout& layout = *row.layout;
  const auto size = static_cast<size_t>(layout.size_bytes(row.dtype, n_rows, n_cols));
  std::byte* packed = memory.add(size);
  std::memset(packed, 0, size);
  const int64_t row_bytes = gguf::row_size_bytes(row.dtype, n_cols);
  const int64_t middle = std::min(n_rows, n_rows / 2 / layout.row_multiple * layout.row_multiple);
  for (const RowRange& range : {RowRange{0, middle}, RowRange{middle, n_rows}})
    if (range.size() > 0)
      layout.pack(row.dtype, n_rows, n_cols, native.data() + range.from * row_bytes, packed, range);
  std::vector<std::byte> back(static_cast<size_t>(row_bytes));
  for (int64_t i = 0; i < n_rows; ++i) {
    layout.unpack_row(row.dtype, n_rows, n_cols, packed, i, back.data());
    const bool is_same = std::memcmp(back.data(), native.data() + i * row_bytes, back.size()) == 0;
    if (!is_same)
      throw std::runtime_error(std::string("layout ") + layout.name + " (" +
                               std::string(gguf::dtype_info(row.dtype).name) + ", " + std::to_string(n_rows) + " x " +
                               std::to_string(n_cols) + "): row " + std::to_string(i) +
                               " does not unpack to the bytes that were packed");
  }
  return packed;
}

// x as the row's format wants it, made by a kQuantize row: of the same variant where there is one.
ActivationView add_activations(const KernelRow& row, const CaseContext& context, const MatrixView& x, int64_t n_prompt,
                               Memory& memory) {
  if (is_rows(*row.activation)) return {x.data, row.activation, x.n_rows, x.n_cols, x.row_stride_elems};
  const auto size = static_cast<size_t>(row.activation->size_bytes(x.n_rows, x.n_cols));
  QuantizeArgs args{{memory.add(size), row.activation, x.n_rows, x.n_cols, 0, n_prompt}, x};
  run_row(quantize_row_for(row, context.rows, context.features), &args, {0, x.n_rows}, context);
  return args.y;
}

// How far the product of the true x may be from that of the decoded x: the format's step times sum max|x| W.
void widen_by_activation_step(const MatmulArgs& args, const MatrixView& x, reference::Expected& expected) {
  const ActivationFormat& format = *args.x.format;
  Memory memory;
  const MatrixView steps = memory.add_matrix(x.n_rows, x.n_cols, 0, false);
  for (int64_t row = 0; row < x.n_rows; ++row) {
    for (int64_t col = 0; col < x.n_cols; ++col) {
      const int64_t from = col / format.block_elems * format.block_elems;
      float largest = 0;
      for (int64_t i = from; i < std::min(from + format.block_elems, x.n_cols); ++i)
        largest = std::max(largest, std::abs(x.row(row)[i]));
      steps.row(row)[col] = largest;
    }
  }
  MatmulArgs exact = args;
  exact.x = {x.data, &kActivationF32, x.n_rows, x.n_cols, x.row_stride_elems};
  MatmulArgs magnitude = exact;
  magnitude.x.data = steps.data;
  magnitude.x.row_stride_elems = steps.row_stride_elems;
  magnitude.bias = magnitude.residual = nullptr;
  const reference::Expected of_exact = reference::evaluate(exact), of_steps = reference::evaluate(magnitude);
  const double to_sum = 0x1p24 / static_cast<double>(args.w.n_cols + 8);  // a bound back to its sum|x| W
  for (size_t i = 0; i < expected.value.size(); ++i) {
    expected.bound[i] += format.step * of_steps.bound[i] * to_sum * (1 + format.weight_step);
    expected.value[i] = of_exact.value[i];
  }
}

}  // namespace

const KernelRow& quantize_row_for(const KernelRow& row, std::span<const KernelRow> rows, Features features) {
  const KernelRow* best = nullptr;
  for (const KernelRow& candidate : rows) {
    if (candidate.op != Op::kQuantize || candidate.activation != row.activation) continue;
    // A row that runs on its device alone goes with those of the same device.
    if ((candidate.run == nullptr || row.run == nullptr) && std::strcmp(candidate.backend, row.backend) != 0) continue;
    if ((candidate.features & ~features) != 0) continue;
    const bool is_same_variant = std::strcmp(candidate.variant, row.variant) == 0;
    if (best == nullptr || is_same_variant) best = &candidate;
  }
  if (best == nullptr)
    throw std::runtime_error(std::string("no quantize kernel for the activation format ") + row.activation->name);
  return *best;
}

void each_matmul_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  Rng shape_rng(context.seed, "matmul shapes");
  for (const Shape& shape : matmul_shapes(row, context.is_brief, shape_rng)) {
    Case c(context);
    c.name = "tokens " + std::to_string(shape.n_tokens) + " rows " + std::to_string(shape.n_rows) + " cols " +
             std::to_string(shape.n_cols) + " " + values_name(shape.values);
    Rng rng(context.seed, c.name);
    const std::vector<std::byte> native = random_weights(row.dtype, shape.n_rows, shape.n_cols, shape.values, rng);
    MatmulArgs args;
    args.w = {add_weights(row, native, shape.n_rows, shape.n_cols, c.memory), row.dtype, row.layout, shape.n_rows,
              shape.n_cols};
    const MatrixView x = c.memory.add_matrix(shape.n_tokens, shape.n_cols, rng.pick({0, 3}), rng.coin());
    fill(x, shape.values, 1e25f, rng);
    const int64_t n_prompt = rng.pick({0, shape.n_tokens, shape.n_tokens, rng.below(shape.n_tokens + 1)});
    args.x = add_activations(row, context, x, n_prompt, c.memory);
    c.name += " prompt " + std::to_string(n_prompt);
    args.y = c.memory.add_matrix(shape.n_tokens, shape.n_rows, rng.pick({0, 1, 5}), rng.coin());
    if (rng.coin()) {
      const MatrixView bias = c.memory.add_matrix(1, shape.n_rows, 0, rng.coin());
      fill(bias, Values::kRandom, 1, rng);
      args.bias = bias.data;
    }
    const int64_t residual_kind = rng.below(3);
    if (residual_kind == 1) {  // a matrix of its own
      MatrixView residual = args.y;
      residual.data = c.memory.add_matrix(shape.n_tokens, shape.n_rows, args.y.row_stride_elems - shape.n_rows, false).data;
      fill(residual, Values::kOutliers, 1, rng);
      args.residual = residual.data;
    } else if (residual_kind == 2) {  // y itself
      fill(args.y, Values::kOutliers, 1, rng);
      args.residual = args.y.data;
    }
    c.memory.allow_writes(args.y, residual_kind == 2);
    c.split_multiple = row.layout != nullptr ? row.layout->row_multiple : 1;
    c.expected = reference::evaluate(args);
    c.args = args;
    c.read = [](const AnyArgs& any) { return read_matrix(std::get<MatmulArgs>(any).y); };
    if (!visit(c)) return;

    if (row.activation == &kActivationF32 || context.is_brief) continue;
    c.name += " end to end";
    c.memory.reset();
    widen_by_activation_step(args, x, c.expected);
    if (!visit(c)) return;
  }
}

void each_embed_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  Rng shape_rng(context.seed, "embed shapes");
  std::vector<int64_t> cols = widths(row.dtype, 1);
  if (context.is_brief) cols.resize(3);
  else cols.push_back(model_width(row.dtype));
  for (int64_t n_cols : cols) {
    for (Values values : {Values::kRandom, Values::kMaxCodes, Values::kOutliers}) {
      const int64_t n_tokens = shape_rng.pick({1, 2, 7}), n_rows = shape_rng.pick({1, 5, 16, 37});
      Case c(context);
      c.name = "tokens " + std::to_string(n_tokens) + " rows " + std::to_string(n_rows) + " cols " +
               std::to_string(n_cols) + " " + values_name(values);
      Rng rng(context.seed, c.name);
      EmbedArgs args;
      const std::vector<std::byte> native = random_weights(row.dtype, n_rows, n_cols, values, rng);
      args.table = {add_weights(row, native, n_rows, n_cols, c.memory), row.dtype, row.layout, n_rows, n_cols};
      args.scale = rng.coin() ? 1.0f : 22.627417f;
      auto* ids = reinterpret_cast<int32_t*>(c.memory.add(static_cast<size_t>(n_tokens) * sizeof(int32_t)));
      for (int64_t i = 0; i < n_tokens; ++i) ids[i] = static_cast<int32_t>(i == 0 ? n_rows - 1 : rng.below(n_rows));
      args.ids = ids;
      args.y = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
      c.memory.allow_writes(args.y);
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = [](const AnyArgs& any) { return read_matrix(std::get<EmbedArgs>(any).y); };
      if (!visit(c)) return;
    }
  }
}

void each_quantize_case(const KernelRow& row, const CaseContext& context, const CaseVisitor& visit) {
  OLX_CHECK(row.activation->decode != nullptr);
  for (int64_t n_cols : {32, 64, 96, 256, 288, 576, 768}) {
    for (Values values : {Values::kRandom, Values::kZero, Values::kMaxCodes, Values::kHuge, Values::kOutliers}) {
      Case c(context);
      c.name = "cols " + std::to_string(n_cols) + " " + values_name(values);
      Rng rng(context.seed, c.name);
      const int64_t n_tokens = rng.pick({1, 2, 3, 4, 5, 8, 11, 17, 20});
      c.name += " tokens " + std::to_string(n_tokens);
      QuantizeArgs args;
      args.x = c.memory.add_matrix(n_tokens, n_cols, rng.pick({0, 3}), rng.coin());
      fill(args.x, values, 1e30f, rng);
      const auto size = static_cast<size_t>(row.activation->size_bytes(n_tokens, n_cols));
      const int64_t n_prompt = rng.pick({0, n_tokens, rng.below(n_tokens + 1)});
      c.name += " prompt " + std::to_string(n_prompt);
      args.y = {c.memory.add(size), row.activation, n_tokens, n_cols, 0, n_prompt};
      c.memory.allow_writes(args.y.data, size);
      c.expected = reference::evaluate(args);
      c.args = args;
      c.read = [](const AnyArgs& any) {
        const ActivationView& y = std::get<QuantizeArgs>(any).y;
        std::vector<float> decoded(static_cast<size_t>(y.n_tokens * y.n_cols));
        for (int64_t token = 0; token < y.n_tokens; ++token)
          y.format->decode(y, token, decoded.data() + token * y.n_cols);
        return decoded;
      };
      if (!visit(c)) return;
      if (context.is_brief && n_cols > 64) return;
    }
  }
}

}  // namespace olx::kernels::contract
