#include "bench/kernel_bench.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>

#include "bench/counts.h"
#include "bench/html_report.h"
#include "bench/json_fields.h"
#include "bench/machine.h"
#include "bench/roofline.h"
#include "bench/statistics.h"
#include "bench/workload.h"
#include "gguf/ascii.h"
#include "tests/kernels/contract/check_row.h"

namespace olx::bench {
namespace {

namespace json = boost::json;
namespace contract = kernels::contract;
using kernels::KernelRow;
using kernels::Op;

constexpr int kMaxTokens = 8192;
constexpr int kMinSamples = 20;
constexpr double kMinSampleSeconds = 50e-6;

struct Timing {
  double seconds = 0, spread = 0;  // of one execution
  int n_samples = 0;
};

// At least kMinSamples and at least `budget` seconds, but no more than four times that, unless three samples take longer.
Timing time_executions(kernels::Device& device, std::span<const std::vector<kernels::BoundNode>> executions, double budget) {
  size_t next = 0;
  const auto run = [&](int n) {
    const double start = now_seconds();
    for (int i = 0; i < n; ++i) device.execute(executions[next++ % executions.size()]);
    device.sync();
    return now_seconds() - start;
  };
  run(1);
  const double once = run(1);
  const int n_inner = static_cast<int>(std::clamp(kMinSampleSeconds / std::max(once, 1e-8), 1.0, 1000.0));
  std::vector<double> samples;
  double total = 0;
  while (samples.size() < 3 || (total < 4 * budget && (total < budget || samples.size() < kMinSamples))) {
    samples.push_back(run(n_inner) / n_inner);
    total += samples.back() * n_inner;
  }
  return {median(samples), median_absolute_deviation(samples), static_cast<int>(samples.size())};
}

// What a device that is not the processor reads and writes at most: its own Add, over more and more until it takes some
// milliseconds.
double measure_device_gbps(kernels::Device& device) {
  constexpr int64_t kCols = 4096, kMostBytes = 512ll << 20;
  constexpr double kLongEnough = 5e-3;
  constexpr int kPasses = 5;
  const KernelRow* row = kernels::KernelRegistry::instance().select({.op = Op::kAdd}, device.info());
  if (row == nullptr) throw std::runtime_error(device.info().name + ": there is no add, to measure its memory with");
  for (int64_t n_rows = 16;; n_rows *= 2) {
    const int64_t size_bytes = n_rows * kCols * static_cast<int64_t>(sizeof(float));
    const auto memory = device.allocate(static_cast<size_t>(3 * size_bytes));
    auto* values = static_cast<float*>(memory->data());
    const auto matrix = [&](int64_t i) { return kernels::MatrixView{values + i * n_rows * kCols, n_rows, kCols, kCols}; };
    kernels::AddArgs args{matrix(0), matrix(1), matrix(2)};
    const kernels::BoundNode node{row, &args};
    double best = 1e9;
    for (int i = 0; i < kPasses; ++i) {
      const double start = now_seconds();
      device.execute({&node, 1});
      device.sync();
      best = std::min(best, now_seconds() - start);
    }
    if (best > kLongEnough || 6 * size_bytes > kMostBytes) return static_cast<double>(3 * size_bytes) / best / 1e9;
  }
}

std::string lower_dtype(const KernelRow& row) {
  return ascii::lower(gguf::dtype_info(row.dtype).name);
}

std::vector<const KernelRow*> rows_of(const KernelBenchOptions& options, const kernels::DeviceInfo& device, size_t& n_left_out) {
  std::vector<const KernelRow*> rows;
  std::set<std::string> ops{"all"}, dtypes;
  for (const KernelRow& row : kernels::KernelRegistry::instance().rows()) {
    if (device.backend != row.backend) continue;
    ops.emplace(kernels::op_name(row.op));
    if (options.op != "all" && kernels::op_name(row.op) != options.op) continue;
    dtypes.insert(lower_dtype(row));
    if (!options.dtype.empty() && lower_dtype(row) != options.dtype) continue;
    if ((row.features & ~device.features) != 0) ++n_left_out;
    else rows.push_back(&row);
  }
  const auto refuse = [](const std::string& what, const std::string& got, const std::set<std::string>& valid) {
    std::string names;
    for (const std::string& name : valid) names += (names.empty() ? "" : ", ") + name;
    throw std::runtime_error(what + ": expected one of " + names + "; got '" + got + "'");
  };
  if (!ops.contains(options.op)) refuse("--op", options.op, ops);
  if (!options.dtype.empty() && !dtypes.contains(options.dtype)) refuse("--dtype", options.dtype, dtypes);
  if (rows.empty()) throw std::runtime_error("this machine can run none of the " + std::to_string(n_left_out) + " rows asked for");
  std::stable_sort(rows.begin(), rows.end(), [](const KernelRow* a, const KernelRow* b) {
    return std::pair(a->op, a->dtype) < std::pair(b->op, b->dtype);
  });
  return rows;
}

class Bench {
 public:
  Bench(const KernelBenchOptions& options, kernels::Device& device)
      : options_(options), device_(device), shape_(read_model_shape(options.shape)), counts_(parse_counts("--tokens", options.tokens, kMaxTokens)),
        roofline_(measure_roofline(device.info().n_threads)),
        device_gbps_(device.info().backend == "cpu" ? 0 : measure_device_gbps(device)) {}

  // A row of the report.
  json::object measure(const KernelRow& row);
  const Roofline& roofline() const { return roofline_; }
  double device_gbps() const { return device_gbps_; }
  const ModelShape& shape() const { return shape_; }

 private:
  json::object measure_tokens(const KernelRow& row, Workload& work, double share_of_bound);

  const KernelBenchOptions& options_;
  kernels::Device& device_;
  const ModelShape shape_;
  const std::vector<int> counts_;
  const Roofline roofline_;
  const double device_gbps_;  // 0: the processor, whose limits are the roofline's
};

json::object Bench::measure_tokens(const KernelRow& row, Workload& work, double share_of_bound) {
  const Timing timing = time_executions(device_, work.executions(), options_.seconds);
  const bool is_int8 = row.op == Op::kMatmul && row.activation != &kernels::kActivationF32;
  const Peak& peak = roofline_.best(is_int8 ? "int8" : "f32", device_.info().features);
  const double gbps = work.is_cold() ? roofline_.gbps() : roofline_.cache.gbps_n;
  const double least = device_gbps_ > 0 ? work.bytes() / device_gbps_ / 1e9
                                        : std::max(work.bytes() / gbps, work.operations() / peak.gops_n) / 1e9;
  return {{"ms", timing.seconds * 1e3}, {"mad_ms", timing.spread * 1e3}, {"n_samples", timing.n_samples},
          {"gbps", work.bytes() / timing.seconds / 1e9}, {"gops", work.operations() / timing.seconds / 1e9},
          {"operations_per_byte", work.operations() / work.bytes()}, {"peak", device_gbps_ > 0 ? "memory of the device" : peak.name}, {"share", least / timing.seconds},
          {"share_of_bound", share_of_bound}};
}

json::object Bench::measure(const KernelRow& row) {
  json::object report{{"op", kernels::op_name(row.op)}, {"dtype", lower_dtype(row)}, {"name", row.name}, {"variant", row.variant},
                      {"activation", row.activation->name}, {"layout", row.layout != nullptr ? row.layout->name : ""}, {"rank", row.rank}};
  contract::CaseContext context{contract::test_seed(), false, kernels::KernelRegistry::instance().rows(), device_.info().features};
  if (row.run == nullptr) context.device = &device_;
  const contract::Verdict verdict = contract::judge_row(row, context);
  report["n_cases"] = verdict.n_cases;
  report["share_of_bound"] = verdict.worst;
  report["failures"] = json::value_from(verdict.failures);
  report["is_wrong"] = !verdict.failures.empty();
  json::array& results = report["results"].emplace_array();
  if (!verdict.failures.empty()) return report;
  try {
    const WorkloadOptions work_options{*std::max_element(counts_.begin(), counts_.end()), options_.n_depth};
    const auto make = row.op == Op::kMatmul ? &make_matmul_workload : &make_op_workload;
    const std::unique_ptr<Workload> work = make(row, shape_, work_options, device_);
    for (int n_tokens : counts_) {
      if (std::string refusal = work->set_tokens(n_tokens); !refusal.empty()) throw std::runtime_error(refusal);
      const double share_of_bound = work->check(device_);
      if (share_of_bound > 1) {
        report["is_wrong"] = true;
        report["failures"].as_array().push_back(json::string("shape " + shape_.name + " tokens " + std::to_string(n_tokens) +
                                                             ": an element is " + std::to_string(share_of_bound) + " times its bound away"));
        results.clear();
        return report;
      }
      json::object result = measure_tokens(row, *work, share_of_bound);
      result["n_tokens"] = n_tokens;
      results.push_back(std::move(result));
    }
  } catch (const std::runtime_error& error) {
    report["not_timed"] = error.what();
  }
  return report;
}

void print_row(const json::value& row) {
  if (row.at("is_wrong").as_bool()) {
    std::printf("| %s | %s | **WRONG** | | | | | | |\n", text(row, "name"), text(row, "activation"));
    return;
  }
  if (const json::value* why = row.as_object().if_contains("not_timed"))
    std::printf("| %s | %s | %.2f | not timed: %s | | | | | |\n", text(row, "name"), text(row, "activation"), number(row, "share_of_bound"), why->as_string().c_str());
  for (const json::value& result : row.at("results").as_array()) {
    std::printf("| %s | %s | %.2f | %lld | %.4f | %.4f | %.1f |", text(row, "name"), text(row, "activation"),
                std::max(number(row, "share_of_bound"), number(result, "share_of_bound")),
                static_cast<long long>(result.at("n_tokens").as_int64()), number(result, "ms"), number(result, "mad_ms"), number(result, "gbps"));
    if (number(result, "gops") > 0) std::printf(" %.0f |", number(result, "gops"));
    else std::printf(" |");
    std::printf(" %.0f %% |\n", 100 * number(result, "share"));
  }
}

// How a step grows with the number of tokens it computes: a line a row.
void print_steps(const std::vector<const json::value*>& rows, int64_t n_layers) {
  const json::array& first = rows.front()->at("results").as_array();
  std::printf("\nms per step of %lld layers, without the output matrix:\n\n| kernel |", static_cast<long long>(n_layers));
  for (const json::value& result : first) std::printf(" %lld |", static_cast<long long>(result.at("n_tokens").as_int64()));
  std::printf("\n| --- |");
  for (size_t i = 0; i < first.size(); ++i) std::printf(" --- |");
  for (const json::value* row : rows) {
    std::printf("\n| %s |", text(*row, "name"));
    for (const json::value& result : row->at("results").as_array()) std::printf(" %.2f |", number(result, "ms") * static_cast<double>(n_layers));
  }
  std::printf("\n");
}

void print_report(const json::object& report, const ModelShape& shape) {
  const json::value& roofline = report.at("roofline");
  std::printf("ollamax-bench kernels\n\n- %s; built with %s%s\n", report.at("device").as_string().c_str(), OLLAMAX_COMPILER,
              has_asserts() ? " WITH ASSERTS: not for comparison" : "");
  std::printf("- sizes of %s; %lld rows of the registry need a processor that this is not\n", shape.name.c_str(),
              static_cast<long long>(report.at("n_left_out").to_number<int64_t>()));
  if (const double gbps = report.at("device_gbps").to_number<double>(); gbps > 0)
    std::printf("- the device reads and writes %.1f GB/s (its own add): that is the limit below; what follows is the processor's\n", gbps);
  std::printf("- reads %.1f GB/s from memory, %.1f GB/s from the cache;", std::max(number(roofline.at("read_large_pages"), "gbps"), number(roofline.at("read_plain_pages"), "gbps")),
              number(roofline.at("read_cache"), "gbps"));
  for (const json::value& peak : roofline.at("peaks").as_array()) std::printf(" %s %.0f GOP/s,", text(peak, "name"), number(peak, "gops"));
  std::printf(" a multiply-add being two\n- the limit of a matmul is the memory or the arithmetic, of any other op the cache, read, or the arithmetic\n- error: the largest distance from the reference, where 1 is the bound of the contract\n");
  const json::array& rows = report.at("rows").as_array();
  for (size_t i = 0; i < rows.size();) {
    std::printf("\n### %s %s\n\n| kernel | activations | error | tokens | ms | MAD | GB/s | GOP/s | of the limit |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
                text(rows[i], "op"), text(rows[i], "dtype"));
    const size_t from = i;
    std::vector<const json::value*> timed;
    for (; i < rows.size() && rows[i].at("op") == rows[from].at("op") && rows[i].at("dtype") == rows[from].at("dtype"); ++i) {
      print_row(rows[i]);
      if (!rows[i].at("results").as_array().empty()) timed.push_back(&rows[i]);
    }
    if (rows[from].at("op") == "matmul" && !timed.empty()) print_steps(timed, shape.n_layers);
  }
  for (const json::value& row : rows)
    for (const json::value& failure : row.at("failures").as_array()) std::printf("\nWRONG: %s\n", failure.as_string().c_str());
}

}  // namespace

void load_plugins(const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  const char* set = std::getenv("OLLAMAX_KERNEL_PLUGINS");
  std::string list = set != nullptr ? set : "";
  for (const std::string& path : paths) list += (list.empty() ? "" : ":") + path;
  ::setenv("OLLAMAX_KERNEL_PLUGINS", list.c_str(), 1);
}

int run_kernel_bench(const KernelBenchOptions& options) {
  load_plugins(options.plugins);
  const kernels::Backend* backend = kernels::find_backend(options.device);
  if (backend == nullptr || backend->unavailable_reason != nullptr)
    throw std::runtime_error("--device: there is no " + options.device + (backend != nullptr ? std::string(": ") + backend->unavailable_reason : ""));
  const auto device = backend->open({.n_threads = options.n_threads, .cpu_isa = options.cpu_isa});
  size_t n_left_out = 0;
  const std::vector<const KernelRow*> rows = rows_of(options, device->info(), n_left_out);
  Bench bench(options, *device);
  json::array row_reports;
  int64_t n_wrong = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::fprintf(stderr, "%zu of %zu: %s\n", i + 1, rows.size(), contract::describe(*rows[i]).c_str());
    row_reports.push_back(bench.measure(*rows[i]));
    if (row_reports.back().at("is_wrong").as_bool()) ++n_wrong;
  }
  json::object report{{"command", "kernels"}, {"cpu", cpu_name()}, {"device", device->info().name}, {"n_threads", device->info().n_threads},
                      {"shape", bench.shape().name}, {"n_layers", bench.shape().n_layers}, {"n_depth", options.n_depth}, {"has_asserts", has_asserts()},
                      {"compiler", OLLAMAX_COMPILER}, {"version", OLLAMAX_VERSION}, {"roofline", to_json(bench.roofline())}, {"device_gbps", bench.device_gbps()},
                      {"n_left_out", n_left_out}, {"n_wrong", n_wrong}, {"rows", std::move(row_reports)}};
  if (!options.html_path.empty()) write_html_report(options.html_path, "kernels", report);
  if (options.is_json) std::puts(json::serialize(report).c_str());
  else print_report(report, bench.shape());
  if (n_wrong > 0) std::fprintf(stderr, "Error: %lld rows break their contract and were not timed\n", static_cast<long long>(n_wrong));
  return n_wrong > 0 ? 1 : 0;
}

}  // namespace olx::bench
