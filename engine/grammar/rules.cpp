#include "engine/grammar/rules.h"

#include <time.h>

#include <algorithm>

#include "engine/error.h"

namespace olx::engine {
namespace {

int64_t thread_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

ByteSet byte_range(uint32_t first, uint32_t last) {
  ByteSet set;
  for (uint32_t byte = first; byte <= last; ++byte) set.set(byte);
  return set;
}

size_t utf8_bytes(uint32_t code, uint8_t (&out)[4]) {
  if (code < 0x80) {
    out[0] = static_cast<uint8_t>(code);
    return 1;
  }
  const size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; --i, code >>= 6) out[i] = static_cast<uint8_t>(0x80 | (code & 0x3F));
  out[0] = static_cast<uint8_t>((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | code);
  return n;
}

}  // namespace

uint64_t read_repetition(std::string_view text, size_t& at, const GrammarLimits& limits, std::string& fault) {
  constexpr uint64_t kEnough = 1'000'000'000'000;  // digits beyond it change nothing
  uint64_t number = 0;
  const size_t begin = at;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    number = std::min<uint64_t>(number * 10 + static_cast<uint64_t>(text[at] - '0'), kEnough);
  if (at == begin) fault = "expected a number of repetitions";
  else if (number > limits.max_repetition)
    fault = "a repetition: expected at most " + std::to_string(limits.max_repetition) + ", got " + std::to_string(number);
  return number;
}

void refuse_grammar(const std::string& what) { throw EngineError(ErrorCode::kInvalidRequest, what); }

CodeRanges sorted_ranges(CodeRanges ranges) {
  // Surrogates are no characters: UTF-8 has no bytes for them.
  CodeRanges split;
  for (const CodeRange& range : ranges) {
    const uint32_t last = std::min(range.last, kMaxCodePoint);
    if (range.first > last) continue;
    if (range.first < 0xD800) split.push_back({range.first, std::min(last, 0xD7FFu)});
    if (last > 0xDFFF) split.push_back({std::max(range.first, 0xE000u), last});
  }
  std::sort(split.begin(), split.end(), [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  CodeRanges joined;
  for (const CodeRange& range : split) {
    if (!joined.empty() && range.first <= joined.back().last + 1) joined.back().last = std::max(joined.back().last, range.last);
    else joined.push_back(range);
  }
  return joined;
}

CodeRanges complement(const CodeRanges& ranges) {
  CodeRanges out;
  uint32_t next = 0;
  for (const CodeRange& range : sorted_ranges(ranges)) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) out.push_back({next, kMaxCodePoint});
  return sorted_ranges(out);
}

CodeRanges intersection(const CodeRanges& a, const CodeRanges& b) {
  CodeRanges out;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint32_t first = std::max(a[i].first, b[j].first), last = std::min(a[i].last, b[j].last);
    if (first <= last) out.push_back({first, last});
    if (a[i].last < b[j].last) ++i;
    else ++j;
  }
  return out;
}

bool contains(const CodeRanges& sorted, uint32_t code) {
  return std::any_of(sorted.begin(), sorted.end(), [&](const CodeRange& range) { return range.first <= code && code <= range.last; });
}

RuleSet::RuleSet(const GrammarLimits& limits) : limits_(limits), begun_ns_(thread_ns()) {}

void RuleSet::check_time() {
  if (thread_ns() - begun_ns_ > limits_.max_compile_ns)
    refuse_grammar("the grammar takes too long to compile: more than " + std::to_string(limits_.max_compile_ns / 1'000'000) + " ms");
}

NodeId RuleSet::add(Node node) {
  if (nodes_.size() % 512 == 0) check_time();
  if (nodes_.size() >= limits_.max_nodes) refuse_grammar("the grammar is too large: more than " + std::to_string(limits_.max_nodes) + " parts");
  nodes_.push_back(node);
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId RuleSet::bytes(const ByteSet& set) {
  if (set.none()) return nothing();
  const auto [found, is_new] = set_ids_.try_emplace(set, static_cast<uint32_t>(sets_.size()));
  if (is_new) sets_.push_back(set);
  return add({Kind::kBytes, found->second});
}

NodeId RuleSet::literal(std::string_view text) {
  std::vector<NodeId> parts;
  for (char c : text) parts.push_back(bytes(ByteSet().set(static_cast<uint8_t>(c))));
  return sequence(std::move(parts));
}

// Each range is cut where the number of bytes changes, then into pieces whose bytes vary independently: the usual way from
// characters to bytes (Thompson's; Unicode 15, table 3-7 for what is well-formed).
NodeId RuleSet::characters(const CodeRanges& sorted) {
  std::vector<NodeId> alternatives;
  ByteSet ascii;
  std::vector<CodeRange> todo(sorted.rbegin(), sorted.rend());
  while (!todo.empty()) {
    CodeRange range = todo.back();
    todo.pop_back();
    bool is_split = false;
    const auto split_after = [&](uint32_t last) {
      if (is_split || range.first > last || range.last <= last) return;
      todo.push_back({last + 1, range.last});
      todo.push_back({range.first, last});
      is_split = true;
    };
    for (uint32_t last : {0x7Fu, 0x7FFu, 0xFFFFu}) split_after(last);
    for (uint32_t bits = 6; bits <= 18 && !is_split && range.first >= 0x80; bits += 6) {
      const uint32_t low = (1u << bits) - 1;
      if ((range.first & ~low) == (range.last & ~low)) continue;
      if ((range.first & low) != 0) split_after(range.first | low);
      else if ((range.last & low) != low) split_after((range.last & ~low) - 1);
    }
    if (is_split) continue;
    if (range.last < 0x80) {
      ascii |= byte_range(range.first, range.last);
      continue;
    }
    uint8_t first[4], last[4];
    const size_t n = utf8_bytes(range.first, first);
    utf8_bytes(range.last, last);
    std::vector<NodeId> parts;
    for (size_t i = 0; i < n; ++i) parts.push_back(bytes(byte_range(first[i], last[i])));
    alternatives.push_back(sequence(std::move(parts)));
  }
  if (ascii.any()) alternatives.push_back(bytes(ascii));
  return choice(std::move(alternatives));
}

NodeId RuleSet::sequence(std::vector<NodeId> parts) {
  if (parts.size() == 1) return parts[0];
  const auto first = static_cast<uint32_t>(children_.size());
  children_.insert(children_.end(), parts.begin(), parts.end());
  return add({Kind::kSequence, first, static_cast<uint32_t>(parts.size())});
}

NodeId RuleSet::choice(std::vector<NodeId> alternatives) {
  if (alternatives.size() == 1) return alternatives[0];
  const auto first = static_cast<uint32_t>(children_.size());
  children_.insert(children_.end(), alternatives.begin(), alternatives.end());
  return add({Kind::kChoice, first, static_cast<uint32_t>(alternatives.size())});
}

NodeId RuleSet::repeat(NodeId body, uint32_t min, uint32_t max) {
  if (max == 0) return empty();
  if (min == 1 && max == 1) return body;
  const auto first = static_cast<uint32_t>(children_.size());
  children_.push_back(body);
  return add({Kind::kRepeat, first, 1, min, max});
}

NodeId RuleSet::call(RuleId rule) { return add({Kind::kCall, rule}); }

RuleId RuleSet::rule_named(std::string_view name) {
  const auto found = names_.find(std::string(name));
  if (found != names_.end()) return found->second;
  const RuleId rule = new_rule();
  rules_[rule].name = name;
  names_.emplace(name, rule);
  return rule;
}

RuleId RuleSet::new_rule() {
  if (rules_.size() >= limits_.max_rules) refuse_grammar("the grammar has too many rules: more than " + std::to_string(limits_.max_rules));
  rules_.emplace_back();
  return static_cast<RuleId>(rules_.size() - 1);
}

void RuleSet::define(RuleId rule, NodeId body) {
  if (rules_[rule].is_defined) refuse_grammar("grammar: the rule '" + rules_[rule].name + "' is defined twice");
  rules_[rule].is_defined = true;
  rules_[rule].body = body;
}

NodeId RuleSet::as_rule(NodeId body) {
  const RuleId rule = new_rule();
  define(rule, body);
  return call(rule);
}

}  // namespace olx::engine
