#include "io/turn_bridge.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace satsuma::io {

TurnBridge::~TurnBridge() {
  for (const Peer& peer : peers_) ::close(peer.inner);
  for (const Opened& opened : opened_) ::close(opened.outer);
}

Result<void> TurnBridge::handle_client(TimePoint now, MutableByteView bytes) {
  while (true) {
    SATSUMA_TRY(const auto event, connection_.next(now, bytes));
    if (!event) return {};
    if (event->reply) waiting_.insert(waiting_.end(), event->reply->bytes.begin(), event->reply->bytes.end());
    if (event->to_peer) to_peer(*event->to_peer);
  }
}

void TurnBridge::to_peer(const turn::ServerConnection::ToPeer& datagram) {
  if (datagram.datagram.empty() || datagram.datagram.size() > ice::max_stream_frame) return;
  const auto known = std::ranges::find_if(peers_, [&](const Peer& peer) { return peer.address == datagram.peer; });
  if (known != peers_.end()) return write(*known, datagram.datagram);
  // It begins with a check, which says whose it is.
  if (!stun::looks_like_stun(datagram.datagram)) return;
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) return; // as if it were lost: checks are repeated
  Opened opened{ends[0], ends[1], connection_.relayed(), {}};
  const auto length = ice::stream_frame_length(datagram.datagram.size());
  opened.begun.assign(length.begin(), length.end());
  opened.begun.insert(opened.begun.end(), datagram.datagram.begin(), datagram.datagram.end());
  opened_.push_back(std::move(opened));
  peers_.push_back({datagram.peer, ends[0], {}, {}});
}

void TurnBridge::write(Peer& peer, ByteView datagram) {
  if (!peer.rest.empty()) {
    const ssize_t sent = ::send(peer.inner, peer.rest.data(), peer.rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) peer.rest.erase(peer.rest.begin(), peer.rest.begin() + sent);
    if (!peer.rest.empty()) return; // the media thread is behind: as over UDP, what comes now is lost
  }
  std::array<std::uint8_t, ice::stream_frame_header> length = ice::stream_frame_length(datagram.size());
  std::array<iovec, 2> parts = {iovec{length.data(), length.size()}, iovec{const_cast<std::uint8_t*>(datagram.data()), datagram.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t sent = ::sendmsg(peer.inner, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent <= 0) return; // an end shows in reading
  const auto taken = static_cast<std::size_t>(sent);
  if (taken == length.size() + datagram.size()) return;
  peer.rest.reserve(ice::stream_frame_header + ice::max_stream_frame); // once
  if (taken < length.size()) peer.rest.assign(length.begin() + sent, length.end());
  const std::size_t of_datagram = taken - std::min(taken, length.size());
  peer.rest.insert(peer.rest.end(), datagram.begin() + static_cast<std::ptrdiff_t>(of_datagram), datagram.end());
}

bool TurnBridge::handle_readable(TimePoint now, int inner) {
  const auto peer = std::ranges::find_if(peers_, [inner](const Peer& one) { return one.inner == inner; });
  if (peer == peers_.end()) return false;
  std::array<std::uint8_t, 16 * 1024> buffer;
  const ssize_t got = ::recv(inner, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
  if (got <= 0) return false;
  MutableByteView input = MutableByteView(buffer).first(static_cast<std::size_t>(got));
  std::array<std::uint8_t, turn::max_frame_size> frame;
  while (true) {
    const auto datagram = peer->reader.next(input);
    SATSUMA_CHECK(datagram.has_value()); // our own media loop wrote it
    if (!*datagram) return true;
    const auto wrapped = connection_.wrap(now, peer->address, **datagram, frame);
    if (!wrapped) continue;
    if (waiting_.size() + wrapped->size() > max_waiting_media) {
      ++dropped_slow_;
      continue;
    }
    waiting_.insert(waiting_.end(), wrapped->begin(), wrapped->end());
  }
}

void TurnBridge::close_peer(int inner) {
  const auto peer = std::ranges::find_if(peers_, [inner](const Peer& one) { return one.inner == inner; });
  if (peer == peers_.end()) return;
  ::close(inner);
  peers_.erase(peer);
}

std::vector<TurnBridge::Opened> TurnBridge::take_opened() { return std::exchange(opened_, {}); }

void TurnBridge::take_waiting(Bytes& out) {
  out.clear();
  out.swap(waiting_);
}

} // namespace satsuma::io
