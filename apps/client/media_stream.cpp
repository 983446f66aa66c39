#include "media_stream.h"

#include <cerrno>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <array>

#include "io/socket_address.h"

namespace satsuma::client {

std::unique_ptr<MediaStream> MediaStream::connect(EventLoop& loop, const TransportAddress& remote, Datagram on_datagram, Closed on_closed) {
  const bool v6 = !remote.is_v4();
  const int descriptor = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return nullptr;
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // a packet of sound is not to wait for the next
  io::SocketAddress address;
  const socklen_t size = io::to_socket_address(remote, v6, address);
  if (::connect(descriptor, &address.base, size) != 0 && errno != EINPROGRESS) {
    ::close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<MediaStream>(new MediaStream(loop, descriptor, std::move(on_datagram), std::move(on_closed)));
}

MediaStream::MediaStream(EventLoop& loop, int descriptor, Datagram on_datagram, Closed on_closed)
    : loop_(loop), descriptor_(descriptor), on_datagram_(std::move(on_datagram)), on_closed_(std::move(on_closed)) {
  loop_.watch(descriptor_, [this] { on_ready(); });
  loop_.want_write(descriptor_, true);
}

MediaStream::~MediaStream() {
  on_closed_ = nullptr;
  close();
}

void MediaStream::close() {
  if (closed_) return;
  closed_ = true;
  loop_.forget(descriptor_);
  ::close(descriptor_);
  if (on_closed_) on_closed_();
}

void MediaStream::send(ByteView datagram) {
  if (closed_ || datagram.size() > ice::max_stream_frame) return;
  if (!connected_) {
    waiting_.clear();
  } else if (waiting_.size() - written_ + datagram.size() > max_waiting) {
    return;
  }
  const auto length = ice::stream_frame_length(datagram.size());
  waiting_.insert(waiting_.end(), length.begin(), length.end());
  waiting_.insert(waiting_.end(), datagram.begin(), datagram.end());
  if (connected_) flush();
}

void MediaStream::flush() {
  while (written_ < waiting_.size()) {
    const ssize_t sent = ::send(descriptor_, waiting_.data() + written_, waiting_.size() - written_, MSG_NOSIGNAL);
    if (sent > 0) {
      written_ += static_cast<std::size_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return close();
    break;
  }
  const bool rest = written_ < waiting_.size();
  if (!rest || written_ > max_waiting) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(written_));
    written_ = 0;
  }
  loop_.want_write(descriptor_, rest);
}

void MediaStream::on_ready() {
  if (closed_) return;
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return close();
    io::SocketAddress peer;
    socklen_t peer_size = sizeof peer;
    if (::getpeername(descriptor_, &peer.base, &peer_size) != 0) return; // not yet
    connected_ = true;
  }
  flush();
  std::array<std::uint8_t, 16384> bytes;
  for (int round = 0; round < 8 && !closed_; ++round) {
    const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) return close();
    MutableByteView input = std::span(bytes).first(static_cast<std::size_t>(got));
    while (!closed_) {
      const auto datagram = reader_.next(input);
      if (!datagram) return close();
      if (!*datagram) break;
      on_datagram_(**datagram);
    }
  }
}

} // namespace satsuma::client
