// The media thread with a real shard and real sockets on loopback; the peer is the virtual one of the transport's tests.
#include "io/media_loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <future>
#include <thread>

#include "../sfu/transport_peer.h"
#include "io/clock.h"
#include "io/socket_address.h"
#include "signaling/sdp.h"

namespace satsuma::io {
namespace {

using namespace std::chrono_literals;
using sfu::test::TransportPeer;

class MediaLoopTest : public testing::Test {
 protected:
  MediaLoopTest() {
    std::vector<UdpSocket> sockets;
    sfu::Config config;
    MediaStreamLimits limits;
    limits.first_check = 1s;
    limits.connections_per_address = 4;
    MediaStreams streams(limits);
    for (const char* ip : {"127.0.0.1", "127.0.0.2", "::1"}) {
      // A port that is free for UDP may be somebody's for TCP.
      for (int attempt = 0; attempt < 50; ++attempt) {
        auto opened = UdpSocket::open(*TransportAddress::parse(ip, 0));
        if (!opened) break; // a machine without IPv6
        UdpSocket socket = std::move(*opened);
        if (!streams.listen(socket.local())) continue;
        config.candidates.push_back(socket.local());
        config.tcp_candidates.push_back(socket.local());
        sockets.push_back(std::move(socket));
        break;
      }
    }
    loop = std::move(*MediaLoop::start(std::move(sockets), sfu::Sfu(config, context, random), std::move(streams)));
  }

  /// Runs on the media thread, and waits for it.
  template <class F>
  auto ask(F command) {
    using R = std::invoke_result_t<F, TimePoint, sfu::Sfu&>;
    std::promise<R> promise;
    auto future = promise.get_future();
    EXPECT_TRUE(loop->post([&](TimePoint now, sfu::Sfu& sfu) { promise.set_value(command(now, sfu)); }));
    return future.get();
  }

  /// Makes `who` a publisher, and tells the other end what the shard answered.
  void publish(const IncarnationId& who, const dtls::Context& peer_context, TransportPeer& peer) {
    const std::string offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:" + peer.own().ufrag +
                              "\r\na=ice-pwd:" + peer.own().password + "\r\na=fingerprint:sha-256 " + peer_context.fingerprint().text() +
                              "\r\na=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:77 cname:x\r\n";
    EXPECT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.add_participant(now, "room", who); }));
    const auto answer = ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_publish_offer(now, who, offer); });
    ASSERT_TRUE(answer) << answer.error().name();
    const auto description = signaling::parse_sdp(*answer);
    ASSERT_TRUE(description);
    const auto& media = description->media.front();
    peer.set_remote({media.ice_ufrag, media.ice_password}, *dtls::Fingerprint::parse(media.fingerprint));
  }

  /// Of all turns until now: they are told at the end of each.
  MediaLoop::Counters counters() {
    for (int turn = 0; turn < 2; ++turn) (void)ask([](TimePoint, sfu::Sfu&) { return 0; });
    return loop->counters();
  }

  std::vector<sfu::Output> wait_for_events() {
    pollfd ready{loop->event_descriptor(), POLLIN, 0};
    EXPECT_EQ(poll(&ready, 1, 5000), 1);
    return loop->take_events();
  }

  RandomSource& random = *source;
  dtls::Context context = std::move(*dtls::Context::create(unix_now()));
  std::unique_ptr<MediaLoop> loop;
  IncarnationId id{{1}};

 private:
  static inline std::unique_ptr<RandomSource> source = std::make_unique<SeededRandom>(99);
};

TEST_F(MediaLoopTest, RunsCommandsInTheirOrder) {
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(loop->post([&order, i](TimePoint, sfu::Sfu&) { order.push_back(i); }));
  EXPECT_TRUE(loop->post([&done](TimePoint, sfu::Sfu&) { done.set_value(); }));
  ASSERT_EQ(done.get_future().wait_for(5s), std::future_status::ready);
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(MediaLoopTest, TakesCommandsFromManyThreads) {
  std::atomic<int> ran = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        while (!loop->post([&ran](TimePoint, sfu::Sfu&) { ++ran; })) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  (void)ask([](TimePoint, sfu::Sfu&) { return 0; });
  EXPECT_EQ(ran, 8000);
}

TEST_F(MediaLoopTest, RefusesCommandsAfterItsEnd) {
  loop->stop();
  EXPECT_EQ(loop->post([](TimePoint, sfu::Sfu&) {}).error(), Error(media_loop_stopped));
  loop->stop(); // a second time is no harm
}

TEST_F(MediaLoopTest, GivesEventsThroughItsDescriptor) {
  EXPECT_TRUE(ask([this](TimePoint now, sfu::Sfu& sfu) { return sfu.add_participant(now, "room", id); }));
  EXPECT_TRUE(ask([this](TimePoint now, sfu::Sfu& sfu) { return sfu.request_subscribe(now, id); }));
  std::vector<sfu::Output> events = wait_for_events();
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(std::holds_alternative<sfu::SubscribeOffer>(events.front()));
  pollfd ready{loop->event_descriptor(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
}

// Each candidate in turn: the answer has to come from the address that was asked.
TEST_F(MediaLoopTest, ConnectsAPeerOverEachOfItsSockets) {
  SeededRandom peer_random(5);
  for (std::size_t index = 0; index < loop->local_addresses().size(); ++index) {
    const IncarnationId who{{static_cast<std::uint8_t>(index + 1)}};
    const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
    TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
    publish(who, peer_context, peer);

    const TransportAddress server = loop->local_addresses()[index];
    UdpSocket socket = std::move(*UdpSocket::open(*TransportAddress::parse(server.is_v4() ? "127.0.0.1" : "::1", 0)));
    const auto send = [&](const Bytes& bytes) { socket.send({{Datagram{server, bytes}}}); };
    send(peer.check(true));
    bool started = false;
    const TimePoint until = monotonic_now() + 10s;
    while (!peer.connected() && monotonic_now() < until) {
      pollfd ready{socket.descriptor(), POLLIN, 0};
      poll(&ready, 1, 20);
      const auto received = socket.receive();
      ASSERT_TRUE(received);
      for (const auto& datagram : *received) {
        EXPECT_EQ(datagram.remote, server);
        peer.handle(monotonic_now(), datagram.bytes);
      }
      if (peer.answered_checks() > 0 && !std::exchange(started, true)) peer.start_dtls(monotonic_now());
      peer.handle_timeout(monotonic_now());
      for (const Bytes& datagram : peer.poll()) send(datagram);
    }
    ASSERT_TRUE(peer.connected());
    bool connected = false;
    for (const sfu::Output& event : wait_for_events()) {
      const auto* c = std::get_if<sfu::Connected>(&event);
      connected = connected || (c != nullptr && c->id == who);
    }
    EXPECT_TRUE(connected);
  }
  EXPECT_GT(loop->counters().datagrams_in, 4u);
  EXPECT_GT(loop->counters().datagrams_out, 4u);
  EXPECT_EQ(loop->counters().datagrams_dropped, 0u);
}

// 100 datagrams each millisecond, as far as this machine sends them. What it costs is printed, not demanded.
TEST_F(MediaLoopTest, APeerConnectsAndItsChecksAreAnsweredWhileStrangersFloodTheSocket) {
  SeededRandom peer_random(6);
  const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
  const TransportAddress server = loop->local_addresses()[0];
  TransportPeer stranger(peer_context, ice::Credentials::generate(peer_random));
  stranger.set_remote(ice::Credentials::generate(peer_random), peer_context.fingerprint());
  stranger.start_dtls(monotonic_now());
  Bytes rtp(1200, 7);
  rtp[0] = 0x80, rtp[1] = 96;
  const std::vector<std::pair<const char*, Bytes>> kinds{{"STUN", stranger.check(true)}, {"DTLS", stranger.poll().at(0)}, {"RTP", rtp}};
  const auto media_thread_time = [this] {
    return ask([](TimePoint, sfu::Sfu&) {
      timespec used{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
      return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
    });
  };
  std::uint8_t number = 0;
  for (const auto& [name, packet] : kinds) {
    const IncarnationId who{{++number}};
    TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
    publish(who, peer_context, peer);
    UdpSocket socket = std::move(*UdpSocket::open(*TransportAddress::parse("127.0.0.1", 0)));
    const auto send = [&](const Bytes& bytes) { socket.send({{Datagram{server, bytes}}}); };
    const auto listen = [&](int patience) {
      pollfd ready{socket.descriptor(), POLLIN, 0};
      poll(&ready, 1, patience);
      const auto received = socket.receive();
      ASSERT_TRUE(received);
      for (const auto& datagram : *received) peer.handle(monotonic_now(), datagram.bytes);
      peer.handle_timeout(monotonic_now());
      for (const Bytes& datagram : peer.poll()) send(datagram);
    };
    const std::uint64_t in_before = counters().datagrams_in;
    const double cpu_before = media_thread_time();
    const TimePoint began = monotonic_now();
    std::atomic<bool> enough = false;
    std::atomic<std::uint64_t> offered = 0;
    std::thread flood([&] {
      UdpSocket strange = std::move(*UdpSocket::open(*TransportAddress::parse("127.0.0.1", 0)));
      const std::vector<Datagram> burst(100, Datagram{server, packet});
      for (TimePoint next = monotonic_now(); !enough; next += 1ms) {
        offered += strange.send(burst).datagrams;
        std::this_thread::sleep_until(std::chrono::steady_clock::now() + std::max(Duration::zero(), next - monotonic_now()));
      }
    });
    bool started = false;
    for (TimePoint next_check = began; !peer.connected() && monotonic_now() < began + 20s;) {
      if (!started && monotonic_now() >= next_check) {
        send(peer.check(true));
        next_check = monotonic_now() + 50ms;
      }
      listen(20);
      if (peer.answered_checks() > 0 && !std::exchange(started, true)) peer.start_dtls(monotonic_now());
    }
    EXPECT_TRUE(peer.connected()) << name;
    const int answered = peer.answered_checks();
    int asked = 0;
    for (; asked < 25 || (peer.answered_checks() == answered && asked < 500); ++asked) {
      send(peer.check(false));
      listen(20);
    }
    for (int i = 0; i < 5; ++i) listen(20);
    enough = true;
    flood.join();
    EXPECT_GT(peer.answered_checks(), answered) << name;
    const double seconds = std::chrono::duration<double>(monotonic_now() - began).count();
    std::printf("%s: %.0f datagrams a second offered, %.0f read; the media thread used %.0f %% of a core; %d of %d checks of the peer were answered\n", name,
                static_cast<double>(offered) / seconds, static_cast<double>(counters().datagrams_in - in_before) / seconds, (media_thread_time() - cpu_before) / seconds / 10,
                peer.answered_checks() - answered, asked);
  }
}

/// A browser's end of a TCP candidate.
class StreamClient {
 public:
  explicit StreamClient(const TransportAddress& server, int receive_buffer = 0) {
    descriptor_ = ::socket(server.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    SocketAddress address;
    const socklen_t size = to_socket_address(server, !server.is_v4(), address);
    EXPECT_EQ(::connect(descriptor_, &address.base, size), 0);
    const timeval patience{5, 0};
    setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~StreamClient() { ::close(descriptor_); }
  StreamClient(const StreamClient&) = delete;

  int descriptor() const { return descriptor_; }
  void send_raw(const Bytes& bytes) { (void)::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  static Bytes framed(const Bytes& datagram) {
    const auto length = ice::stream_frame_length(datagram.size());
    Bytes out(length.begin(), length.end());
    out.insert(out.end(), datagram.begin(), datagram.end());
    return out;
  }
  void send(const Bytes& datagram) { send_raw(framed(datagram)); }
  /// What is there within `patience`; nothing at the end of the stream.
  std::optional<std::vector<Bytes>> receive(std::chrono::milliseconds patience) {
    pollfd ready{descriptor_, POLLIN, 0};
    std::vector<Bytes> out;
    if (poll(&ready, 1, static_cast<int>(patience.count())) <= 0) return out;
    Bytes buffer(16 << 10);
    const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (got <= 0) return std::nullopt;
    MutableByteView input = MutableByteView(buffer).first(static_cast<std::size_t>(got));
    while (true) {
      const auto frame = reader_.next(input);
      EXPECT_TRUE(frame) << "the stream's framing is broken";
      if (!frame || !*frame) return out;
      out.push_back(to_bytes(**frame));
    }
  }
  /// The other end closes within five seconds.
  bool ends() {
    while (true) {
      pollfd ready{descriptor_, POLLIN, 0};
      if (poll(&ready, 1, 5000) <= 0) return false;
      if (!receive(0ms)) return true;
    }
  }

 private:
  int descriptor_ = -1;
  ice::StreamFrameReader reader_;
};

/// ICE, DTLS, SRTP keys. False after ten seconds.
bool connect_over(StreamClient& client, TransportPeer& peer) {
  bool started = false;
  const TimePoint until = monotonic_now() + 10s;
  while (!peer.connected() && monotonic_now() < until) {
    const auto received = client.receive(20ms);
    if (!received) return false;
    for (const Bytes& datagram : *received) peer.handle(monotonic_now(), datagram);
    if (peer.answered_checks() > 0 && !std::exchange(started, true)) peer.start_dtls(monotonic_now());
    peer.handle_timeout(monotonic_now());
    for (const Bytes& datagram : peer.poll()) client.send(datagram);
  }
  return peer.connected();
}

TEST_F(MediaLoopTest, ConnectsAPeerOverTcpInIPv4AndIPv6) {
  SeededRandom peer_random(6);
  for (std::size_t index = 1; index < loop->local_addresses().size(); ++index) {
    const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
    TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
    publish(IncarnationId{{static_cast<std::uint8_t>(index + 10)}}, peer_context, peer);
    StreamClient client(loop->local_addresses()[index]);
    client.send(peer.check(true));
    EXPECT_TRUE(connect_over(client, peer));
    EXPECT_EQ(counters().of_streams.accepted, index);
  }
}

// As the page's listener does, which shares its port with HTTPS.
TEST_F(MediaLoopTest, ConnectsAPeerWhoseFirstCheckSomebodyElseHasRead) {
  SeededRandom peer_random(7);
  const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
  TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
  publish(id, peer_context, peer);
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SocketAddress address;
  socklen_t size = to_socket_address(TransportAddress::v4({127, 0, 0, 1}, 0), false, address);
  ASSERT_EQ(bind(listener, &address.base, size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  getsockname(listener, &address.base, &size);
  StreamClient client(from_socket_address(address));
  const int accepted = accept4(listener, &address.base, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  ASSERT_GE(accepted, 0);
  ::close(listener);
  EXPECT_TRUE(loop->adopt(accepted, from_socket_address(address), StreamClient::framed(peer.check(true))));
  EXPECT_TRUE(connect_over(client, peer));
}

TEST_F(MediaLoopTest, AConnectionThatIsBrokenOffIsNotThePathAnyMoreAndTheNextOneIs) {
  SeededRandom peer_random(8);
  const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
  TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
  publish(id, peer_context, peer);
  {
    StreamClient client(loop->local_addresses()[0]);
    client.send(peer.check(true));
    ASSERT_TRUE(connect_over(client, peer));
  }
  bool disconnected = false;
  for (int i = 0; i < 20 && !disconnected; ++i) {
    for (const sfu::Output& event : wait_for_events()) disconnected = disconnected || std::holds_alternative<sfu::Disconnected>(event);
  }
  EXPECT_TRUE(disconnected);
  StreamClient again(loop->local_addresses()[0]);
  again.send(peer.check(true));
  bool connected = false;
  for (int i = 0; i < 100 && !connected; ++i) {
    const auto received = again.receive(20ms);
    ASSERT_TRUE(received);
    for (const Bytes& datagram : *received) peer.handle(monotonic_now(), datagram);
    for (const Bytes& datagram : peer.poll()) again.send(datagram); // it is checked before media moves
    for (const sfu::Output& event : loop->take_events()) connected = connected || std::holds_alternative<sfu::Connected>(event);
  }
  EXPECT_TRUE(connected);
}

TEST_F(MediaLoopTest, ATcpConnectionThatSendsNoChecksIsClosed) {
  for (const Bytes& strange : {StreamClient::framed(Bytes(40, 22)), StreamClient::framed(Bytes(40, 128)), Bytes{0xff, 0xff, 1, 1}}) { // DTLS, RTP, a frame too long
    StreamClient client(loop->local_addresses()[0]);
    client.send_raw(strange);
    EXPECT_TRUE(client.ends());
  }
  EXPECT_EQ(counters().of_streams.closed_strange, 3u);
  EXPECT_EQ(loop->counters().datagrams_in, 0u);
}

TEST_F(MediaLoopTest, ATcpConnectionWhoseChecksDoNotAuthenticateIsClosed) {
  SeededRandom peer_random(9);
  const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
  TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
  publish(id, peer_context, peer);
  peer.set_remote({peer.own().ufrag, peer.own().password}, peer_context.fingerprint()); // of another server
  StreamClient guesses(loop->local_addresses()[0]), silent(loop->local_addresses()[0]);
  for (int i = 0; i < 70; ++i) guesses.send(peer.check(true)); // at once
  EXPECT_TRUE(guesses.ends());
  EXPECT_TRUE(silent.ends()); // in time
  EXPECT_EQ(counters().of_streams.closed_strange, 2u);
}

TEST_F(MediaLoopTest, OneAddressHasSoManyTcpConnectionsAndNoMore) {
  std::vector<std::unique_ptr<StreamClient>> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(std::make_unique<StreamClient>(loop->local_addresses()[0]));
  EXPECT_TRUE(clients.back()->ends());
  EXPECT_EQ(counters().of_streams.refused, 1u);
}

/// Connections by local pairs of sockets; the other ends are kept here.
struct Streams {
  MediaStreams streams;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  TimePoint now = monotonic_now();
  std::vector<int> far;

  explicit Streams(MediaStreamLimits limits) : streams(limits) { EXPECT_TRUE(streams.watch(epoll)); }
  Streams(const Streams&) = delete;
  ~Streams() {
    for (const int end : far) ::close(end);
    ::close(epoll);
  }
  std::optional<std::uint32_t> connect(std::uint8_t host) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    far.push_back(ends[1]);
    const auto number = streams.adopt(now, ends[0], TransportAddress::v4({192, 0, 2, host}, 1000), {});
    return number ? std::optional(*number) : std::nullopt;
  }
  void come(std::uint32_t number, std::size_t end, const Bytes& bytes, bool known) {
    EXPECT_EQ(write(far[end], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    streams.receive(now, number, [](const NetworkPath&, MutableByteView) {}, [known](const NetworkPath&) { return known; });
  }
};
const Bytes framed_check{0, 1, 0};

TEST(MediaStreamsTest, WhoseOwnerLeftIsKnownNoLonger) {
  Streams s({});
  const auto number = s.connect(1);
  s.come(*number, 0, framed_check, true);
  s.now += 11s;
  s.streams.handle_timeout(s.now);
  EXPECT_EQ(s.streams.size(), 1u);
  s.come(*number, 0, framed_check, false);
  s.now += 1s;
  s.streams.handle_timeout(s.now);
  EXPECT_EQ(s.streams.size(), 0u);
}

TEST(MediaStreamsTest, PartsOfADatagramAreNoSignOfLife) {
  Streams s({});
  const auto number = s.connect(1);
  s.come(*number, 0, framed_check, true);
  s.now += 29s;
  s.come(*number, 0, {0}, true);
  s.now += 1s;
  s.streams.handle_timeout(s.now);
  EXPECT_EQ(s.streams.size(), 0u);
  EXPECT_EQ(s.streams.counters().closed_silent, 1u);
}

TEST(MediaStreamsTest, OneAddressComesAnewSoOftenAndNoMore) {
  MediaStreamLimits limits;
  limits.new_connection_burst = 3;
  limits.new_connections_per_second = 1;
  Streams s(limits);
  for (int i = 0; i < 3; ++i) {
    const auto number = s.connect(1);
    ASSERT_TRUE(number);
    s.come(*number, s.far.size() - 1, {0, 1, 200}, false); // strange: closed at once
  }
  EXPECT_EQ(s.streams.size(), 0u);
  EXPECT_FALSE(s.connect(1));
  EXPECT_TRUE(s.connect(2));
  s.now += 1s;
  EXPECT_TRUE(s.connect(1));
  s.now += 100s;
  s.streams.handle_timeout(s.now);
  s.streams.handle_timeout(s.now + 1s);
  EXPECT_EQ(s.streams.next_deadline(), std::nullopt) << "nothing is remembered for ever";
}

TEST(MediaStreamsTest, WhenAllPlacesAreTakenTheOldestStrangerMakesRoom) {
  MediaStreamLimits limits;
  limits.connections = 2;
  Streams s(limits);
  const auto known = s.connect(1);
  s.come(*known, 0, framed_check, true);
  EXPECT_TRUE(s.connect(2));
  const auto third = s.connect(3);
  ASSERT_TRUE(third);
  EXPECT_EQ(s.streams.size(), 2u);
  s.come(*third, 2, framed_check, true);
  EXPECT_FALSE(s.connect(4)) << "those who belong here stay";
}

TEST_F(MediaLoopTest, AReaderThatIsTooSlowLosesDatagramsAndNeverAPartOfOne) {
  MediaStreamLimits limits;
  MediaStreams streams(limits);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  ASSERT_TRUE(streams.watch(epoll));
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SocketAddress address;
  socklen_t size = to_socket_address(TransportAddress::v4({127, 0, 0, 1}, 0), false, address);
  ASSERT_EQ(bind(listener, &address.base, size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  getsockname(listener, &address.base, &size);
  StreamClient client(from_socket_address(address), 4096);
  const int accepted = accept4(listener, &address.base, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  ::close(listener);
  const auto number = streams.adopt(monotonic_now(), accepted, from_socket_address(address), {});
  ASSERT_TRUE(number);
  std::size_t sent = 0, dropped = 0;
  Bytes datagram(1200);
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    for (int byte = 0; byte < 4; ++byte) datagram[static_cast<std::size_t>(byte)] = static_cast<std::uint8_t>(i >> (24 - 8 * byte));
    std::fill(datagram.begin() + 4, datagram.end(), static_cast<std::uint8_t>(i));
    const Datagram one{from_socket_address(address), datagram};
    const UdpSocket::Sent result = streams.send(*number, {&one, 1});
    sent += result.datagrams;
    dropped += result.dropped;
  }
  EXPECT_EQ(sent + dropped, 20'000u);
  EXPECT_GT(dropped, 10'000u);
  EXPECT_LT(sent * datagram.size(), 2U << 20); // the kernel's buffers
  EXPECT_EQ(streams.counters().dropped_slow, dropped);
  // It reads after all: what comes is whole and in order, and then there is room again.
  std::size_t came = 0;
  std::uint32_t last = 0;
  while (came < sent) {
    streams.handle_writable(*number);
    const auto received = client.receive(1000ms);
    ASSERT_TRUE(received) << came << " of " << sent;
    for (const Bytes& one : *received) {
      ASSERT_EQ(one.size(), datagram.size());
      const std::uint32_t index = (std::uint32_t{one[0]} << 24) | (std::uint32_t{one[1]} << 16) | (std::uint32_t{one[2]} << 8) | one[3];
      EXPECT_TRUE(std::all_of(one.begin() + 4, one.end(), [index](std::uint8_t byte) { return byte == static_cast<std::uint8_t>(index); }));
      EXPECT_TRUE(came == 0 || index > last);
      last = index;
      ++came;
    }
  }
  const Datagram one{from_socket_address(address), datagram};
  EXPECT_EQ(streams.send(*number, {&one, 1}).datagrams, 1u);
  ::close(epoll);
}

// The timer: nobody comes, and after 30 s the shard would say so; what is seen here is that the loop sleeps meanwhile.
TEST_F(MediaLoopTest, SleepsWhileThereIsNothingToDo) {
  EXPECT_TRUE(ask([this](TimePoint now, sfu::Sfu& sfu) { return sfu.add_participant(now, "room", id); }));
  (void)ask([this](TimePoint now, sfu::Sfu& sfu) { return sfu.request_subscribe(now, id); });
  clockid_t clock{};
  timespec before{}, after{};
  const auto thread_clock = ask([&](TimePoint, sfu::Sfu&) { return pthread_getcpuclockid(pthread_self(), &clock); });
  ASSERT_EQ(thread_clock, 0);
  clock_gettime(clock, &before);
  std::this_thread::sleep_for(300ms);
  clock_gettime(clock, &after);
  const double used = static_cast<double>(after.tv_sec - before.tv_sec) + static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-9;
  EXPECT_LT(used, 0.03);
}

} // namespace
} // namespace satsuma::io
