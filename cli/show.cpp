#include "cli/show.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <sstream>

#include "cli/commands.h"
#include "cli/format.h"
#include "engine/devices.h"

namespace olx::cli {
namespace {

namespace json = boost::json;

using Rows = std::vector<std::vector<std::string>>;

void add_section(std::string& out, const std::string& title, const Rows& rows) {
  if (rows.empty()) return;
  std::vector<int> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  out += "  " + title + "\n";
  for (const auto& row : rows) {
    out += "    ";
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      out.append(static_cast<size_t>(widths[i] - display_width(row[i])) + 4, ' ');
    }
    out += '\n';
  }
  out += '\n';
}

Rows first_lines(const std::string& text, size_t n) {
  Rows rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, line.find_first_not_of(" \t\r"));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    if (rows.size() == n) {
      rows.push_back({"..."});
      break;
    }
    rows.push_back({line});
  }
  return rows;
}

std::string metadata_text(const json::value& value) {
  if (value.is_string()) return std::string(value.as_string());
  if (!value.is_array()) return value.is_null() ? "[]" : json::serialize(value);
  std::string text = "[";
  size_t shown = 0;
  for (const json::value& element : value.as_array()) {
    if (shown == 3) break;
    text += (shown++ ? " " : "") + (element.is_string() ? std::string(element.as_string()) : json::serialize(element));
  }
  if (value.as_array().size() > shown) text += " ...+" + std::to_string(value.as_array().size() - shown) + " more";
  return text + "]";
}

// The value of "<architecture>.<key>" of model_info, "" when absent.
std::string info_number(const json::object& answer, const std::string& key) {
  const json::value* info = answer.if_contains("model_info");
  if (info == nullptr || !info->is_object()) return "";
  const std::string architecture = text_of(info->as_object(), "general.architecture");
  const json::value* value = info->as_object().if_contains(architecture + "." + key);
  return value == nullptr || value->is_null() ? "" : json::serialize(*value);
}

}  // namespace

std::string show_info_text(const json::object& answer, bool is_verbose) {
  std::string out;
  Rows model;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) model.push_back({name, value});
  };
  const json::value* details = answer.if_contains("details");
  const json::object no_details;
  const json::object& detail = details && details->is_object() ? details->as_object() : no_details;
  const json::value* info = answer.if_contains("model_info");
  const bool has_info = info != nullptr && info->is_object();
  add("architecture", has_info ? text_of(info->as_object(), "general.architecture") : text_of(detail, "family"));
  add("parameters", text_of(detail, "parameter_size"));
  add("context length", info_number(answer, "context_length"));
  add("embedding length", info_number(answer, "embedding_length"));
  add("quantization", text_of(detail, "quantization_level"));
  add("requires", text_of(answer, "requires"));
  add_section(out, "Model", model);

  Rows capabilities;
  if (const json::value* list = answer.if_contains("capabilities"); list && list->is_array())
    for (const json::value& name : list->as_array()) capabilities.push_back({std::string(name.as_string())});
  add_section(out, "Capabilities", capabilities);

  Rows parameters;
  std::istringstream lines(text_of(answer, "parameters"));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    if (space == std::string::npos) continue;
    parameters.push_back({line.substr(0, space), line.substr(line.find_first_not_of(' ', space))});
  }
  add_section(out, "Parameters", parameters);

  if (is_verbose && has_info) {
    Rows metadata;
    for (const auto& [key, value] : info->as_object()) metadata.push_back({std::string(key), metadata_text(value)});
    std::sort(metadata.begin(), metadata.end());
    add_section(out, "Metadata", metadata);
    Rows tensors;
    if (const json::value* list = answer.if_contains("tensors"); list && list->is_array())
      for (const json::value& tensor : list->as_array())
        tensors.push_back({text_of(tensor.as_object(), "name"), text_of(tensor.as_object(), "type"),
                           json::serialize(tensor.at("shape"))});
    add_section(out, "Tensors", tensors);
  }
  add_section(out, "System", first_lines(text_of(answer, "system"), 2));
  add_section(out, "License", first_lines(text_of(answer, "license"), 2));
  return out;
}

namespace {

// What this machine can compute on; no server is asked.
std::string devices_text() {
  std::vector<std::vector<std::string>> rows;
  for (const engine::ListedDevice& device : engine::list_devices()) {
    const std::string memory =
        device.memory_bytes > 0 ? human_bytes(static_cast<int64_t>(device.memory_bytes)) : "-";
    // What main_gpu takes; no option says which of other devices.
    const std::string index = device.is_accelerator ? std::to_string(device.index) : "-";
    rows.push_back(device.fault.empty() ? std::vector{device.backend, index, memory, device.name}
                                        : std::vector{device.backend, std::string("-"),
                                                      std::string("-"), "none: " + device.fault});
  }
  return table({"BACKEND", "MAIN_GPU", "MEMORY", "DEVICE"}, rows);
}

}  // namespace

int command_show(const std::vector<std::string>& words) {
  bool license = false, modelfile = false, parameters = false, show_template = false, system = false, verbose = false, devices = false;
  CommandLine line("show", "MODEL", "Show information for a model");
  line.flag("--license", license, "Show license of a model");
  line.flag("--modelfile", modelfile, "Show Modelfile of a model");
  line.flag("--parameters", parameters, "Show parameters of a model");
  line.flag("--template", show_template, "Show template of a model");
  line.flag("--system", system, "Show system message of a model");
  line.flag("-v,--verbose", verbose, "Show detailed model information");
  line.flag("--devices", devices, "Show what models can run on, in place of a model");
  line.arguments(0, -1);
  if (!line.parse(words)) return 0;
  const size_t n_wanted = devices ? 0 : 1;
  if (line.args().size() != n_wanted)
    throw CommandError("accepts " + std::to_string(n_wanted) + " arg(s), received " + std::to_string(line.args().size()));
  if (devices) {
    std::fputs(devices_text().c_str(), stdout);
    return 0;
  }
  if (license + modelfile + parameters + show_template + system > 1)
    throw CommandError(
        "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified");
  const Session session = open_session();
  const json::object answer =
      session.client->send("POST", "/api/show", json::object{{"model", line.args()[0]}, {"verbose", verbose}}).as_object();
  if (license) std::puts(text_of(answer, "license").c_str());
  else if (modelfile) std::puts(text_of(answer, "modelfile").c_str());
  else if (parameters) std::puts(text_of(answer, "parameters").c_str());
  else if (system) std::fputs(text_of(answer, "system").c_str(), stdout);
  else if (show_template) std::fputs(text_of(answer, "template").c_str(), stdout);
  else std::fputs(show_info_text(answer, verbose).c_str(), stdout);
  return 0;
}

}  // namespace olx::cli
