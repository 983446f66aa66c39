#include "io/udp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "io/clock.h"
#include "io/socket_address.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace satsuma::io {

namespace {

constexpr std::size_t max_run_bytes = 60'000; // of a UDP_SEGMENT message, below what IP can say
constexpr std::size_t max_message_bytes = 65'536; // of datagrams that the kernel put together
/// A timestamp older than this is not one of these clocks.
constexpr Duration max_wait = std::chrono::seconds(2);

struct Ancillary {
  std::size_t segment = 0;  ///< of a run; 0: a single datagram
  std::int64_t arrived = 0; ///< nanoseconds of the wall clock; 0: not told
};

Ancillary read_ancillary(msghdr& header) {
  Ancillary out;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      int size = 0;
      std::memcpy(&size, CMSG_DATA(control), sizeof size);
      out.segment = static_cast<std::size_t>(std::max(size, 0));
    } else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_TIMESTAMPNS) {
      timespec at{};
      std::memcpy(&at, CMSG_DATA(control), sizeof at);
      out.arrived = std::int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
    }
  }
  return out;
}

std::int64_t wall_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

} // namespace

// Everything that recvmmsg and sendmmsg want, made once.
struct UdpSocket::Buffers {
  std::array<mmsghdr, receive_batch_size> in{};
  std::array<iovec, receive_batch_size> in_parts{};
  std::array<SocketAddress, receive_batch_size> in_addresses{};
  struct InControl {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(timespec)) + CMSG_SPACE(sizeof(int))> bytes{};
  };
  std::array<InControl, receive_batch_size> in_controls{};
  std::unique_ptr<std::uint8_t[]> in_bytes = std::make_unique_for_overwrite<std::uint8_t[]>(receive_batch_size * max_message_bytes);
  std::vector<Received> received;

  struct Control {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint16_t))> bytes{};
  };
  std::array<mmsghdr, send_batch_size> out{};
  std::array<iovec, send_batch_size * max_segments> out_parts{};
  std::array<SocketAddress, send_batch_size> out_addresses{};
  std::array<Control, send_batch_size> out_controls{};
};

Result<UdpSocket> UdpSocket::open(const TransportAddress& local, const Options& options) {
  UdpSocket socket;
  socket.is_v6_ = !local.is_v4();
  socket.descriptor_ = ::socket(socket.is_v6_ ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket.descriptor_ < 0) return udp_open_failed;
  const int fd = socket.descriptor_;
  if (socket.is_v6_) {
    const bool wildcard = std::all_of(local.ip.begin(), local.ip.end(), [](std::uint8_t byte) { return byte == 0; });
    const int only_v6 = wildcard ? 0 : 1;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6) != 0) return udp_open_failed;
  }
  const int size = static_cast<int>(std::min<std::size_t>(options.buffer_bytes, 1U << 30));
  // A smaller buffer than wished for is no failure.
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  const int on = 1; // nor is it one that an older kernel has neither of these
  (void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  (void)setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on);
  SocketAddress address;
  socklen_t address_size = to_socket_address(local, socket.is_v6_, address);
  if (bind(fd, &address.base, address_size) != 0) return udp_bind_failed;
  address_size = sizeof address;
  if (getsockname(fd, &address.base, &address_size) != 0) return udp_bind_failed;
  socket.local_ = from_socket_address(address);
  socket.segmentation_ = options.segmentation;

  if (options.buffers_of != nullptr) {
    socket.buffers_ = options.buffers_of->buffers_;
    return socket;
  }
  socket.buffers_ = std::make_shared<Buffers>();
  Buffers& b = *socket.buffers_;
  for (std::size_t i = 0; i < receive_batch_size; ++i) {
    b.in_parts[i] = {b.in_bytes.get() + i * max_message_bytes, max_message_bytes};
    b.in[i].msg_hdr.msg_iov = &b.in_parts[i];
    b.in[i].msg_hdr.msg_iovlen = 1;
    b.in[i].msg_hdr.msg_name = &b.in_addresses[i];
    b.in[i].msg_hdr.msg_control = b.in_controls[i].bytes.data();
  }
  b.received.reserve(receive_batch_size * max_segments);
  return socket;
}

UdpSocket::UdpSocket(UdpSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      local_(other.local_),
      is_v6_(other.is_v6_),
      segmentation_(other.segmentation_),
      buffers_(std::move(other.buffers_)) {}

UdpSocket& UdpSocket::operator=(UdpSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(local_, other.local_);
  std::swap(is_v6_, other.is_v6_);
  std::swap(segmentation_, other.segmentation_);
  std::swap(buffers_, other.buffers_);
  return *this;
}

UdpSocket::~UdpSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::span<const UdpSocket::Received>> UdpSocket::receive() {
  Buffers& b = *buffers_;
  for (std::size_t i = 0; i < receive_batch_size; ++i) {
    b.in[i].msg_hdr.msg_namelen = sizeof(SocketAddress);
    b.in[i].msg_hdr.msg_controllen = b.in_controls[i].bytes.size();
  }
  const int count = recvmmsg(descriptor_, b.in.data(), receive_batch_size, MSG_DONTWAIT, nullptr);
  if (count < 0) {
    // ECONNREFUSED and its like tell of an earlier send's fate, and there is nothing to do about it.
    const bool harmless = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH ||
                          errno == ENETUNREACH;
    if (!harmless) return udp_receive_failed;
    return std::span<const Received>();
  }
  const TimePoint now = monotonic_now();
  const std::int64_t wall = wall_nanoseconds();
  b.received.clear();
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    if ((b.in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
    const Ancillary ancillary = read_ancillary(b.in[i].msg_hdr);
    const Duration waited((wall - ancillary.arrived) / 1000);
    const TimePoint arrived = ancillary.arrived != 0 && waited > Duration{} && waited < max_wait ? now - waited : now;
    const TransportAddress remote = from_socket_address(b.in_addresses[i]);
    MutableByteView rest(b.in_bytes.get() + i * max_message_bytes, b.in[i].msg_len);
    const std::size_t segment = ancillary.segment == 0 ? rest.size() : ancillary.segment;
    do {
      const std::size_t size = std::min(segment, rest.size());
      if (size <= max_datagram_size) b.received.push_back({remote, rest.first(size), arrived});
      rest = rest.subspan(size);
    } while (!rest.empty());
  }
  return std::span<const Received>(b.received);
}

UdpSocket::Sent UdpSocket::send(std::span<const Datagram> datagrams) {
  Buffers& b = *buffers_;
  Sent sent;
  std::array<std::size_t, send_batch_size> run_sizes{};
  std::size_t singly = 0; // so many of the next ones the kernel did not want to cut apart
  const auto advance = [&](std::size_t count) {
    datagrams = datagrams.subspan(count);
    singly -= std::min(singly, count);
  };
  while (!datagrams.empty()) {
    // Messages of one call: runs of datagrams that the kernel can cut apart again.
    std::size_t messages = 0;
    std::size_t parts = 0;
    std::size_t next = 0;
    while (messages < send_batch_size && next < datagrams.size()) {
      const Datagram& first = datagrams[next];
      const std::size_t segment = first.bytes.size();
      std::size_t run = 0;
      std::size_t bytes = 0;
      const std::size_t first_part = parts;
      while (next + run < datagrams.size()) {
        const Datagram& datagram = datagrams[next + run];
        if (run > 0 && (!segmentation_ || next < singly || run == max_segments || datagram.remote != first.remote || datagram.bytes.size() > segment ||
                        datagram.bytes.empty() || bytes + datagram.bytes.size() > max_run_bytes)) {
          break;
        }
        b.out_parts[parts++] = {const_cast<std::uint8_t*>(datagram.bytes.data()), datagram.bytes.size()};
        bytes += datagram.bytes.size();
        ++run;
        if (datagram.bytes.size() < segment) break; // only the last may be shorter
      }
      msghdr& header = b.out[messages].msg_hdr;
      header = {};
      header.msg_namelen = to_socket_address(first.remote, is_v6_, b.out_addresses[messages]);
      header.msg_name = &b.out_addresses[messages];
      header.msg_iov = &b.out_parts[first_part];
      header.msg_iovlen = run;
      if (run > 1) {
        header.msg_control = b.out_controls[messages].bytes.data();
        header.msg_controllen = b.out_controls[messages].bytes.size();
        cmsghdr* control = CMSG_FIRSTHDR(&header);
        control->cmsg_level = SOL_UDP;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
        const auto size = static_cast<std::uint16_t>(segment);
        std::memcpy(CMSG_DATA(control), &size, sizeof size);
      }
      run_sizes[messages++] = run;
      next += run;
    }

    const int result = sendmmsg(descriptor_, b.out.data(), static_cast<unsigned>(messages), MSG_DONTWAIT);
    ++sent.calls;
    if (result < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        sent.dropped += datagrams.size();
        return sent;
      }
      if (run_sizes[0] > 1 && (errno == EINVAL || errno == EIO || errno == EOPNOTSUPP || errno == ENOPROTOOPT || errno == EMSGSIZE)) {
        // Segments exceed the path's MTU (EINVAL, EMSGSIZE): that is one peer's affair, and singly each has its own fate. Otherwise the
        // interface cannot (EIO).
        if (errno == EINVAL || errno == EMSGSIZE) singly = run_sizes[0];
        else segmentation_ = false;
        continue;
      }
      // The first message alone was refused: its destination cannot be reached, for now.
      sent.dropped += run_sizes[0];
      advance(run_sizes[0]);
      continue;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(result); ++i) {
      sent.datagrams += run_sizes[i];
      advance(run_sizes[i]);
    }
    if (result == 0) return sent; // does not happen; would loop for ever
  }
  return sent;
}

} // namespace satsuma::io
