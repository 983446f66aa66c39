// satsuma relay: a bad network between clients and a server, by seed.

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <list>
#include <map>
#include <memory>

#include "address.h"
#include "commands.h"
#include "event_loop.h"
#include "impairment/link.h"
#include "io/clock.h"
#include "io/socket_address.h"
#include "io/udp_socket.h"

namespace satsuma::client {
namespace {

/// Clients at a time; the one that was silent for longest makes room.
constexpr std::size_t max_flows = 4096;
/// Of a stream's direction; beyond it we do not read.
constexpr std::size_t max_stream_waiting = 256 * 1024;

struct Network {
  impairment::Schedule up, down;
  std::uint64_t seed = 1;
  TimePoint start;
};

/// Datagrams. Each client has a socket of its own towards the server, as behind a NAT, and two links of its own.
class UdpRelay {
 public:
  UdpRelay(EventLoop& loop, io::UdpSocket front, TransportAddress target, Network network)
      : loop_(loop), front_(std::move(front)), target_(target), network_(std::move(network)) {
    loop_.watch(front_.descriptor(), [this] { from_clients(); });
  }

  void report() const {
    impairment::Link::Counters up, down;
    for (const auto& [address, flow] : flows_) {
      add(up, flow->up.counters());
      add(down, flow->down.counters());
    }
    std::printf("%zu clients; up: %llu in, %llu out, %llu lost, %llu queue full, %llu cut; down: %llu in, %llu out, %llu lost, %llu queue full, %llu cut\n", flows_.size(),
                ull(up.in), ull(up.out), ull(up.lost), ull(up.queue_full), ull(up.cut), ull(down.in), ull(down.out), ull(down.lost), ull(down.queue_full), ull(down.cut));
    std::fflush(stdout);
  }

 private:
  struct Flow {
    Flow(io::UdpSocket s, const Network& n, std::uint64_t number)
        : socket(std::move(s)), up(n.up, n.seed * 1'000'003 + 2 * number, n.start), down(n.down, n.seed * 1'000'003 + 2 * number + 1, n.start) {}
    TransportAddress client;
    io::UdpSocket socket;
    impairment::Link up, down;
    TimePoint last;
    std::optional<EventLoop::TimerId> timer;
  };

  static unsigned long long ull(std::uint64_t value) { return value; }
  static void add(impairment::Link::Counters& to, const impairment::Link::Counters& more) {
    to.in += more.in;
    to.out += more.out;
    to.lost += more.lost;
    to.queue_full += more.queue_full;
    to.cut += more.cut;
  }

  void from_clients() {
    const TimePoint now = io::monotonic_now();
    const auto received = front_.receive();
    if (!received) return;
    for (const auto& datagram : *received) {
      auto found = flows_.find(datagram.remote);
      if (found == flows_.end()) {
        if (flows_.size() >= max_flows) drop_oldest();
        auto socket = io::UdpSocket::open(TransportAddress{target_.is_v4() ? TransportAddress::v4({0, 0, 0, 0}, 0) : TransportAddress{}});
        if (!socket) continue;
        auto flow = std::make_unique<Flow>(std::move(*socket), network_, flow_number_++);
        flow->client = datagram.remote;
        Flow* const raw = flow.get();
        loop_.watch(flow->socket.descriptor(), [this, raw] { from_server(*raw); });
        found = flows_.emplace(datagram.remote, std::move(flow)).first;
      }
      found->second->last = now;
      found->second->up.handle_datagram(now, datagram.bytes);
      deliver(*found->second, now);
    }
  }

  void from_server(Flow& flow) {
    const TimePoint now = io::monotonic_now();
    const auto received = flow.socket.receive();
    if (!received) return;
    for (const auto& datagram : *received) {
      if (datagram.remote != target_) continue;
      flow.down.handle_datagram(now, datagram.bytes);
      deliver(flow, now);
    }
  }

  void deliver(Flow& flow, TimePoint now) {
    while (const auto out = flow.up.poll_output()) {
      const io::Datagram datagram{target_, *out};
      flow.socket.send({&datagram, 1});
    }
    while (const auto out = flow.down.poll_output()) {
      const io::Datagram datagram{flow.client, *out};
      front_.send({&datagram, 1});
    }
    std::optional<TimePoint> next = flow.up.next_deadline();
    if (const auto other = flow.down.next_deadline(); other && (!next || *other < *next)) next = other;
    if (flow.timer && next && flow.timer->first == *next) return;
    if (flow.timer) loop_.cancel(*flow.timer);
    flow.timer.reset();
    if (!next) return;
    flow.timer = loop_.at(std::max(*next, now), [this, &flow](TimePoint at) {
      flow.timer.reset();
      flow.up.handle_timeout(at);
      flow.down.handle_timeout(at);
      deliver(flow, at);
    });
  }

  void drop_oldest() {
    auto oldest = flows_.begin();
    for (auto flow = flows_.begin(); flow != flows_.end(); ++flow)
      if (flow->second->last < oldest->second->last) oldest = flow;
    if (oldest->second->timer) loop_.cancel(*oldest->second->timer);
    loop_.forget(oldest->second->socket.descriptor());
    flows_.erase(oldest);
  }

  EventLoop& loop_;
  io::UdpSocket front_;
  TransportAddress target_;
  Network network_;
  std::map<TransportAddress, std::unique_ptr<Flow>> flows_;
  std::uint64_t flow_number_ = 0;
};

/// TCP connections, passed through with delay, rate and outages; loss shows in TCP only as delay.
class TcpRelay {
 public:
  TcpRelay(EventLoop& loop, int listener, TransportAddress target, Network network) : loop_(loop), listener_(listener), target_(target), network_(std::move(network)) {
    loop_.watch(listener_, [this] { accept(); });
  }
  ~TcpRelay() { ::close(listener_); }

 private:
  struct Side {
    int descriptor = -1;
    Bytes waiting; ///< arrived, and not written yet
    bool ended = false; ///< nothing more comes from here
  };
  struct Connection {
    Connection(const Network& n) : up(n.up, n.seed, n.start, impairment::Link::Kind::stream), down(n.down, n.seed, n.start, impairment::Link::Kind::stream) {}
    std::list<Connection>::iterator self;
    Side client, server;
    impairment::Link up, down;
    std::optional<EventLoop::TimerId> timer;
  };

  void accept() {
    const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) return;
    io::SocketAddress address;
    const socklen_t size = io::to_socket_address(target_, !target_.is_v4(), address);
    const int towards = ::socket(address.base.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (towards < 0 || connections_.size() >= max_flows || (::connect(towards, &address.base, size) != 0 && errno != EINPROGRESS)) {
      if (towards >= 0) ::close(towards);
      ::close(descriptor);
      return;
    }
    const int yes = 1;
    for (const int fd : {descriptor, towards}) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connections_.emplace_front(network_);
    Connection& c = connections_.front();
    c.self = connections_.begin();
    c.client.descriptor = descriptor;
    c.server.descriptor = towards;
    loop_.watch(descriptor, [this, &c] { ready(c, c.client, c.up); });
    loop_.watch(towards, [this, &c] { ready(c, c.server, c.down); });
  }

  void ready(Connection& c, Side& from, impairment::Link& link) {
    const TimePoint now = io::monotonic_now();
    std::array<std::uint8_t, 16 * 1024> bytes;
    // As TCP's own window would: what waits for long is not read.
    while (!from.ended && link.waiting_bytes() < max_stream_waiting) {
      const ssize_t got = ::recv(from.descriptor, bytes.data(), bytes.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOTCONN)) break;
      if (got <= 0) {
        from.ended = true;
        break;
      }
      link.handle_datagram(now, ByteView(bytes).first(static_cast<std::size_t>(got)));
    }
    advance(c, now);
  }

  void advance(Connection& c, TimePoint now) {
    c.up.handle_timeout(now);
    c.down.handle_timeout(now);
    pass(c.up, c.server);
    pass(c.down, c.client);
    const bool over = (c.client.ended && !c.up.next_deadline() && c.server.waiting.empty()) || (c.server.ended && !c.down.next_deadline() && c.client.waiting.empty());
    if (c.timer) loop_.cancel(*c.timer);
    c.timer.reset();
    if (over) return close(c);
    std::optional<TimePoint> next = c.up.next_deadline();
    if (const auto other = c.down.next_deadline(); other && (!next || *other < *next)) next = other;
    if (next) c.timer = loop_.at(*next, [this, &c](TimePoint at) {
      c.timer.reset();
      advance(c, at);
    });
    loop_.want(c.client.descriptor, !c.client.ended && c.up.waiting_bytes() < max_stream_waiting, !c.client.waiting.empty());
    loop_.want(c.server.descriptor, !c.server.ended && c.down.waiting_bytes() < max_stream_waiting, !c.server.waiting.empty());
  }

  void pass(impairment::Link& link, Side& to) {
    while (const auto out = link.poll_output()) to.waiting.insert(to.waiting.end(), out->begin(), out->end());
    std::size_t done = 0;
    while (done < to.waiting.size()) {
      const ssize_t put = ::send(to.descriptor, to.waiting.data() + done, to.waiting.size() - done, MSG_NOSIGNAL);
      if (put <= 0) {
        if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ENOTCONN) to.ended = true;
        break;
      }
      done += static_cast<std::size_t>(put);
    }
    to.waiting.erase(to.waiting.begin(), to.waiting.begin() + static_cast<std::ptrdiff_t>(done));
  }

  void close(Connection& c) {
    for (Side* side : {&c.client, &c.server}) {
      loop_.forget(side->descriptor);
      ::close(side->descriptor);
    }
    // The function that stands on the stack belongs to it.
    loop_.at(io::monotonic_now(), [this, self = c.self](TimePoint) { connections_.erase(self); });
  }

  EventLoop& loop_;
  int listener_;
  TransportAddress target_;
  Network network_;
  std::list<Connection> connections_;
};

} // namespace

int relay(const RelayOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "satsuma relay: %s\n", sentence.c_str());
    return 2;
  };
  const auto listen = parse_address(options.listen), target = parse_address(options.target);
  if (!listen) return fail("--listen: \"" + options.listen + "\" is not ADDRESS:PORT");
  if (!target || target->port == 0) return fail("--to: \"" + options.target + "\" is not ADDRESS:PORT");
  std::string text;
  for (const std::string& word : options.words) {
    text += (text.empty() ? "" : " ") + word;
    if (const auto so_far = impairment::Schedule::parse(text, impairment::Direction::up); !so_far)
      return fail("\"" + word + "\" is not understood (" + std::string(so_far.error().name()) + "). Example: loss=5% burst=3 delay=40ms jitter=10ms rate=2M 10s rate=300k 20s rate=none");
  }
  const auto up = impairment::Schedule::parse(text, impairment::Direction::up), down = impairment::Schedule::parse(text, impairment::Direction::down);
  if (!up || !down) return fail("the network \"" + text + "\" is not understood (" + std::string((up ? down : up).error().name()) + ")");
  EventLoop loop;
  Network network{*up, *down, options.seed, io::monotonic_now()};
  auto front = io::UdpSocket::open(*listen);
  if (!front) return fail("UDP " + options.listen + " cannot be used; another program may have it");
  const std::uint16_t port = front->local().port;
  std::unique_ptr<TcpRelay> tcp;
  if (options.tcp) {
    io::SocketAddress address;
    const socklen_t size = io::to_socket_address(TransportAddress{listen->ip, port}, !listen->is_v4(), address);
    const int descriptor = ::socket(address.base.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int yes = 1;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (descriptor < 0 || ::bind(descriptor, &address.base, size) != 0 || ::listen(descriptor, 128) != 0)
      return fail("TCP " + options.listen + " cannot be used; another program may have it");
    tcp = std::make_unique<TcpRelay>(loop, descriptor, *target, network);
  }
  UdpRelay udp(loop, std::move(*front), *target, network);
  std::printf("relaying %s%s port %u to %s port %u, seed %llu\n", options.tcp ? "UDP and TCP " : "UDP ", listen->ip_text().c_str(), port, target->ip_text().c_str(), target->port,
              static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  std::function<void(TimePoint)> tick = [&](TimePoint now) {
    udp.report();
    loop.at(now + Duration(static_cast<Duration::rep>(options.report * 1e6)), tick);
  };
  if (options.report > 0) loop.at(io::monotonic_now() + Duration(static_cast<Duration::rep>(options.report * 1e6)), tick);
  loop.run();
  udp.report();
  return 0;
}

} // namespace satsuma::client
