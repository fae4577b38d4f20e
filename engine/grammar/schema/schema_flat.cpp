#include "engine/grammar/schema/schema_flat.h"

#include <algorithm>
#include <cmath>

#include "engine/grammar/schema/decimal_range.h"
#include "engine/grammar/schema/json_rules.h"
#include "gguf/ascii.h"

namespace olx::engine {
namespace {

constexpr size_t kMaxAlternatives = 256;  // of a schema that combines others
constexpr const char* kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

constexpr std::string_view kAnnotations[] = {"title", "description", "default", "examples", "example", "$schema", "$id", "$comment",
                                             "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "discriminator",
                                             "contentMediaType", "contentEncoding"};
constexpr std::string_view kCombinations[] = {"$ref", "allOf", "anyOf", "oneOf"};
struct Keyword {
  std::string_view name, type;  // the type it is about
};
constexpr Keyword kKeywords[] = {
    {"type", ""}, {"enum", ""}, {"const", ""}, {"nullable", ""},
    {"properties", "object"}, {"required", "object"}, {"additionalProperties", "object"}, {"minProperties", "object"}, {"maxProperties", "object"},
    {"items", "array"}, {"prefixItems", "array"}, {"additionalItems", "array"}, {"minItems", "array"}, {"maxItems", "array"}, {"uniqueItems", "array"},
    {"minLength", "string"}, {"maxLength", "string"}, {"pattern", "string"}, {"format", "string"},
    {"minimum", "number"}, {"maximum", "number"}, {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"}, {"multipleOf", "number"},
};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) { return std::find(names.begin(), names.end(), name) != names.end(); }

std::vector<std::string> declared_types(const Value& value) {
  std::vector<std::string> types;
  const auto add = [&](const Value& type) {
    const std::string* name = type.as_string();
    if (name == nullptr || std::find(std::begin(kTypes), std::end(kTypes), *name) == std::end(kTypes))
      refuse_grammar("schema: 'type' must be one of object, array, string, number, integer, boolean, null, got " + json_text(type));
    types.push_back(*name);
  };
  if (const ValueList* list = value.as_list())
    for (const Value& type : *list) add(type);
  else add(value);
  return types;
}

bool has_type(const std::vector<std::string>& types, std::string_view type) { return std::find(types.begin(), types.end(), type) != types.end(); }

std::string type_of(const Value& value) {
  if (value.is_null()) return "null";
  if (value.as_bool()) return "boolean";
  if (value.as_int()) return "integer";
  if (const double* d = value.as_double()) return std::trunc(*d) == *d ? "integer" : "number";
  if (value.as_string()) return "string";
  return value.as_list() ? "array" : "object";
}

bool allows_type(const std::vector<std::string>& types, const std::string& type) {
  return has_type(types, type) || (type == "integer" && has_type(types, "number"));
}

// A list of texts. EngineError naming the keyword.
std::vector<std::string> texts_of(const FlatSchema& schema, std::string_view keyword) {
  std::vector<std::string> texts;
  const Value* value = find_in(schema, keyword);
  if (value == nullptr) return texts;
  const ValueList* list = value->as_list();
  if (list == nullptr) refuse_grammar("schema: '" + std::string(keyword) + "' must be a list");
  for (const Value& text : *list) {
    if (text.as_string() == nullptr) refuse_grammar("schema: '" + std::string(keyword) + "' must be a list of strings");
    texts.push_back(*text.as_string());
  }
  return texts;
}

const ValueMap& properties_of(const FlatSchema& schema) {
  static const ValueMap kNone;
  const Value* value = find_in(schema, "properties");
  if (value == nullptr) return kNone;
  if (value->as_map() == nullptr) refuse_grammar("schema: 'properties' must be an object");
  return *value->as_map();
}

Value all_of(const Value& a, const Value& b) { return ValueMap{{"allOf", ValueList{a, b}}}; }

bool is_false(const Value& schema) { return schema.as_bool() && !*schema.as_bool(); }

void set_in(ValueMap& map, std::string_view key, Value value) {
  for (auto& [name, old] : map)
    if (name == key) {
      old = std::move(value);
      return;
    }
  map.emplace_back(key, std::move(value));
}

const Value& tighter(const Value& a, const Value& b, bool wants_larger, const std::string& keyword) {
  const auto x = to_decimal(a), y = to_decimal(b);
  if (!x || !y) refuse_grammar("schema: '" + keyword + "' must be a number of at most 40 digits");
  return (compare(*x, *y) < 0) == wants_larger ? b : a;
}

// Members of both: each property must satisfy what either schema says about it.
void merge_properties(const FlatSchema& a, const FlatSchema& b, FlatSchema& out) {
  const ValueMap &in_a = properties_of(a), &in_b = properties_of(b);
  const Value *more_a = find_in(a, "additionalProperties"), *more_b = find_in(b, "additionalProperties");
  ValueMap joined;
  for (const auto& [name, schema] : in_a) {
    if (const Value* other = find_in(in_b, name)) joined.emplace_back(name, all_of(schema, *other));
    else joined.emplace_back(name, more_b ? all_of(schema, *more_b) : schema);
  }
  for (const auto& [name, schema] : in_b)
    if (find_in(in_a, name) == nullptr) joined.emplace_back(name, more_a ? all_of(schema, *more_a) : schema);
  if (!joined.empty() || find_in(a, "properties") || find_in(b, "properties")) set_in(out, "properties", std::move(joined));
  if (more_a && more_b) set_in(out, "additionalProperties", is_false(*more_a) || is_false(*more_b) ? Value(false) : all_of(*more_a, *more_b));
  else if (more_a || more_b) set_in(out, "additionalProperties", more_a ? *more_a : *more_b);
}

}  // namespace

const Value* find_in(const ValueMap& map, std::string_view key) {
  for (const auto& [name, value] : map)
    if (name == key) return &value;
  return nullptr;
}

bool same_value(const Value& a, const Value& b) {
  const auto x = to_decimal(a), y = to_decimal(b);
  if (x && y) return compare(*x, *y) == 0;
  const ValueList *list_a = a.as_list(), *list_b = b.as_list();
  if (list_a && list_b) return std::equal(list_a->begin(), list_a->end(), list_b->begin(), list_b->end(), same_value);
  const ValueMap *map_a = a.as_map(), *map_b = b.as_map();
  if (map_a && map_b)
    return map_a->size() == map_b->size() && std::all_of(map_a->begin(), map_a->end(), [&](const auto& member) {
             const Value* other = find_in(*map_b, member.first);
             return other != nullptr && same_value(member.second, *other);
           });
  return a == b;
}

uint64_t count_of(const FlatSchema& schema, std::string_view keyword, uint64_t otherwise) {
  const Value* value = find_in(schema, keyword);
  if (value == nullptr) return otherwise;
  if (const int64_t* i = value->as_int(); i != nullptr && *i >= 0) return static_cast<uint64_t>(*i);
  if (const double* d = value->as_double(); d != nullptr && *d >= 0 && std::trunc(*d) == *d) return static_cast<uint64_t>(std::min(*d, 1e18));
  refuse_grammar("schema: '" + std::string(keyword) + "' must be a whole number, got " + json_text(*value));
}

std::vector<std::string> types_of(const FlatSchema& schema) {
  if (const Value* type = find_in(schema, "type")) return declared_types(*type);
  std::vector<std::string> types;
  for (const Keyword& keyword : kKeywords)
    if (!keyword.type.empty() && find_in(schema, keyword.name) && !has_type(types, keyword.type)) types.emplace_back(keyword.type);
  if (types.empty()) types.assign(std::begin(kTypes), std::end(kTypes));
  return types;
}

bool SchemaFlattener::is_annotation(std::string_view keyword) { return is_one_of(keyword, kAnnotations) || keyword.starts_with("x-"); }

void SchemaFlattener::check_keywords(const ValueMap& schema) {
  for (const auto& member : schema) {
    const std::string& name = member.first;
    const bool is_known = is_annotation(name) || is_one_of(name, kCombinations) ||
                          std::any_of(std::begin(kKeywords), std::end(kKeywords), [&](const Keyword& k) { return k.name == name; });
    if (!is_known) refuse_grammar("schema: the keyword '" + name + "' is not supported");
  }
}

const Value& SchemaFlattener::resolve(const std::string& reference) const {
  if (!reference.starts_with('#')) refuse_grammar("schema: $ref '" + reference + "' is not in this schema (only '#/...' is followed)");
  std::string path;
  for (size_t i = 1; i < reference.size(); ++i) {
    if (reference[i] == '%' && i + 2 < reference.size() && std::isxdigit(static_cast<unsigned char>(reference[i + 1])) && std::isxdigit(static_cast<unsigned char>(reference[i + 2]))) {
      path += static_cast<char>(std::stoi(reference.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      path += reference[i];
    }
  }
  const Value* at = &root_;
  size_t pos = 0;
  while (pos < path.size()) {
    if (path[pos] != '/') refuse_grammar("schema: $ref '" + reference + "' is not in this schema (only '#/...' is followed)");
    const size_t end = std::min(path.find('/', pos + 1), path.size());
    std::string key;
    for (size_t i = pos + 1; i < end; ++i) {
      if (path[i] == '~' && i + 1 < end && (path[i + 1] == '0' || path[i + 1] == '1')) key += path[++i] == '0' ? '~' : '/';
      else key += path[i];
    }
    pos = end;
    if (const ValueList* list = at->as_list()) {
      const bool is_index = key.size() < 7 && ascii::is_number(key);
      const size_t index = is_index ? std::stoul(key) : list->size();
      at = index < list->size() ? &(*list)[index] : nullptr;
    } else {
      at = at->find(key);
    }
    if (at == nullptr) refuse_grammar("schema: $ref '" + reference + "' leads nowhere");
  }
  return *at;
}

std::vector<FlatSchema> SchemaFlattener::flatten(const Value& schema, int depth) {
  if (depth > rules_.limits().max_depth) refuse_grammar("schema: combinations and references are nested deeper than " + std::to_string(rules_.limits().max_depth));
  rules_.check_time();
  if (const bool* allows = schema.as_bool()) return *allows ? std::vector<FlatSchema>(1) : std::vector<FlatSchema>();
  const ValueMap* map = schema.as_map();
  if (map == nullptr) refuse_grammar("schema: expected an object, true or false, got " + json_text(schema));
  check_keywords(*map);
  FlatSchema own;
  for (const auto& [name, value] : *map) {
    if (is_annotation(name) || is_one_of(name, kCombinations) || name == "nullable") continue;
    if (name == "const") {
      if (const Value* allowed = find_in(*map, "enum")) {
        if (allowed->as_list() == nullptr || std::none_of(allowed->as_list()->begin(), allowed->as_list()->end(), [&, &v = value](const Value& one) { return same_value(one, v); }))
          return {};
        continue;
      }
      own.emplace_back("enum", ValueList{value});
      continue;
    }
    if (name == "enum") {
      if (value.as_list() == nullptr) refuse_grammar("schema: 'enum' must be a list");
      if (const Value* one = find_in(*map, "const")) own.emplace_back("enum", ValueList{*one});
      else own.emplace_back(name, value);
      continue;
    }
    if (name == "type") {
      ValueList types;
      for (std::string& type : declared_types(value)) types.emplace_back(std::move(type));
      const Value* nullable = find_in(*map, "nullable");  // OpenAPI's
      if (nullable && nullable->as_bool() && *nullable->as_bool()) types.emplace_back("null");
      own.emplace_back(name, std::move(types));
      continue;
    }
    own.emplace_back(name, value);
  }
  std::vector<FlatSchema> all{std::move(own)};
  if (const Value* reference = find_in(*map, "$ref")) {
    if (reference->as_string() == nullptr) refuse_grammar("schema: '$ref' must be a string");
    all = product(all, flatten(resolve(*reference->as_string()), depth + 1));
  }
  for (const std::string_view name : {"allOf", "anyOf", "oneOf"}) {
    const Value* value = find_in(*map, name);
    if (value == nullptr) continue;
    const ValueList* schemas = value->as_list();
    if (schemas == nullptr || schemas->empty()) refuse_grammar("schema: '" + std::string(name) + "' must be a list that is not empty");
    if (name == "allOf") {
      for (const Value& one : *schemas) all = product(all, flatten(one, depth + 1));
    } else if (name == "anyOf") {
      std::vector<FlatSchema> any;
      for (const Value& one : *schemas)
        for (FlatSchema& flat : flatten(one, depth + 1)) any.push_back(std::move(flat));
      all = product(all, any);
    } else {
      all = flatten_one_of(all, *schemas, depth);
    }
  }
  return all;
}

std::vector<FlatSchema> SchemaFlattener::flatten_one_of(const std::vector<FlatSchema>& base, const ValueList& schemas, int depth) {
  std::vector<std::vector<FlatSchema>> alternatives;
  std::vector<FlatSchema> all;
  for (const Value& one : schemas) {
    alternatives.push_back(product(base, flatten(one, depth + 1)));
    all.insert(all.end(), alternatives.back().begin(), alternatives.back().end());
  }
  // Inside a proof the union is enough: what it excludes, the oneOf excludes. (And the proof of one oneOf never begins another.)
  if (!is_proving_) check_exclusive(alternatives);
  return all;
}

std::vector<FlatSchema> SchemaFlattener::product(const std::vector<FlatSchema>& a, const std::vector<FlatSchema>& b) {
  if (a.size() * b.size() > kMaxAlternatives) refuse_grammar("schema: combinations of more than " + std::to_string(kMaxAlternatives) + " alternatives");
  if (b.size() == 1 && b[0].empty()) return a;
  if (a.size() == 1 && a[0].empty()) return b;
  std::vector<FlatSchema> all;
  for (const FlatSchema& x : a)
    for (const FlatSchema& y : b) {
      rules_.check_time();
      FlatSchema merged;
      if (merge(x, y, merged)) all.push_back(std::move(merged));
    }
  return all;
}

// What both allow. False: nothing.
bool SchemaFlattener::merge(const FlatSchema& a, const FlatSchema& b, FlatSchema& out) const {
  out = a;
  for (const auto& [name, value] : b) {
    if (name == "properties" || name == "additionalProperties") continue;
    const Value* own = find_in(a, name);
    if (own == nullptr) {
      out.emplace_back(name, value);
      continue;
    }
    if (same_value(*own, value)) continue;
    if (name == "type") {
      const std::vector<std::string> x = declared_types(*own), y = declared_types(value);
      ValueList both;
      for (const std::string& type : x)
        if (allows_type(y, type)) both.emplace_back(type);
      for (const std::string& type : y)
        if (type == "integer" && has_type(x, "number") && !has_type(x, "integer")) both.emplace_back(type);
      if (both.empty()) return false;
      set_in(out, name, std::move(both));
    } else if (name == "enum") {
      ValueList both;
      for (const Value& one : *own->as_list())
        if (std::any_of(value.as_list()->begin(), value.as_list()->end(), [&](const Value& other) { return same_value(one, other); })) both.push_back(one);
      if (both.empty()) return false;
      set_in(out, name, std::move(both));
    } else if (name == "required") {
      ValueList both;
      for (const FlatSchema* side : {&a, &b})
        for (std::string& text : texts_of(*side, name))
          if (std::none_of(both.begin(), both.end(), [&](const Value& seen) { return *seen.as_string() == text; })) both.emplace_back(std::move(text));
      set_in(out, name, std::move(both));
    } else if (name == "items" && !find_in(a, "prefixItems") && !find_in(b, "prefixItems") && !own->as_list() && !value.as_list()) {
      set_in(out, name, all_of(*own, value));
    } else if (name == "uniqueItems") {
      set_in(out, name, true);
    } else if ((name.starts_with("min") || name == "exclusiveMinimum") && !own->as_bool() && !value.as_bool()) {
      set_in(out, name, tighter(*own, value, true, name));
    } else if ((name.starts_with("max") || name == "exclusiveMaximum") && !own->as_bool() && !value.as_bool()) {
      set_in(out, name, tighter(*own, value, false, name));
    } else {
      refuse_grammar("schema: two different '" + name + "' in a combination (allOf, $ref beside other keywords) are not supported");
    }
  }
  const bool mixes_items = (find_in(a, "prefixItems") && find_in(b, "items")) || (find_in(b, "prefixItems") && find_in(a, "items"));
  if (mixes_items) refuse_grammar("schema: 'prefixItems' in one part and 'items' in another part of a combination are not supported");
  merge_properties(a, b, out);
  return true;
}

void SchemaFlattener::check_exclusive(const std::vector<std::vector<FlatSchema>>& alternatives) {
  is_proving_ = true;
  for (size_t i = 0; i < alternatives.size(); ++i)
    for (size_t j = 0; j < alternatives.size(); ++j) {
      if (i == j) continue;
      rules_.check_time();
      for (const FlatSchema& a : alternatives[i])
        for (const FlatSchema& b : alternatives[j])
          if (!excludes(a, b, 0))
            refuse_grammar("schema: 'oneOf': a value may satisfy both alternative " + std::to_string(std::min(i, j) + 1) + " and " +
                           std::to_string(std::max(i, j) + 1) + "; use 'anyOf', or tell them apart by type or by a required constant");
    }
  is_proving_ = false;
}

bool SchemaFlattener::excludes_any(const Value& a, const Value& b, int depth) {
  constexpr int kMaxProofDepth = 4;
  if (depth > kMaxProofDepth) return false;
  for (const FlatSchema& x : flatten(a, 0))
    for (const FlatSchema& y : flatten(b, 0))
      if (!excludes(x, y, depth)) return false;
  return true;
}

bool SchemaFlattener::excludes(const FlatSchema& a, const FlatSchema& b, int depth) {
  const Value *enum_a = find_in(a, "enum"), *enum_b = find_in(b, "enum");
  const Value* type_b = find_in(b, "type");
  const std::vector<std::string> in_b = type_b ? declared_types(*type_b) : std::vector<std::string>(std::begin(kTypes), std::end(kTypes));
  std::vector<std::string> in_a;
  if (enum_a) {
    const auto& values = *enum_a->as_list();
    const auto is_in_b = [&](const Value& value) {
      if (enum_b && std::none_of(enum_b->as_list()->begin(), enum_b->as_list()->end(), [&](const Value& other) { return same_value(value, other); })) return false;
      return allows_type(in_b, type_of(value));
    };
    return std::none_of(values.begin(), values.end(), is_in_b);
  }
  in_a = types_of(a);
  if (enum_b) {
    const auto& values = *enum_b->as_list();
    return std::none_of(values.begin(), values.end(), [&](const Value& value) { return allows_type(in_a, type_of(value)); });
  }
  for (const std::string& type : in_a) {
    if (!has_type(in_b, type) && !(type == "integer" && has_type(in_b, "number")) && !(type == "number" && has_type(in_b, "integer"))) continue;
    // A value of this type: is there something about it that b refuses?
    const auto is_above = [&](const char* least, const char* most) {
      const Value *x = find_in(a, least), *y = find_in(b, most);
      return x && y && !x->as_bool() && !y->as_bool() && to_decimal(*x) && to_decimal(*y) && compare(*to_decimal(*x), *to_decimal(*y)) > 0;
    };
    const auto is_below = [&](const char* most, const char* least) {
      const Value *x = find_in(a, most), *y = find_in(b, least);
      return x && y && !x->as_bool() && !y->as_bool() && to_decimal(*x) && to_decimal(*y) && compare(*to_decimal(*x), *to_decimal(*y)) < 0;
    };
    if (type == "number" || type == "integer") {
      if (!is_above("minimum", "maximum") && !is_below("maximum", "minimum")) return false;
    } else if (type == "string") {
      if (!is_above("minLength", "maxLength") && !is_below("maxLength", "minLength")) return false;
    } else if (type == "array") {
      if (!is_above("minItems", "maxItems") && !is_below("maxItems", "minItems")) return false;
    } else if (type == "object") {
      const ValueMap &own = properties_of(a), &others = properties_of(b);
      const Value *more_a = find_in(a, "additionalProperties"), *more_b = find_in(b, "additionalProperties");
      // Members beyond the declared ones are made only where a schema speaks of them.
      const bool makes_more = more_a ? !is_false(*more_a) : own.empty() && !find_in(a, "properties");
      bool is_told_apart = false;
      const std::vector<std::string> always = texts_of(a, "required");
      for (const std::string& name : texts_of(b, "required"))
        is_told_apart |= !makes_more && find_in(own, name) == nullptr && std::find(always.begin(), always.end(), name) == always.end();
      for (const std::string& name : always) {
        const Value *x = find_in(own, name), *y = find_in(others, name);
        if (is_told_apart) break;
        if (y == nullptr) is_told_apart = more_b && is_false(*more_b);
        else if (x != nullptr) is_told_apart = excludes_any(*x, *y, depth + 1);
      }
      if (!is_told_apart) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace olx::engine
