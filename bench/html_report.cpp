#include "bench/html_report.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "bench/embedded.h"
#include "bench/json_fields.h"

namespace olx::bench {
namespace {

namespace json = boost::json;

struct Bar {
  std::string label;
  double value = 0;
};
struct Point {
  std::string label;
  double operations_per_byte = 0, gops = 0;
};

std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  return result;
}

std::string decimal(double value, int n_digits = 1) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", n_digits, value);
  return text;
}

std::string bars(const std::string& title, const std::vector<Bar>& all) {
  if (all.empty()) return "";
  constexpr int kLeft = 330, kWidth = 520, kStep = 24;
  double most = 0;
  for (const Bar& bar : all) most = std::max(most, bar.value);
  std::string svg = "<h2>" + escaped(title) + "</h2>\n<svg role=\"img\" viewBox=\"0 0 960 " + std::to_string(kStep * all.size() + 8) + "\">\n";
  for (size_t i = 0; i < all.size(); ++i) {
    const int y = static_cast<int>(i) * kStep + 4;
    const double width = most > 0 ? kWidth * all[i].value / most : 0;
    svg += "<text x=\"" + std::to_string(kLeft - 8) + "\" y=\"" + std::to_string(y + 14) + "\" text-anchor=\"end\">" + escaped(all[i].label) +
           "</text><rect class=\"bar\" x=\"" + std::to_string(kLeft) + "\" y=\"" + std::to_string(y) + "\" height=\"18\" width=\"" + decimal(width) +
           "\"/><text x=\"" + decimal(kLeft + width + 6) + "\" y=\"" + std::to_string(y + 14) + "\">" + decimal(all[i].value) + "</text>\n";
  }
  return svg + "</svg>\n";
}

// Both axes are logarithmic: what a byte is used for against what is done a second, under the limits that were measured.
class RooflinePlot {
 public:
  RooflinePlot(const json::value& roofline, const std::vector<Point>& points) : points_(points) {
    gbps_ = std::max(number(roofline.at("read_large_pages"), "gbps"), number(roofline.at("read_plain_pages"), "gbps"));
    for (const json::value& peak : roofline.at("peaks").as_array())
      if (std::string_view(text(peak, "unit")) != "amx") peaks_.push_back({std::string(text(peak, "name")) + " (" + text(peak, "kind") + ")", number(peak, "gops")});
    for (const Bar& peak : peaks_) top_ = std::max(top_, std::log10(peak.value * 2));
    for (const Point& point : points_) {
      top_ = std::max(top_, std::log10(point.gops * 2));
      bottom_ = std::min(bottom_, std::log10(point.gops / 2));
      right_ = std::max(right_, std::log10(point.operations_per_byte * 2));
      left_ = std::min(left_, std::log10(point.operations_per_byte / 2));
    }
  }

  std::string svg() const {
    std::string out = "<h2>Roofline</h2>\n<svg role=\"img\" viewBox=\"0 0 960 460\">\n";
    for (int decade = static_cast<int>(std::ceil(left_)); decade <= right_; ++decade)
      out += line("axis", decade, bottom_, decade, top_) + label(decade, bottom_, "middle", power(decade), 0, 18);
    for (int decade = static_cast<int>(std::ceil(bottom_)); decade <= top_; ++decade)
      out += line("axis", left_, decade, right_, decade) + label(left_, decade, "end", power(decade), -6, 4);
    out += label((left_ + right_) / 2, bottom_, "middle", "operations a byte", 0, 40) + label(left_, top_, "start", "GOP/s", -50, -8);
    double ridge = left_;
    for (const Bar& peak : peaks_) {
      const double height = std::log10(peak.value), from = std::clamp(height - std::log10(gbps_), left_, right_);
      ridge = std::max(ridge, from);
      out += line("limit", from, height, right_, height) + label(right_, height, "end", peak.label + " " + decimal(peak.value, 0), 0, -4);
    }
    const double start = std::max(left_, bottom_ - std::log10(gbps_));
    out += line("limit", start, start + std::log10(gbps_), ridge, ridge + std::log10(gbps_));
    out += label(start, start + std::log10(gbps_), "start", "reading " + decimal(gbps_) + " GB/s", 8, -2);
    for (const Point& point : points_)
      out += "<circle class=\"point\" r=\"5\" cx=\"" + decimal(x(std::log10(point.operations_per_byte))) + "\" cy=\"" +
             decimal(y(std::log10(point.gops))) + "\"><title>" + escaped(point.label) + ": " + decimal(point.gops) + " GOP/s</title></circle>\n";
    return out + "</svg>\n";
  }

 private:
  double x(double log) const { return 70 + 860 * (log - left_) / (right_ - left_); }
  double y(double log) const { return 410 - 380 * (log - bottom_) / (top_ - bottom_); }
  static std::string power(int decade) { return decade >= 0 ? decimal(std::pow(10, decade), 0) : decimal(std::pow(10, decade), -decade); }
  std::string line(const char* kind, double x1, double y1, double x2, double y2) const {
    return std::string("<line class=\"") + kind + "\" x1=\"" + decimal(x(x1)) + "\" y1=\"" + decimal(y(y1)) + "\" x2=\"" + decimal(x(x2)) +
           "\" y2=\"" + decimal(y(y2)) + "\"/>\n";
  }
  std::string label(double at_x, double at_y, const char* anchor, const std::string& words, double dx, double dy) const {
    return "<text x=\"" + decimal(x(at_x) + dx) + "\" y=\"" + decimal(y(at_y) + dy) + "\" text-anchor=\"" + anchor + "\">" + escaped(words) + "</text>\n";
  }

  const std::vector<Point>& points_;
  std::vector<Bar> peaks_;
  double gbps_ = 1;
  double left_ = -1, right_ = 3, bottom_ = 0, top_ = 1;  // logarithms
};

struct Page {
  std::vector<Point> points;
  std::vector<std::pair<std::string, std::vector<Bar>>> charts;
  std::string table;
};

std::string table_row(const std::vector<std::string>& cells, const char* tag = "td") {
  std::string row = "<tr>";
  for (const std::string& cell : cells) row += std::string("<") + tag + ">" + cell + "</" + tag + ">";
  return row + "</tr>\n";
}

Page page_of_kernels(const json::object& report) {
  Page page;
  page.table = table_row({"kernel", "of", "tokens", "error / bound", "ms", "GB/s", "GOP/s", "of the limit"}, "th");
  for (const json::value& row : report.at("rows").as_array()) {
    const std::string name = text(row, "name"), of = std::string(text(row, "op")) + " " + text(row, "dtype");
    if (row.at("is_wrong").as_bool()) page.table += table_row({escaped(name), escaped(of), "<span class=\"wrong\">WRONG</span>", "", "", "", "", ""});
    for (const json::value& result : row.at("results").as_array()) {
      const std::string n_tokens = std::to_string(result.at("n_tokens").to_number<int64_t>());
      const double gops = number(result, "gops");
      page.table += table_row({escaped(name), escaped(of), n_tokens, decimal(std::max(number(row, "share_of_bound"), number(result, "share_of_bound")), 2),
                               decimal(number(result, "ms"), 4), decimal(number(result, "gbps")), gops > 0 ? decimal(gops, 0) : "",
                               decimal(100 * number(result, "share"), 0) + " %"});
      if (gops > 0) page.points.push_back({name + ", " + n_tokens + " tokens", number(result, "operations_per_byte"), gops});
      const std::string title = of + ", " + n_tokens + (n_tokens == "1" ? " token" : " tokens") + (gops > 0 ? ": GOP/s" : ": GB/s");
      auto chart = std::find_if(page.charts.begin(), page.charts.end(), [&](const auto& entry) { return entry.first == title; });
      if (chart == page.charts.end()) chart = page.charts.insert(chart, {title, {}});
      chart->second.push_back({name, gops > 0 ? gops : number(result, "gbps")});
    }
  }
  return page;
}

Page page_of_model(const json::object& report) {
  Page page;
  const double prompt = number(report, "prompt_tokens_per_second"), generate = number(report, "generate_tokens_per_second");
  page.charts = {{"Tokens a second", {{"prompt", prompt}, {"generation", generate}}}};
  const double weights = number(report, "weight_bytes"), gops = number(report, "prompt_gops");
  // A micro-batch of the prompt reads the weights once; a generated token too.
  if (prompt > 0) page.points.push_back({"prompt", gops * 1e9 / prompt * number(report, "n_micro_batch") / weights, gops});
  if (prompt > 0 && generate > 0) page.points.push_back({"generation", gops * 1e9 / prompt / weights, gops / prompt * generate});
  page.table = table_row({"work", "tokens/s", "of the limit"}, "th");
  page.table += table_row({"prompt", decimal(prompt), decimal(100 * gops / number(report, "peak_gops"), 0) + " %"});
  page.table += table_row({"generation", decimal(generate), decimal(100 * number(report, "weights_read_gbps") / number(report, "read_bandwidth_gbps"), 0) + " %"});
  return page;
}

Page page_of_peers(const json::object& report) {
  Page page;
  page.charts = {{"Prompt, tokens a second", {}}, {"Generation, tokens a second", {}}};
  page.table = table_row({"engine", "prompt, tokens/s", "ollamax is", "generation, tokens/s", "ollamax is"}, "th");
  for (const json::value& row : report.at("contenders").as_array()) {
    page.charts[0].second.push_back({text(row, "name"), number(row, "prompt_tokens_per_second")});
    page.charts[1].second.push_back({text(row, "name"), number(row, "generate_tokens_per_second")});
    page.table += table_row({escaped(text(row, "name")), decimal(number(row, "prompt_tokens_per_second")), decimal(number(row, "prompt_ratio"), 2) + " x",
                             decimal(number(row, "generate_tokens_per_second")), decimal(number(row, "generate_ratio"), 2) + " x"});
  }
  return page;
}

}  // namespace

void write_html_report(const std::string& path, const std::string& command, const json::object& report) {
  const Page page = command == "kernels" ? page_of_kernels(report) : command == "model" ? page_of_model(report) : page_of_peers(report);
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ollamax-bench " + command + "</title><style>\n" +
                     std::string(k_report_css) + "</style></head><body>\n<h1>ollamax-bench " + command + "</h1>\n<ul>\n";
  for (const char* key : {"model", "shape", "cpu", "device", "n_threads", "n_prompt", "n_generate", "n_depth", "n_rounds", "n_repeat", "logits_hash", "compiler", "version"})
    if (const json::value* value = report.if_contains(key))
      html += "<li>" + std::string(key) + ": " + escaped(value->is_string() ? std::string(value->as_string()) : json::serialize(*value)) + "</li>\n";
  if (const json::value* asserts = report.if_contains("has_asserts"); asserts != nullptr && asserts->as_bool())
    html += "<li class=\"wrong\">built with asserts: not for comparison</li>\n";
  html += "</ul>\n";
  if (const json::value* roofline = report.if_contains("roofline")) html += RooflinePlot(*roofline, page.points).svg();
  for (const auto& [title, all] : page.charts) html += bars(title, all);
  html += "<table>\n" + page.table + "</table>\n</body></html>\n";
  std::ofstream file(path, std::ios::binary);
  file << html;
  file.close();
  if (!file) throw std::runtime_error("--html " + path + ": cannot be written");
}

}  // namespace olx::bench
