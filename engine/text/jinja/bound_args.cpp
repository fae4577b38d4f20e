#include "engine/text/jinja/bound_args.h"

namespace olx::engine::jinja {

BoundArgs::BoundArgs(Runtime& rt, std::string_view function, std::string_view parameters, Args& args)
    : rt_(rt), function_(function), args_(args) {
  if (parameters.ends_with('*')) return;
  std::vector<std::string_view> names;
  for (size_t start = 0; start < parameters.size();) {
    const size_t comma = std::min(parameters.find(',', start), parameters.size());
    names.push_back(parameters.substr(start, comma - start));
    start = comma + 1;
  }
  if (args.positional.size() > names.size())
    rt.fail(function_ + "() takes at most " + std::to_string(names.size()) + " arguments (" +
            std::to_string(args.positional.size()) + " given)");
  values_.resize(names.size());
  given_.resize(names.size());
  for (size_t i = 0; i < args.positional.size(); ++i) {
    values_[i] = args.positional[i];
    given_[i] = true;
  }
  for (auto& [name, value] : args.keyword) {
    size_t i = 0;
    while (i < names.size() && names[i] != name) ++i;
    if (i == names.size()) rt.fail(function_ + "() got an unexpected keyword argument '" + name + "'");
    if (given_[i]) rt.fail(function_ + "() got multiple values for argument '" + name + "'");
    values_[i] = value;
    given_[i] = true;
  }
}

const Val& BoundArgs::at(size_t i) const {
  if (!has(i)) rt_.fail(function_ + "() misses argument " + std::to_string(i + 1));
  return values_[i];
}

std::string BoundArgs::text(size_t i) const {
  const Val& v = at(i);
  if (v.undefined()) fail_undefined(rt_, v);
  if (!v.string()) rt_.fail(function_ + "(): expected a string, got " + type_name(v));
  return *v.string();
}

std::string BoundArgs::text(size_t i, std::string_view otherwise) const {
  return has(i) ? text(i) : std::string(otherwise);
}

int64_t BoundArgs::integer(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  const Val& v = values_[i];
  if (v.integer()) return *v.integer();
  if (v.boolean()) return *v.boolean();
  if (v.undefined()) fail_undefined(rt_, v);
  rt_.fail(function_ + "(): expected an integer, got " + type_name(v));
}

}  // namespace olx::engine::jinja
