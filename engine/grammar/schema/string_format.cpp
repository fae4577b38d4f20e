#include "engine/grammar/schema/string_format.h"

#include <utility>
#include <vector>

namespace olx::engine {
namespace {

std::vector<std::pair<std::string, std::string>> make_formats() {
  // RFC 3339: the days of each month, the 29th of February in leap years only. Years 1000 to 2999.
  const std::string date =
      R"(([12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])))"
      R"(|([12]\d(0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)-02-29))";
  const std::string time = R"(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))";
  // RFC 3339, appendix A: what follows a unit is the next smaller one.
  const std::string hours = R"((\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S))";
  const std::string byte = R"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
  // A name's last label begins with a letter, so that it is never read as an address of numbers.
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?";
  const std::string host = "(" + label + R"(\.){1,3}[A-Za-z]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?)";
  const std::string hex = "[0-9a-fA-F]";
  const std::string path = "([A-Za-z0-9_.~!$&'()*+,;=:@-]|%[0-9A-F]{2})";
  const auto whole = [](const std::string& text) { return "^" + text + "$"; };
  return {
      {"date", whole(date)},
      {"time", whole(time)},
      {"date-time", whole(date + "T" + time)},
      {"duration", whole(R"(P(\d{1,4}W|\d{1,4}D(T)" + hours + ")?|T" + hours + ")")},
      {"uuid", whole(hex + "{8}-" + hex + "{4}-" + hex + "{4}-" + hex + "{4}-" + hex + "{12}")},
      {"email", whole(R"([A-Za-z0-9_+-]{1,20}(\.[A-Za-z0-9_+-]{1,10})?@)" + host)},
      {"hostname", whole(host)},
      {"ipv4", whole("(" + byte + R"(\.){3})" + byte)},
      {"ipv6", whole("(" + hex + "{1,4}:){7}" + hex + "{1,4}")},
      {"uri", whole("[a-z][a-z0-9+.-]{0,9}://" + host + "(:[1-9][0-9]{0,3})?(/" + path + "{0,40}){0,8}(\\?" + path + "{1,60})?(#" + path + "{1,60})?")},
  };
}

const std::vector<std::pair<std::string, std::string>>& formats() {
  static const auto kFormats = make_formats();
  return kFormats;
}

}  // namespace

bool is_free_format(std::string_view name) { return name == "password" || name == "binary" || name == "path"; }

const std::string* find_string_format(std::string_view name) {
  for (const auto& [known, pattern] : formats())
    if (known == name) return &pattern;
  return nullptr;
}

std::string string_format_names() {
  std::string names;
  for (const auto& [known, pattern] : formats()) (names += names.empty() ? "" : ", ") += known;
  return names;
}

}  // namespace olx::engine
