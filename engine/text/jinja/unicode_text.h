#pragma once
// Python's view of a string over UTF-8 bytes: characters, white space, case. Used by the Jinja interpreter.
// A byte that is not part of valid UTF-8 counts as one character of its own.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace olx::engine::jinja {

void append_utf8(std::string& out, uint32_t code);
// Bytes of the character that starts at text[i].
size_t char_bytes(std::string_view text, size_t i);
// Code of the character at text[i]; 0xDC00 + byte for a byte that is not UTF-8 (as Python's surrogateescape).
uint32_t char_code(std::string_view text, size_t i);
size_t count_chars(std::string_view text);
std::vector<std::string_view> split_chars(std::string_view text);
// Byte offset of character n (the size when n is past the end).
size_t char_offset(std::string_view text, size_t n);

bool is_space_code(uint32_t code);
std::string_view lstrip_spaces(std::string_view text);
std::string_view rstrip_spaces(std::string_view text);

std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
std::string to_title(std::string_view text);       // str.title()
std::string to_capitalized(std::string_view text); // str.capitalize()
bool is_alpha_code(uint32_t code);
bool is_digit_code(uint32_t code);
bool is_upper_code(uint32_t code);
bool is_lower_code(uint32_t code);
bool is_printable_code(uint32_t code);

}  // namespace olx::engine::jinja
