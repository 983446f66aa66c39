#include "io/media_streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "io/socket_address.h"

namespace satsuma::io {

namespace {

constexpr int backlog = 256;
constexpr std::size_t accepts_per_turn = 64;
constexpr Duration sweep_interval = std::chrono::seconds(1);
/// Datagrams of one sendmsg, each of two parts.
constexpr std::size_t write_batch = 32;

} // namespace

MediaStreams::MediaStreams(MediaStreams&& other) noexcept
    : limits_(other.limits_),
      counters_(other.counters_),
      epoll_(other.epoll_),
      listeners_(std::exchange(other.listeners_, {})),
      listening_(other.listening_),
      streams_(std::exchange(other.streams_, {})),
      per_address_(std::move(other.per_address_)),
      next_number_(other.next_number_),
      next_sweep_(other.next_sweep_),
      closed_(std::move(other.closed_)),
      buffer_(std::move(other.buffer_)) {}

MediaStreams::~MediaStreams() {
  for (const int listener : listeners_) ::close(listener);
  for (const auto& [number, stream] : streams_) ::close(stream->descriptor);
}

Result<TransportAddress> MediaStreams::listen(const TransportAddress& local) {
  const bool is_v6 = !local.is_v4();
  const int descriptor = ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return stream_listen_failed;
  const int on = 1;
  SocketAddress address;
  socklen_t size = to_socket_address(local, is_v6, address);
  const bool bound = setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                     (!is_v6 || setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
                     bind(descriptor, &address.base, size) == 0 && ::listen(descriptor, backlog) == 0;
  size = sizeof address;
  if (!bound || getsockname(descriptor, &address.base, &size) != 0) {
    ::close(descriptor);
    return stream_listen_failed;
  }
  listeners_.push_back(descriptor);
  return from_socket_address(address);
}

bool MediaStreams::watch(int epoll) {
  epoll_ = epoll;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = listener_tag + i;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, listeners_[i], &event) != 0) return false;
  }
  return true;
}

void MediaStreams::watch_listeners(bool on) {
  if (listening_ == on) return;
  listening_ = on;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    epoll_event event{};
    if (on) event.events = EPOLLIN;
    event.data.u64 = listener_tag + i;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, listeners_[i], &event);
  }
}

void MediaStreams::accept(TimePoint now, std::size_t listener) {
  if (listener >= listeners_.size()) return;
  for (std::size_t i = 0; i < accepts_per_turn; ++i) {
    SocketAddress address;
    socklen_t size = sizeof address;
    const int descriptor = accept4(listeners_[listener], &address.base, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // They would be ready for ever: a pause, until the next sweep.
        watch_listeners(false);
        if (!next_sweep_) next_sweep_ = now + sweep_interval;
      }
      return;
    }
    (void)adopt(now, descriptor, from_socket_address(address), {});
  }
}

Result<std::uint32_t> MediaStreams::adopt(TimePoint now, int descriptor, const TransportAddress& remote, ByteView begun, const TransportAddress& counted) {
  const auto refuse = [&]() -> Error {
    ::close(descriptor);
    ++counters_.refused;
    return stream_refused;
  };
  Remote& from_there = per_address_.try_emplace(counted.household(), Remote{0, TokenBucket(static_cast<double>(limits_.new_connections_per_second),
                                                                                     static_cast<double>(limits_.new_connection_burst))}).first->second;
  if (!next_sweep_) next_sweep_ = now + sweep_interval;
  if (!from_there.fresh.take(now, 1) || from_there.connections >= limits_.connections_per_address) return refuse();
  if (begun.size() > read_size) return refuse();
  if (streams_.size() >= limits_.connections && !make_room()) return refuse();

  const int on = 1;
  const int buffer = static_cast<int>(limits_.kernel_buffer);
  const int unsent = static_cast<int>(limits_.unsent);
  const auto silence = static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(limits_.silence).count());
  // Each is an improvement; without it media is later, or the end found later.
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
  (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence);

  std::uint32_t number = next_number_;
  while (streams_.contains(number)) number = number == ~std::uint32_t{0} ? first_number : number + 1;
  next_number_ = number == ~std::uint32_t{0} ? first_number : number + 1;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = number;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) return refuse();
  auto stream = std::make_unique<Stream>();
  stream->descriptor = descriptor;
  stream->remote = remote;
  stream->counted = counted;
  stream->opened = stream->heard = now;
  stream->rest = {};
  if (!begun.empty()) stream->begun = to_bytes(begun);
  streams_.emplace(number, std::move(stream));
  ++from_there.connections;
  ++counters_.accepted;
  return number;
}

MediaStreams::Stream* MediaStreams::find(std::uint32_t number) {
  const auto found = streams_.find(number);
  return found == streams_.end() ? nullptr : found->second.get();
}

std::optional<MutableByteView> MediaStreams::read(std::uint32_t number, Stream& stream) {
  if (buffer_.empty()) buffer_.resize(read_size);
  if (!stream.begun.empty()) {
    std::copy(stream.begun.begin(), stream.begun.end(), buffer_.begin());
    return MutableByteView(buffer_).first(std::exchange(stream.begun, {}).size());
  }
  const ssize_t got = ::recv(stream.descriptor, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got > 0) return MutableByteView(buffer_).first(static_cast<std::size_t>(got));
  const bool later = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  if (!later) close(number);
  return std::nullopt;
}

bool MediaStreams::watch_writing(std::uint32_t number, const Stream& stream, bool on) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (on) event.events |= EPOLLOUT;
  event.data.u64 = number;
  return epoll_ctl(epoll_, EPOLL_CTL_MOD, stream.descriptor, &event) == 0;
}

void MediaStreams::handle_writable(std::uint32_t number) {
  Stream* const stream = find(number);
  if (stream == nullptr) return;
  while (!stream->rest.empty()) {
    const ssize_t sent = ::send(stream->descriptor, stream->rest.data(), stream->rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) close(number);
      return;
    }
    stream->rest.erase(stream->rest.begin(), stream->rest.begin() + sent);
  }
  watch_writing(number, *stream, false);
}

UdpSocket::Sent MediaStreams::send(std::uint32_t number, std::span<const Datagram> datagrams) {
  UdpSocket::Sent result;
  Stream* const stream = find(number);
  const auto drop = [&](std::size_t count) {
    result.dropped += count;
    counters_.dropped_slow += count;
  };
  if (stream == nullptr || !stream->rest.empty()) { // datagrams must not be put into the middle of one
    drop(datagrams.size());
    return result;
  }
  while (!datagrams.empty()) {
    const std::size_t count = std::min(datagrams.size(), write_batch);
    std::array<std::array<std::uint8_t, ice::stream_frame_header>, write_batch> lengths;
    std::array<iovec, 2 * write_batch> parts;
    for (std::size_t i = 0; i < count; ++i) {
      lengths[i] = ice::stream_frame_length(datagrams[i].bytes.size());
      parts[2 * i] = {lengths[i].data(), lengths[i].size()};
      parts[2 * i + 1] = {const_cast<std::uint8_t*>(datagrams[i].bytes.data()), datagrams[i].bytes.size()};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = 2 * count;
    const ssize_t sent = ::sendmsg(stream->descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    ++result.calls;
    if (sent < 0) {
      if (errno == EINTR) continue;
      drop(datagrams.size());
      // Its end is found here before a read does; the owner hears of it by take_closed().
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) close(number);
      return result;
    }
    auto taken = static_cast<std::size_t>(sent);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t whole = ice::stream_frame_header + datagrams[i].bytes.size();
      if (taken >= whole) {
        taken -= whole;
        ++result.datagrams;
        continue;
      }
      const bool begun = taken > 0;
      if (begun) {
        Bytes& rest = stream->rest;
        rest.reserve(ice::stream_frame_header + ice::max_stream_frame); // once: it stays with a connection that was slow
        if (taken < lengths[i].size()) rest.insert(rest.end(), lengths[i].begin() + static_cast<std::ptrdiff_t>(taken), lengths[i].end());
        const ByteView left = datagrams[i].bytes.subspan(taken > lengths[i].size() ? taken - lengths[i].size() : 0);
        rest.insert(rest.end(), left.begin(), left.end());
        ++result.datagrams;
        watch_writing(number, *stream, true);
      }
      drop(datagrams.size() - i - (begun ? 1 : 0));
      return result;
    }
    datagrams = datagrams.subspan(count);
  }
  return result;
}

void MediaStreams::handle_timeout(TimePoint now) {
  if (!next_sweep_ || now < *next_sweep_) return;
  watch_listeners(true);
  std::vector<std::uint32_t> strange, silent;
  for (const auto& [number, stream] : streams_) {
    if (!stream->known && now - stream->opened >= limits_.first_check) strange.push_back(number);
    else if (now - stream->heard >= limits_.silence) silent.push_back(number);
  }
  for (const std::uint32_t number : strange) close(number, counters_.closed_strange);
  for (const std::uint32_t number : silent) close(number, counters_.closed_silent);
  std::erase_if(per_address_, [now](const auto& one) { return one.second.connections == 0 && one.second.fresh.full(now); });
  if (streams_.empty() && per_address_.empty()) next_sweep_.reset();
  else next_sweep_ = now + sweep_interval;
}

std::optional<TimePoint> MediaStreams::next_deadline() const { return next_sweep_; }

std::vector<NetworkPath> MediaStreams::take_closed() { return std::exchange(closed_, {}); }

bool MediaStreams::make_room() {
  auto oldest = streams_.end();
  for (auto one = streams_.begin(); one != streams_.end(); ++one)
    if (!one->second->known && (oldest == streams_.end() || one->second->opened < oldest->second->opened)) oldest = one;
  if (oldest == streams_.end()) return false;
  close(oldest->first, counters_.closed_strange);
  return true;
}

void MediaStreams::close(std::uint32_t number, std::uint64_t& counter) {
  ++counter;
  close(number);
}

void MediaStreams::close(std::uint32_t number) {
  const auto found = streams_.find(number);
  if (found == streams_.end()) return;
  const Stream& stream = *found->second;
  ::close(stream.descriptor);
  if (stream.known) closed_.push_back({stream.remote, number});
  --per_address_.at(stream.counted.household()).connections;
  streams_.erase(found);
}

} // namespace satsuma::io
