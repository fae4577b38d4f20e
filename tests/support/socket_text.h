#pragma once
// What servers and clients of the tests read from a socket, as text.

#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <string>

namespace olx::tests {

// Appends what has come to `input`. False when nothing comes any more.
inline bool read_more(int fd, std::string& input) {
  char piece[65536];
  const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
  if (n > 0) input.append(piece, static_cast<size_t>(n));
  return n > 0;
}

// Takes the head of an HTTP message, up to its empty line and without it, from the beginning of
// `input`, reading more as long as it is not whole. nullopt when its connection ends before.
inline std::optional<std::string> take_head(int fd, std::string& input) {
  size_t end = 0;
  while ((end = input.find("\r\n\r\n")) == std::string::npos)
    if (!read_more(fd, input)) return std::nullopt;
  std::string head = input.substr(0, end + 2);
  input.erase(0, end + 4);
  return head;
}

}  // namespace olx::tests
