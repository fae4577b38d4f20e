#include "kernels/api/registry.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <stdexcept>

#include "gguf/ascii.h"
#include "kernels/backend_rows.h"
#include "kernels/plugin_loader.h"

namespace olx::kernels {
namespace {

int64_t no_size(int64_t, int64_t) { return 0; }

std::string joined(const std::set<std::string>& names) {
  std::string result;
  for (const std::string& name : names) result += (result.empty() ? "" : ", ") + name;
  return result;
}

std::optional<Op> find_op(std::string_view name) {
  for (int i = 0; i < kNumOps; ++i)
    if (op_name(static_cast<Op>(i)) == name) return static_cast<Op>(i);
  return std::nullopt;
}

[[noreturn]] void refuse(std::string_view item, const std::string& why) {
  throw std::invalid_argument("OLLAMAX_KERNELS: '" + std::string(item) + "': " + why);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

const ActivationFormat kActivationF32{"f32", &no_size, nullptr, 0.0, 1};

const KernelRegistry& KernelRegistry::instance() {
  static const KernelRegistry registry;
  return registry;
}

KernelRegistry::KernelRegistry() {
  for (const BackendRows& rows_of : backend_rows()) {
    const std::span<const KernelRow> rows = rows_of();
    rows_.insert(rows_.end(), rows.begin(), rows.end());
  }
  if (const char* list = std::getenv("OLLAMAX_KERNEL_PLUGINS")) {
    for (const std::string& path : split_plugin_list(list)) {
      const std::vector<KernelRow> rows = load_plugin(path, rows_);
      rows_.insert(rows_.end(), rows.begin(), rows.end());
    }
  }
  if (const char* spec = std::getenv("OLLAMAX_KERNELS")) overrides_ = parse_overrides(spec);
}

std::vector<KernelRegistry::Override> KernelRegistry::parse_overrides(std::string_view spec) const {
  std::vector<Override> result;
  while (!spec.empty()) {
    const size_t end = std::min(spec.find(','), spec.size());
    const std::string_view item = trimmed(spec.substr(0, end));
    spec.remove_prefix(std::min(end + 1, spec.size()));
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) refuse(item, "expected op=variant or op.dtype=variant");
    const std::string_view key = trimmed(item.substr(0, equals));
    const size_t dot = std::min(key.find('.'), key.size());

    const std::optional<Op> op = find_op(key.substr(0, dot));
    if (!op) {
      std::set<std::string> names;
      for (int i = 0; i < kNumOps; ++i) names.emplace(op_name(static_cast<Op>(i)));
      refuse(item, "unknown op; valid: " + joined(names));
    }
    Override entry{*op, dot == key.size(), DType::kF32, std::string(trimmed(item.substr(equals + 1)))};
    std::set<std::string> dtypes;
    for (const KernelRow& row : rows_)
      if (row.op == entry.op) dtypes.insert(ascii::lower(gguf::dtype_info(row.dtype).name));
    if (!entry.any_dtype) {
      const std::string name = ascii::lower(key.substr(dot + 1));
      if (!dtypes.contains(name)) refuse(item, "no kernel for this type; valid: " + joined(dtypes));
      entry.dtype = gguf::find_dtype(std::string_view(name))->dtype;
    }
    std::set<std::string> names;
    bool is_known = false;
    for (const KernelRow& row : rows_) {
      if (row.op != entry.op || !(entry.any_dtype || row.dtype == entry.dtype)) continue;
      is_known = is_known || entry.value == row.variant || entry.value == row.name;
      names.insert({row.variant, row.name});
    }
    if (!is_known) refuse(item, "unknown kernel; valid: " + joined(names));
    result.push_back(std::move(entry));
  }
  return result;
}

const KernelRegistry::Override* KernelRegistry::find_override(Op op, DType dtype) const {
  const Override* found = nullptr;
  for (const Override& entry : overrides_) {  // a later one wins, except that a type beats "any type"
    if (entry.op != op || !(entry.any_dtype || entry.dtype == dtype)) continue;
    if (found == nullptr || found->any_dtype || !entry.any_dtype) found = &entry;
  }
  return found;
}

const KernelRow* KernelRegistry::select(const Query& query, const DeviceInfo& device) const {
  const auto answers = [&](const KernelRow& row) {
    return row.op == query.op && row.dtype == query.dtype && device.backend == row.backend &&
           (query.activation == nullptr || row.activation == query.activation) &&
           (query.op != Op::kMatmul || row.activation->step <= query.max_step) &&
           (query.op != Op::kEmbed || row.layout == nullptr || row.layout == query.layout);
  };
  const std::lock_guard lock(mutex_);
  const Override* override_entry = find_override(query.op, query.dtype);
  const auto is_named = [&](const KernelRow& row) {
    return override_entry != nullptr &&
           (override_entry->value == row.variant || override_entry->value == row.name);
  };
  const bool must_be_named = std::any_of(rows_.begin(), rows_.end(), [&](const KernelRow& row) {
    return answers(row) && is_named(row);
  });
  const KernelRow* best = nullptr;
  for (const KernelRow& row : rows_) {
    if (!answers(row) || (must_be_named ? !is_named(row) : row.rank < 0)) continue;
    if ((row.features & ~device.features) != 0) continue;
    if (row.accepts != nullptr && query.args != nullptr && !row.accepts(query.args)) continue;
    if (best == nullptr || row.rank > best->rank) best = &row;
  }
  return best;
}

void set_kernel_overrides(std::string_view spec) {
  // The one mutation of the registry; mutex_ makes it safe beside select().
  auto& registry = const_cast<KernelRegistry&>(KernelRegistry::instance());
  std::vector<KernelRegistry::Override> parsed = registry.parse_overrides(spec);
  const std::lock_guard lock(registry.mutex_);
  registry.overrides_ = std::move(parsed);
}

}  // namespace olx::kernels
