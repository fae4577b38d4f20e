// Random schemas, random walks: whatever the mask leaves, an answer that ends is JSON that the schema allows. The judge is a
// validator of its own, written from the JSON Schema specification and not from the compiler.

#include <cmath>

#include "engine/sample/rng.h"
#include "tests/engine/grammar/grammar_support.h"
#include "tests/support/catch.h"

using namespace olx::engine;
using namespace olx::tests;

namespace json = boost::json;

namespace {

size_t n_code_points(const json::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

bool equal(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  if (a.is_array() && b.is_array()) return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(), equal);
  if (!a.is_object() || !b.is_object()) return a == b;
  return a.get_object().size() == b.get_object().size() && std::all_of(a.get_object().begin(), a.get_object().end(), [&](const auto& member) {
           const json::value* other = b.get_object().if_contains(member.key());
           return other != nullptr && equal(member.value(), *other);
         });
}

bool has_type(const json::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return value.is_int64() || value.is_uint64() || (value.is_double() && std::trunc(value.get_double()) == value.get_double());
}

bool is_valid(const json::value& value, const json::value& schema, const json::value& root, int depth = 0) {
  if (depth > 300) return false;  // a reference to itself
  if (schema.is_bool()) return schema.get_bool();
  const json::object& s = schema.get_object();
  const auto has = [&](const char* name) { return s.if_contains(name); };
  const auto valid = [&](const json::value& v, const json::value& sub) { return is_valid(v, sub, root, depth + 1); };
  if (const auto* ref = has("$ref")) {
    const std::string name(ref->get_string());
    if (!valid(value, name == "#" ? root : root.at("$defs").at(name.substr(8)))) return false;
  }
  if (const auto* type = has("type")) {
    if (type->is_string() && !has_type(value, type->get_string())) return false;
    if (type->is_array() && std::none_of(type->get_array().begin(), type->get_array().end(), [&](const auto& t) { return has_type(value, t.get_string()); })) return false;
  }
  if (const auto* allowed = has("enum"))
    if (std::none_of(allowed->get_array().begin(), allowed->get_array().end(), [&](const auto& one) { return equal(one, value); })) return false;
  if (const auto* one = has("const"); one && !equal(*one, value)) return false;
  if (const auto* all = has("allOf"))
    for (const auto& sub : all->get_array())
      if (!valid(value, sub)) return false;
  const auto count = [&](const char* name) { return std::count_if(s.at(name).get_array().begin(), s.at(name).get_array().end(), [&](const auto& sub) { return valid(value, sub); }); };
  if (has("anyOf") && count("anyOf") == 0) return false;
  if (has("oneOf") && count("oneOf") != 1) return false;
  if (value.is_number()) {
    const double number = value.to_number<double>();
    if (const auto* bound = has("minimum"); bound && number < bound->to_number<double>()) return false;
    if (const auto* bound = has("maximum"); bound && number > bound->to_number<double>()) return false;
    if (const auto* bound = has("exclusiveMinimum"); bound && number <= bound->to_number<double>()) return false;
    if (const auto* bound = has("exclusiveMaximum"); bound && number >= bound->to_number<double>()) return false;
    if (const auto* step = has("multipleOf"); step && std::fmod(number, step->to_number<double>()) != 0) return false;
  } else if (value.is_string()) {
    const size_t n = n_code_points(value.get_string());
    if (const auto* bound = has("minLength"); bound && n < bound->to_number<size_t>()) return false;
    if (const auto* bound = has("maxLength"); bound && n > bound->to_number<size_t>()) return false;
  } else if (value.is_array()) {
    const json::array& list = value.get_array();
    if (const auto* bound = has("minItems"); bound && list.size() < bound->to_number<size_t>()) return false;
    if (const auto* bound = has("maxItems"); bound && list.size() > bound->to_number<size_t>()) return false;
    const auto* prefix = has("prefixItems");
    const size_t n_prefix = prefix ? prefix->get_array().size() : 0;
    for (size_t i = 0; i < list.size(); ++i) {
      if (i < n_prefix ? !valid(list[i], prefix->get_array()[i]) : has("items") && !valid(list[i], *has("items"))) return false;
    }
  } else if (value.is_object()) {
    const json::object& object = value.get_object();
    if (const auto* names = has("required"))
      for (const auto& name : names->get_array())
        if (!object.contains(name.get_string())) return false;
    if (const auto* bound = has("minProperties"); bound && object.size() < bound->to_number<size_t>()) return false;
    if (const auto* bound = has("maxProperties"); bound && object.size() > bound->to_number<size_t>()) return false;
    for (const auto& member : object) {
      const auto* properties = has("properties");
      const auto* own = properties ? properties->get_object().if_contains(member.key()) : nullptr;
      if (own && !valid(member.value(), *own)) return false;
      if (!own && has("additionalProperties") && !valid(member.value(), *has("additionalProperties"))) return false;
    }
  }
  return true;
}

// Makes schemas from what the compiler supports; some of them match nothing, and some are refused.
class SchemaMaker {
 public:
  explicit SchemaMaker(uint64_t seed) : rng_(seed) {}

  json::object root() {
    json::object schema = make(0).is_object() ? make(0).as_object() : json::object{{"type", "string"}};
    json::object defs;
    for (const char* name : {"a", "b"}) defs[name] = make(1);
    schema["$defs"] = defs;
    return schema;
  }

 private:
  uint32_t below(uint32_t n) { return rng_.next() % n; }
  bool maybe() { return below(2) == 0; }

  json::value make(int depth) {
    const uint32_t kind = below(depth >= 3 ? 6 : 12);
    switch (kind) {
      case 0: return {{"type", pick({"string", "integer", "number", "boolean", "null"})}};
      case 1: return number();
      case 2: return text();
      case 3: return {{"enum", json::array{scalar(), scalar(), json::array{scalar()}, json::object{{"k", scalar()}}}}};
      case 4: return {{"const", scalar()}};
      case 5: return {{"type", json::array{pick({"string", "null"}), pick({"integer", "boolean"})}}};
      case 6: case 7: return object(depth);
      case 8: return array(depth);
      case 9: return {{maybe() ? "anyOf" : "oneOf", json::array{make(depth + 1), make(depth + 1)}}};
      case 10: return {{"allOf", json::array{make(depth + 1), make(depth + 1)}}};
      default: {
        const char* target = pick({"#", "#/$defs/a", "#/$defs/b"});
        if (maybe()) return {{"$ref", target}};
        return {{"anyOf", json::array{{{"$ref", target}}, {{"type", "null"}}}}};
      }
    }
  }
  const char* pick(std::initializer_list<const char*> names) { return names.begin()[below(static_cast<uint32_t>(names.size()))]; }
  json::value scalar() {
    switch (below(5)) {
      case 0: return nullptr;
      case 1: return maybe();
      case 2: return static_cast<int64_t>(below(200)) - 100;
      case 3: return (static_cast<double>(below(2000)) - 1000) / 8;
      default: return json::string(std::string(pick({"", "x", "é\"\\", "two words", "\n"})));
    }
  }
  json::value number() {
    json::object schema{{"type", maybe() ? "integer" : "number"}};
    const auto bound = [&]() -> json::value { return maybe() ? json::value(static_cast<int64_t>(below(4000)) - 2000) : json::value((static_cast<double>(below(4000)) - 2000) / 16); };
    if (maybe()) schema[maybe() ? "minimum" : "exclusiveMinimum"] = bound();
    if (maybe()) schema[maybe() ? "maximum" : "exclusiveMaximum"] = bound();
    if (below(4) == 0) schema["multipleOf"] = 1 + below(13);
    return schema;
  }
  json::value text() {
    json::object schema{{"type", "string"}};
    if (maybe()) schema["minLength"] = below(4);
    if (maybe()) schema["maxLength"] = 2 + below(6);
    return schema;
  }
  json::value array(int depth) {
    json::object schema{{"type", "array"}};
    if (maybe()) schema["items"] = make(depth + 1);
    if (below(3) == 0) schema["prefixItems"] = json::array{make(depth + 1), make(depth + 1)};
    if (maybe()) schema["minItems"] = below(3);
    schema["maxItems"] = 2 + below(2);
    return schema;
  }
  json::value object(int depth) {
    json::object schema{{"type", "object"}}, properties;
    for (uint32_t i = below(5); i > 0; --i) properties[pick({"a", "ab", "b", "key", "é", "x y"})] = make(depth + 1);
    json::array required;
    for (const char* name : {"a", "b", "other"})
      if (below(4) == 0) required.emplace_back(name);
    if (!required.empty()) schema["required"] = required;
    if (maybe()) schema["properties"] = properties;
    if (below(3) == 0) schema["additionalProperties"] = maybe() ? json::value(maybe()) : make(depth + 1);
    return schema;
  }

  Rng rng_;
};

// A walk among the allowed tokens. It prefers what brings the answer to an end, more and more so.
std::string walk(TokenConstraint& constraint, const ListedTokens& tokens, Rng& rng, bool& has_ended) {
  std::string text;
  has_ended = false;
  for (int step = 0; step < 600; ++step) {
    if (constraint.is_complete()) {
      has_ended = true;
      return text;
    }
    std::vector<float> logits(static_cast<size_t>(tokens.vocab_size()), 0);
    REQUIRE(constraint.mask(logits));
    std::vector<int32_t> allowed, closing;
    for (int32_t id = 0; id < tokens.vocab_size(); ++id)
      if (logits[static_cast<size_t>(id)] == 0) {
        allowed.push_back(id);
        const std::string_view bytes = tokens.text(id);
        if (id == tokens.end() || bytes == "\"" || bytes == "}" || bytes == "]") closing.push_back(id);
      }
    const bool closes = !closing.empty() && rng.next() % 600 < static_cast<uint32_t>(60 + 5 * step);
    const std::vector<int32_t>& from = closes ? closing : allowed;
    const int32_t id = from[rng.next() % from.size()];
    if (id == tokens.end()) {
      has_ended = true;
      return text;
    }
    text += tokens.text(id);
    constraint.accept(id);
  }
  return text;
}

}  // namespace

TEST_CASE("SchemaProperty_RandomWalksThroughTheMaskEndInValidOutput") {
  const ListedTokens tokens = ListedTokens::with_bytes({"\": ", "{\"", "\",", "\":\"", "true", "nul", "12", "0.", "e-", "\xC3\xA9", "\\u00", "\n  ", "]}", "key", "ab\":", "  "});
  const TokenTrie trie(tokens);
  int n_compiled = 0, n_ended = 0;
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    const json::value wanted = SchemaMaker(seed).root();
    INFO("seed " << seed << ": " << wanted);
    std::shared_ptr<const Network> network;
    try {
      network = compile_constraint(schema(json::serialize(wanted)));
    } catch (const EngineError& error) {
      REQUIRE(error.code() == ErrorCode::kInvalidRequest);
      continue;
    }
    ++n_compiled;
    for (uint64_t run = 0; run < 6; ++run) {
      TokenConstraint constraint(network, trie, tokens);
      Rng rng(seed * 100 + run);
      bool has_ended = false;
      const std::string text = walk(constraint, tokens, rng, has_ended);
      if (!has_ended) continue;
      ++n_ended;
      INFO("wrote " << text);
      json::error_code error;
      const json::value value = json::parse(text, error, {}, json::parse_options{.max_depth = 1000});
      REQUIRE_FALSE(error);
      REQUIRE(is_valid(value, wanted, wanted));
    }
  }
  CHECK(n_compiled > 700);
  CHECK(n_ended > 3 * n_compiled);
}
