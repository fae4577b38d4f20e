#include "engine/text/pretokenize/pretokenizer.h"

#include <utility>

#include "engine/text/pretokenize/scanners.h"

namespace olx::engine {
namespace {

using scan::Range;
using scan::WordRule;
using Contraction = WordRule::Contraction;
using Tail = WordRule::Tail;

// What a match leaves over becomes a piece of its own ("isolated" splits, in Hugging Face's words).
template <size_t (*kMatch)(TextWindow, size_t)>
void isolate(TextWindow w, size_t base, std::vector<size_t>& ends) {
  size_t done = 0;
  for (size_t pos = 0; pos < w.n_chars;) {
    const size_t end = kMatch(w, pos);
    if (end == pos) {
      ++pos;
      continue;
    }
    if (pos > done) ends.push_back(base + pos);
    ends.push_back(base + end);
    pos = done = end;
  }
  if (done < w.n_chars) ends.push_back(base + w.n_chars);
}

// \s+$
void isolate_trailing_spaces(TextWindow w, size_t base, std::vector<size_t>& ends) {
  size_t start = w.n_chars;
  while (start > 0 && scan::is_any(w.at(start - 1), kSpace)) --start;
  if (start > 0) ends.push_back(base + start);
  if (start < w.n_chars) ends.push_back(base + w.n_chars);
}

// DeepSeek LLM lists its letters by range (tokenizer.json of deepseek-ai/deepseek-llm-7b-base); it
// is not a Unicode property.
constexpr Range kDeepseekLetters[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
    {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
    {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
    {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
    {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
    {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
    {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
    {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
    {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
    {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
    {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
    {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
    {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
    {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};
constexpr Range kDeepseekPunctuation[] = {{0x21, 0x2F},     {0x3A, 0x7E},     {0x2018, 0x201F},
                                          {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}};
constexpr Range kDeepseekCjk[] = {{0x800, 0x9FA5}, {0xAC00, 0xD7FF}};
constexpr Range kDeepseek3Cjk[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};

size_t deepseek_letters(TextWindow w, size_t pos) {
  const size_t start = scan::is_any(w.at(pos), kSpace) ? pos + 1 : pos;
  const size_t end = scan::run_in(w, start, kDeepseekLetters);
  return end > start ? end : pos;
}
size_t deepseek_punctuation(TextWindow w, size_t pos) {
  if (scan::is_any(w.at(pos), kSpace)) {
    if (const size_t end = scan::run_in(w, pos + 1, kDeepseekPunctuation); end > pos + 1)
      return end;
  }
  return scan::run_in(w, pos, kDeepseekPunctuation);
}
size_t deepseek_cjk(TextWindow w, size_t pos) { return scan::run_in(w, pos, kDeepseekCjk); }
size_t deepseek3_cjk(TextWindow w, size_t pos) { return scan::run_in(w, pos, kDeepseek3Cjk); }

constexpr WordRule kLlama3Word{};
constexpr WordRule kQwen2Word{.max_digits = 1};
constexpr WordRule kQwen35Word{.letters = kLetter | kMark, .max_digits = 1};
constexpr WordRule kMinicpm5Word{.max_digits = 0};
constexpr WordRule kNoContractionWord{.contraction = Contraction::kNone, .max_digits = 1};
constexpr WordRule kSeedCoderWord{.max_digits = 1, .tail = Tail::kNone};
constexpr WordRule kTekkenWord{.contraction = Contraction::kNone,
                               .is_cased = true,
                               .max_digits = 1,
                               .tail = Tail::kNewlinesSlashes};
constexpr WordRule kGpt4oWord{.contraction = Contraction::kSuffix,
                              .is_cased = true,
                              .max_digits = 3,
                              .tail = Tail::kNewlinesSlashes};

// Sources: the pre_tokenizer of the tokenizer.json each model is published with.
constexpr SplitStage kGpt2[] = {isolate<scan::gpt2_word>};
constexpr SplitStage kDigitsGpt2[] = {isolate<scan::digits<1>>, isolate<scan::gpt2_word>};
constexpr SplitStage kDefault[] = {isolate<scan::punctuation_run<false>>, isolate<scan::gpt2_word>,
                                   isolate<scan::digits<0>>, isolate<scan::three_ascii_digits>};
constexpr SplitStage kFalcon[] = {isolate<scan::punctuation_run<true>>, isolate<scan::gpt2_word>,
                                  isolate<scan::three_ascii_digits>};
constexpr SplitStage kLlama3[] = {isolate<scan::word<kLlama3Word>>};
constexpr SplitStage kQwen2[] = {isolate<scan::word<kQwen2Word>>};
constexpr SplitStage kQwen35[] = {isolate<scan::word<kQwen35Word>>};
constexpr SplitStage kMinicpm5[] = {isolate<scan::digits<3>>, isolate<scan::word<kMinicpm5Word>>};
constexpr SplitStage kNoContraction[] = {isolate<scan::word<kNoContractionWord>>};
constexpr SplitStage kSeedCoder[] = {isolate<scan::word<kSeedCoderWord>>};
constexpr SplitStage kTekken[] = {isolate<scan::word<kTekkenWord>>};
constexpr SplitStage kGpt4o[] = {isolate<scan::word<kGpt4oWord>>};
constexpr SplitStage kBloom[] = {isolate<scan::bloom_word>};
constexpr SplitStage kViking[] = {isolate<scan::bloom_word>, isolate<scan::digits<1>>};
constexpr SplitStage kDeepseekLlm[] = {isolate<scan::one_newline>,    isolate<deepseek_letters>,
                                       isolate<deepseek_punctuation>, isolate_trailing_spaces,
                                       isolate<deepseek_cjk>,         isolate<scan::digits<0>>};
constexpr SplitStage kDeepseekCoder[] = {
    isolate<scan::one_newline>, isolate<scan::space_and_run<kLetter>>,
    isolate<scan::space_and_run<kPunctuation>>, isolate<deepseek_cjk>, isolate<scan::digits<1>>};
constexpr SplitStage kDeepseek3[] = {isolate<scan::digits<3>>, isolate<deepseek3_cjk>,
                                     isolate<scan::deepseek3_word>};

struct Row {
  std::string_view name;
  PreTokenizer rule;
};
constexpr Row kRows[] = {
    {"default", {kDefault}},
    {"gpt-2", {kGpt2}},
    {"gpt2", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"mpt", {kGpt2}},
    {"olmo", {kGpt2}},
    {"jais", {kGpt2}},
    {"jina-es", {kGpt2}},
    {"jina-de", {kGpt2}},
    {"jina-v1-en", {kGpt2}},
    {"jina-v2-es", {kGpt2}},
    {"jina-v2-de", {kGpt2}},
    {"jina-v2-code", {kGpt2}},
    {"roberta-bpe", {kGpt2}},
    {"gigachat", {kGpt2}},
    {"a.x-4.0", {kGpt2}},
    {"mellum", {kGpt2}},
    {"modern-bert", {kGpt2}},
    {"exaone4", {kGpt2}},
    {"trillion", {kGpt2}},
    {"granite-docling", {kGpt2}},
    {"starcoder", {kDigitsGpt2}},
    {"refact", {kDigitsGpt2}},
    {"command-r", {kDigitsGpt2}},
    {"smollm", {kDigitsGpt2}},
    {"codeshell", {kDigitsGpt2}},
    {"exaone", {kDigitsGpt2}},
    {"minerva-7b", {kDigitsGpt2}},
    {"mellum2", {kDigitsGpt2}},
    {"falcon", {kFalcon}},
    {"llama-bpe", {kLlama3, true, true}},
    {"llama3", {kLlama3, true, true}},
    {"llama-v3", {kLlama3, true, true}},
    {"falcon3", {kLlama3, true, true}},
    {"falcon-h1", {kLlama3, true, true}},
    {"pixtral", {kLlama3, true, true}},
    {"midm-2.0", {kLlama3, true, true}},
    {"lfm2", {kLlama3, true, true}},
    {"jina-v5-nano", {kLlama3, true, true}},
    {"dbrx", {kLlama3}},
    {"smaug-bpe", {kLlama3}},
    {"chatglm-bpe", {kLlama3}},
    {"glm4", {kLlama3}},
    {"qwen2", {kQwen2}},
    {"deepseek-r1-qwen", {kQwen2}},
    {"stablelm2", {kQwen2}},
    {"megrez", {kQwen2}},
    {"hunyuan", {kQwen2}},
    {"solar-open", {kQwen2}},
    {"grok-2", {kQwen2}},
    {"kormo", {kQwen2}},
    {"f2llmv2", {kQwen2}},
    {"bailingmoe", {kQwen2}},
    {"bailingmoe2", {kQwen2}},
    {"llada-moe", {kQwen2}},
    {"qwen35", {kQwen35}},
    {"minicpm5", {kMinicpm5, true}},
    {"ufakzeka", {kNoContraction}},
    {"seed-coder", {kSeedCoder}},
    {"tekken", {kTekken, true, true}},
    {"gpt-4o", {kGpt4o}},
    {"llama4", {kGpt4o}},
    {"kanana2", {kGpt4o}},
    {"talkie", {kGpt4o}},
    {"minimax-m2", {kGpt4o}},
    {"bloom", {kBloom}},
    {"gpt3-finnish", {kBloom}},
    {"poro-chat", {kBloom}},
    {"viking", {kViking}},
    {"deepseek-llm", {kDeepseekLlm}},
    {"deepseek-coder", {kDeepseekCoder}},
    {"deepseek-v3", {kDeepseek3}},
    {"hunyuan-dense", {kDeepseek3}},
    {"joyai-llm", {kDeepseek3}},
    {"hy_v4", {kDeepseek3}},
};

}  // namespace

const PreTokenizer* find_pretokenizer(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return &row.rule;
  }
  return nullptr;
}

void split_words(const PreTokenizer& rule, const ClassifiedText& text, std::vector<size_t>& ends,
                 std::vector<size_t>& scratch) {
  ends.clear();
  if (text.empty()) return;
  ends.push_back(text.size());
  for (const SplitStage stage : rule.stages) {
    scratch.clear();
    size_t start = 0;
    for (const size_t end : ends) {
      stage({text.data() + start, end - start}, start, scratch);
      start = end;
    }
    std::swap(ends, scratch);
  }
}

}  // namespace olx::engine
