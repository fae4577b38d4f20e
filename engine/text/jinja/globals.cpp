#include "engine/text/jinja/globals.h"

#include <ctime>

#include "engine/text/jinja/bound_args.h"

namespace olx::engine::jinja {
namespace {

// As Jinja2's sandbox.
constexpr int64_t kMaxRange = 100'000;

Val range(Runtime& rt, Args& args) {
  BoundArgs a(rt, "range", "start,stop,step", args);
  if (args.positional.empty()) rt.fail("range expected at least 1 argument, got 0");
  const bool is_single = args.positional.size() == 1;
  const int64_t start = is_single ? 0 : a.integer(0, 0);
  const int64_t stop = a.integer(is_single ? 0 : 1, 0);
  const int64_t step = a.integer(2, 1);
  if (step == 0) rt.fail("range() arg 3 must not be zero");
  const double span = (static_cast<double>(stop) - static_cast<double>(start)) / static_cast<double>(step);
  if (span > static_cast<double>(kMaxRange))
    rt.fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (" + std::to_string(kMaxRange) + ").");
  std::vector<Val> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  std::string name = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) name += ", " + std::to_string(step);
  return rt.new_list(std::move(items), ListKind::kRange, name + ")");
}

Dict* fill_dict(Runtime& rt, Args& args) {
  Dict* dict = rt.new_dict();
  if (args.positional.size() > 1) rt.fail("dict expected at most 1 argument");
  if (args.positional.size() == 1) {
    const Val& from = args.positional[0];
    if (from.dict()) {
      for (const auto& [key, value] : from.dict()->items) dict->set(rt, key, value);
    } else {
      for (const Val& pair : iterate(rt, from)) {
        const std::vector<Val> parts = iterate(rt, pair);
        if (parts.size() != 2) rt.fail("dictionary update sequence element is not a pair");
        dict->set(rt, parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : args.keyword) dict->set(rt, Val(name), value);
  return dict;
}

Val make_namespace(Runtime& rt, Args& args) {
  Dict* ns = fill_dict(rt, args);
  ns->is_namespace = true;
  return ns;
}

Val raise_exception(Runtime& rt, Args& args) {
  rt.fail(args.positional.empty() ? "raise_exception" : to_text(rt, args.positional[0]));
}

std::string render_time(const RenderClock& clock, const std::string& format) {
  const auto now = static_cast<std::time_t>(clock.unix_seconds < 0 ? std::time(nullptr) : clock.unix_seconds);
  std::tm fields{};
  if (clock.is_utc) gmtime_r(&now, &fields);
  else localtime_r(&now, &fields);
  if (format.empty()) return "";
  // strftime cannot tell "empty" from "too small": a character in front makes every result non-empty.
  const std::string padded = "." + format;
  std::string out(padded.size() * 32 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), padded.c_str(), &fields));
  return out.empty() ? "" : out.substr(1);
}

Val strftime_now(Runtime& rt, Args& args) {
  BoundArgs a(rt, "strftime_now", "format", args);
  const std::string format = a.text(0);
  rt.check_size(static_cast<double>(format.size()) * 32);
  return render_time(rt.clock(), format);
}

Val cycler(Runtime& rt, Args& args) {
  if (args.positional.empty()) rt.fail("at least one item has to be provided");
  List* items = rt.new_list(args.positional);
  auto pos = std::make_shared<size_t>(0);
  Callable* self = rt.new_callable("Cycler", {});
  self->get = [items, pos](Runtime& r, std::string_view name, Val& out) {
    if (name == "current") {
      out = items->items[*pos];
    } else if (name == "next") {
      out = Val(r.new_callable("Cycler.next", [items, pos](Runtime&, Args&) {
        const Val v = items->items[*pos];
        *pos = (*pos + 1) % items->items.size();
        return v;
      }));
    } else if (name == "reset") {
      out = Val(r.new_callable("Cycler.reset", [pos](Runtime&, Args&) {
        *pos = 0;
        return Val();
      }));
    } else {
      return false;
    }
    return true;
  };
  return self;
}

Val joiner(Runtime& rt, Args& args) {
  BoundArgs a(rt, "joiner", "sep", args);
  auto used = std::make_shared<bool>(false);
  const Val separator = a.get(0, Val(", "));
  return rt.new_callable("Joiner", [used, separator](Runtime&, Args&) {
    return std::exchange(*used, true) ? separator : Val("");
  });
}

Val lipsum(Runtime& rt, Args&) { rt.unsupported("the function 'lipsum' is not supported"); }

struct GlobalRow {
  std::string_view name;
  Val (*call)(Runtime&, Args&);
};

constexpr GlobalRow kGlobals[] = {
    {"range", range},
    {"dict", [](Runtime& rt, Args& args) { return Val(fill_dict(rt, args)); }},
    {"namespace", make_namespace},
    {"cycler", cycler},
    {"joiner", joiner},
    {"lipsum", lipsum},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

void add_globals(Runtime& rt, const std::function<void(std::string_view, Val)>& add) {
  for (const GlobalRow& row : kGlobals)
    add(row.name, Val(rt.new_callable("function " + std::string(row.name), row.call)));
}

}  // namespace olx::engine::jinja
