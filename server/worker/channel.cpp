#include "server/worker/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace olx::server {
namespace {

// Both sides are the same program on the same machine: numbers are as it keeps them.
struct Head {
  uint32_t type = 0;
  uint32_t n_bytes = 0;
  uint64_t id = 0;
};
static_assert(sizeof(Head) == 16);

constexpr size_t kReadBytes = 64 << 10;

}  // namespace

Channel::~Channel() { ::close(fd_); }

void Channel::shut_down() { ::shutdown(fd_, SHUT_RDWR); }

bool Channel::send(FrameType type, uint64_t id, std::string_view payload) {
  if (payload.size() > kMaxFrameBytes) return false;
  Head head{static_cast<uint32_t>(type), static_cast<uint32_t>(payload.size()), id};
  iovec pieces[2] = {{&head, sizeof head}, {const_cast<char*>(payload.data()), payload.size()}};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  const std::lock_guard lock(send_mutex_);
  while (message.msg_iovlen > 0) {
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    auto n = static_cast<size_t>(sent);
    while (message.msg_iovlen > 0 && n >= message.msg_iov[0].iov_len) {
      n -= message.msg_iov[0].iov_len;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
    if (message.msg_iovlen == 0) break;
    message.msg_iov[0].iov_base = static_cast<char*>(message.msg_iov[0].iov_base) + n;
    message.msg_iov[0].iov_len -= n;
  }
  return true;
}

bool Channel::try_send(FrameType type, uint64_t id) {
  const std::unique_lock lock(send_mutex_, std::try_to_lock);
  if (!lock) return false;
  const Head head{static_cast<uint32_t>(type), 0, id};
  // So few bytes go whole or not at all: a stream socket of this kind takes them as one buffer.
  return ::send(fd_, &head, sizeof head, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof head);
}

bool Channel::take_frame(Frame& frame) {
  const size_t n_there = received_.size() - begin_;
  Head head;
  if (n_there < sizeof head) return false;
  std::memcpy(&head, received_.data() + begin_, sizeof head);
  if (head.n_bytes > kMaxFrameBytes)
    throw WireError("a frame of " + std::to_string(head.n_bytes) + " bytes; at most " +
                    std::to_string(kMaxFrameBytes) + " are read");
  if (n_there - sizeof head < head.n_bytes) return false;
  frame.type = static_cast<FrameType>(head.type);
  frame.id = head.id;
  frame.payload.assign(received_, begin_ + sizeof head, head.n_bytes);
  begin_ += sizeof head + head.n_bytes;
  if (begin_ == received_.size()) {
    received_.clear();
    begin_ = 0;
    if (received_.capacity() > (1 << 20)) received_.shrink_to_fit();
  }
  return true;
}

Channel::Receive Channel::receive(Frame& frame, std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto last = Clock::now() + timeout;
  while (!take_frame(frame)) {
    if (begin_ > 0) {
      received_.erase(0, begin_);
      begin_ = 0;
    }
    // Also without a limit: whoever waits in recv() is woken each time the other side has read what was sent, and takes the
    // processor from that side just then.
    int left = -1;
    if (timeout.count() >= 0)
      left = static_cast<int>(std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(last - Clock::now()).count()));
    pollfd readable{fd_, POLLIN, 0};
    const int n_ready = ::poll(&readable, 1, left);
    if (n_ready < 0 && errno == EINTR) continue;
    if (n_ready == 0) return Receive::kTimeout;
    const size_t n_before = received_.size();
    received_.resize(n_before + kReadBytes);
    const ssize_t n = ::recv(fd_, received_.data() + n_before, kReadBytes, 0);
    const int error = errno;
    received_.resize(n_before + static_cast<size_t>(n > 0 ? n : 0));
    if (n < 0 && error == EINTR) continue;
    if (n <= 0) return Receive::kEnd;
  }
  return Receive::kFrame;
}

}  // namespace olx::server
