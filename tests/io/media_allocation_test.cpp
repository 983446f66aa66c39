// Nothing is allocated for a packet between the sockets either: over UDP, over TCP, from and to TURN's bridge, and inside TLS through the HTTP server. The global operator new
// counts, for the media thread alone or the thread that says so.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <new>
#include <thread>

#include "../base/counted_allocations.h"
#include "../sfu/transport_peer.h"
#include "io/certificate.h"
#include "io/clock.h"
#include "io/http_server.h"
#include "io/media_loop.h"
#include "io/socket_address.h"
#include "io/turn_bridge.h"
#include "rtp/packet.h"
#include "signaling/sdp.h"
#include "socket_client.h"
#include "turn/client.h"

/// What Asio asks for when nothing that it kept fits; the operators stand beside it (counted_allocations.cpp).
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
  if (satsuma::test::counting) ++satsuma::test::allocations;
  void* memory = nullptr;
  return ::posix_memalign(&memory, std::max(alignment, sizeof(void*)), size) == 0 ? memory : nullptr;
}

namespace satsuma::io {
namespace {

using namespace std::chrono_literals;
using sfu::test::TransportPeer;
using test::allocations;
using test::counting;

/// A browser's end, over UDP or TCP.
class Wire {
 public:
  Wire(const TransportAddress& server, bool tcp) : tcp_(tcp) {
    descriptor_ = ::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    SocketAddress address;
    const socklen_t size = to_socket_address(server, false, address);
    EXPECT_EQ(::connect(descriptor_, &address.base, size), 0);
    const int on = 1;
    if (tcp) setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Wire() { ::close(descriptor_); }
  Wire(const Wire&) = delete;

  /// Over TCP in two writes, cut in the middle of a datagram: the other end has to keep the first part until the rest is there.
  void send(const Bytes& datagram, bool cut = false) {
    Bytes out = datagram;
    if (tcp_) {
      const auto length = ice::stream_frame_length(datagram.size());
      out.insert(out.begin(), length.begin(), length.end());
    }
    const std::size_t first = cut && tcp_ ? out.size() / 2 : out.size();
    EXPECT_EQ(::send(descriptor_, out.data(), first, MSG_NOSIGNAL), static_cast<ssize_t>(first));
    if (first == out.size()) return;
    std::this_thread::sleep_for(15ms); // so that it is read apart
    EXPECT_EQ(::send(descriptor_, out.data() + first, out.size() - first, MSG_NOSIGNAL), static_cast<ssize_t>(out.size() - first));
  }
  std::vector<Bytes> receive(std::chrono::milliseconds patience) {
    std::vector<Bytes> out;
    pollfd ready{descriptor_, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(patience.count())) <= 0) return out;
    Bytes buffer(16 << 10);
    const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (got <= 0) return out;
    MutableByteView input = MutableByteView(buffer).first(static_cast<std::size_t>(got));
    if (!tcp_) return {to_bytes(input)};
    for (auto frame = reader_.next(input); frame && *frame; frame = reader_.next(input)) out.push_back(to_bytes(**frame));
    return out;
  }

 private:
  bool tcp_;
  int descriptor_ = -1;
  ice::StreamFrameReader reader_;
};

struct End {
  End(const TransportAddress& server, bool tcp, RandomSource& random)
      : context(std::move(*dtls::Context::create(unix_now()))), peer(context, ice::Credentials::generate(random)), wire(server, tcp) {}
  void learn(const std::string& sdp) {
    const auto description = signaling::parse_sdp(sdp);
    ASSERT_TRUE(description);
    const auto& m = description->media.front();
    peer.set_remote({m.ice_ufrag, m.ice_password}, *dtls::Fingerprint::parse(m.fingerprint));
  }
  /// What came of media, SRTP undone and counted.
  std::size_t turn(std::chrono::milliseconds patience) {
    std::size_t packets = 0;
    for (const Bytes& datagram : wire.receive(patience)) {
      if (datagram[0] >= 128 && datagram[0] < 192) packets += (datagram[1] & 0x7f) < 64 || (datagram[1] & 0x7f) >= 96;
      else peer.handle(monotonic_now(), datagram);
    }
    peer.handle_timeout(monotonic_now());
    for (const Bytes& datagram : peer.poll()) wire.send(datagram);
    return packets;
  }
  bool connect() {
    bool started = false;
    wire.send(peer.check(true));
    for (const TimePoint until = monotonic_now() + 30s; !peer.connected() && monotonic_now() < until;) {
      turn(20ms);
      if (peer.answered_checks() > 0 && !std::exchange(started, true)) peer.start_dtls(monotonic_now());
      turn(0ms);
    }
    return peer.connected();
  }
  std::string transport() const {
    return "a=ice-ufrag:" + peer.own().ufrag + "\r\na=ice-pwd:" + peer.own().password + "\r\na=fingerprint:sha-256 " + context.fingerprint().text() + "\r\n";
  }
  dtls::Context context;
  TransportPeer peer;
  Wire wire;
};

class MediaAllocationTest : public testing::TestWithParam<bool> {};

TEST_P(MediaAllocationTest, APacketCostsTheMediaThreadNoAllocationFromSocketToSocket) {
  const bool tcp = GetParam();
  SeededRandom random(5);
  const dtls::Context context = std::move(*dtls::Context::create(unix_now()));
  sfu::Config config;
  MediaStreams streams({});
  std::vector<UdpSocket> sockets;
  for (int attempt = 0; attempt < 50 && sockets.empty(); ++attempt) {
    auto opened = UdpSocket::open(*TransportAddress::parse("127.0.0.1", 0));
    ASSERT_TRUE(opened);
    if (!streams.listen(opened->local())) continue; // somebody's for TCP
    config.candidates.push_back(opened->local());
    config.tcp_candidates.push_back(opened->local());
    sockets.push_back(std::move(*opened));
  }
  const auto started = MediaLoop::start(std::move(sockets), sfu::Sfu(config, context, random), std::move(streams));
  ASSERT_TRUE(started);
  MediaLoop& loop = **started;
  const auto ask = [&](auto command) {
    using R = std::invoke_result_t<decltype(command), TimePoint, sfu::Sfu&>;
    std::promise<R> promise;
    auto future = promise.get_future();
    EXPECT_TRUE(loop.post([&](TimePoint now, sfu::Sfu& sfu) { promise.set_value(command(now, sfu)); }));
    return future.get();
  };
  SeededRandom own(6);
  const IncarnationId ada{{1}}, bob{{2}};
  End publish(loop.local_addresses()[0], tcp, own), subscribe(loop.local_addresses()[0], tcp, own);
  const std::string offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" + publish.transport() +
                            "a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:77 cname:x\r\n";
  for (const IncarnationId& who : {ada, bob}) {
    ASSERT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.add_participant(now, "room", who); }));
    ASSERT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.set_member(now, who, true); }));
  }
  const auto answer = ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_publish_offer(now, ada, offer); });
  ASSERT_TRUE(answer);
  publish.learn(*answer);
  ASSERT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.request_subscribe(now, bob); }));
  std::optional<sfu::SubscribeOffer> offered;
  for (const TimePoint until = monotonic_now() + 30s; !offered && monotonic_now() < until;) {
    pollfd ready{loop.event_descriptor(), POLLIN, 0};
    (void)poll(&ready, 1, 100);
    for (const sfu::Output& output : loop.take_events())
      if (const auto* o = std::get_if<sfu::SubscribeOffer>(&output)) offered = *o;
  }
  ASSERT_TRUE(offered);
  subscribe.learn(offered->sdp);
  std::string group = "a=group:BUNDLE", lines;
  const auto description = signaling::parse_sdp(offered->sdp);
  ASSERT_TRUE(description);
  for (const auto& m : description->media) {
    group += " " + m.mid;
    lines += m.kind == signaling::MediaKind::audio ? "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n" : "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n";
    lines += "a=mid:" + m.mid + "\r\na=recvonly\r\na=rtcp-mux\r\n";
  }
  const std::string answered = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + group + "\r\n" + subscribe.transport() + "a=setup:active\r\n" + lines;
  ASSERT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_subscribe_answer(now, bob, offered->revision, answered); }));
  ASSERT_TRUE(publish.connect());
  ASSERT_TRUE(subscribe.connect());
  ASSERT_TRUE(ask([&](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_sources(now, ada, {signaling::Source::microphone}); }));

  std::uint16_t sequence = 1;
  const auto send = [&](int count) {
    std::size_t received = 0;
    for (int i = 0; i < count; ++i) {
      Bytes header(rtp::fixed_header_size), payload(80, 7), out(200);
      const auto written = rtp::write_header({false, 111, sequence, sequence * 960U, 77}, {}, header);
      ++sequence;
      const auto sealed = publish.peer.sender().protect_rtp(*written, payload, out);
      EXPECT_TRUE(sealed);
      out.resize(sealed->size());
      publish.wire.send(out, i % 8 == 0);
      received += subscribe.turn(1ms);
      publish.turn(0ms);
    }
    for (const TimePoint until = monotonic_now() + 10s; received < static_cast<std::size_t>(count) && monotonic_now() < until;) received += subscribe.turn(20ms);
    return received;
  };
  EXPECT_GE(send(300), 290u); // what is taken once is taken
  // A command of its own each: what posting costs is not counted.
  ask([](TimePoint, sfu::Sfu&) { return counting = true; });
  allocations = 0;
  const std::size_t received = send(600);
  const std::uint64_t found = allocations;
  ask([](TimePoint, sfu::Sfu&) { return counting = false; });
  EXPECT_GE(received, 590u);
  // On a busy machine packets come in bursts, and what holds a burst grows once with a longer one than before. Something for each that is cut would be 75 at least.
  EXPECT_LT(found, 60u);
  ask([](TimePoint, sfu::Sfu&) {
    counting = true;
    ::operator delete(::operator new(1)); // a new-expression may be left out
    counting = false;
    return true;
  });
  EXPECT_GT(allocations.load(), found) << "the counter works on that thread";
  loop.stop();
}

INSTANTIATE_TEST_SUITE_P(Over, MediaAllocationTest, testing::Values(false, true), [](const auto& over) { return over.param ? "Tcp" : "Udp"; });

TEST(TurnAllocationTest, ADatagramInsideTlsCostsTheBridgeNoAllocationInEitherDirection) {
  SeededRandom random(7);
  const TransportAddress ours = TransportAddress::v4({127, 0, 0, 1}, 5000);
  const TimePoint now = monotonic_now();
  turn::Server server({ours}, random);
  TurnBridge bridge(now, server, TransportAddress::v4({192, 0, 2, 1}, 999));
  turn::ClientConnection client(now, server.credentials(now, "somebody"), ours, random);
  Bytes written;
  std::size_t at_client = 0;
  const auto to_bridge = [&](ByteView bytes) {
    Bytes copy = to_bytes(bytes);
    counting = true;
    // Cut in the middle, as TLS records do.
    const bool good = bridge.handle_client(now, MutableByteView(copy).first(copy.size() / 2)) && bridge.handle_client(now, MutableByteView(copy).subspan(copy.size() / 2));
    counting = false;
    EXPECT_TRUE(good);
  };
  const auto to_client = [&] {
    counting = true;
    bridge.take_waiting(written);
    counting = false;
    MutableByteView input(written);
    for (auto datagram = client.next(now, input); datagram && *datagram; datagram = client.next(now, input)) ++at_client;
  };
  for (int i = 0; i < 20 && !client.ready(); ++i) {
    while (const auto request = client.poll_output()) to_bridge(*request);
    to_client();
  }
  ASSERT_TRUE(client.ready());
  std::array<std::uint8_t, turn::max_frame_size> frame;
  const Bytes check(100, 0); // looks like one: the bridge asks no more of the first
  Bytes stun = check;
  stun[1] = 1, stun[3] = 80, stun[4] = 0x21, stun[5] = 0x12, stun[6] = 0xa4, stun[7] = 0x42;
  to_bridge(*client.wrap(stun, frame));
  auto opened = bridge.take_opened();
  ASSERT_EQ(opened.size(), 1u);
  std::size_t at_us = 0;
  ice::StreamFrameReader reader;
  const auto round = [&] {
    const Bytes datagram(1000, 0x80);
    to_bridge(*client.wrap(datagram, frame));
    Bytes buffer(4096);
    if (const ssize_t got = ::recv(opened[0].outer, buffer.data(), buffer.size(), MSG_DONTWAIT); got > 0) {
      MutableByteView input = MutableByteView(buffer).first(static_cast<std::size_t>(got));
      for (auto one = reader.next(input); one && *one; one = reader.next(input)) ++at_us;
    }
    Bytes framed(1002, 0x80);
    framed[0] = 1000 >> 8, framed[1] = 1000 & 0xff;
    for (const ByteView part : {ByteView(framed).first(300), ByteView(framed).subspan(300)}) {
      EXPECT_EQ(::send(opened[0].outer, part.data(), part.size(), MSG_NOSIGNAL), static_cast<ssize_t>(part.size()));
      counting = true;
      const bool good = bridge.handle_readable(now, opened[0].inner);
      counting = false;
      EXPECT_TRUE(good);
    }
    to_client();
  };
  for (int i = 0; i < 20; ++i) round();
  EXPECT_GT(allocations.load(), 0u) << "the counter works";
  allocations = 0;
  at_us = at_client = 0;
  for (int i = 0; i < 500; ++i) round();
  EXPECT_EQ(at_us, 500u);
  EXPECT_EQ(at_client, 500u);
  EXPECT_EQ(allocations.load(), 0u);
  ::close(opened[0].outer);
}

/// Has of its server what comes by TURN: the other end of the bridge.
class RelayedHandler final : public HttpServer::Handler {
 public:
  void on_open(ConnectionId) override {}
  void on_text(ConnectionId, std::string_view) override {}
  void on_binary(ConnectionId, ByteView) override {}
  void on_close(ConnectionId) override {}
  void on_deadline(TimePoint) override {}
  void on_relayed_stream(int descriptor, const TransportAddress&, const TransportAddress&, Bytes) override { end.set_value(descriptor); }
  std::promise<int> end;
};

TEST(TurnAllocationTest, ADatagramInsideTlsCostsTheHttpServersThreadNoAllocationInEitherDirection) {
  char folder[] = "/tmp/satsuma-turn-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const auto certificate = own_certificate(folder, {"localhost"}, unix_now());
  ASSERT_TRUE(certificate);
  HttpOptions options;
  options.port = 0;
  options.web_folder = folder;
  options.certificate_pem = certificate->chain_pem;
  options.key_pem = certificate->key_pem;
  SeededRandom random(8), own(9);
  const TransportAddress ours = TransportAddress::v4({127, 0, 0, 1}, 5000);
  turn::Server turn({ours}, random);
  const turn::Credentials credentials = turn.credentials(monotonic_now(), "somebody");
  RelayedHandler handler;
  auto created = HttpServer::create(options, handler);
  ASSERT_TRUE(created) << created.error();
  HttpServer& server = **created;
  server.set_turn(turn);
  std::thread thread([&] { server.run(); });
  const auto count = [&](bool on) {
    std::promise<void> done;
    server.post([&] {
      counting = on;
      ::operator delete(::operator new(1)); // a new-expression may be left out
      done.set_value();
    });
    done.get_future().get();
  };
  {
    test::SocketClient socket(server.port(), true);
    turn::ClientConnection client(monotonic_now(), {credentials.username, credentials.password.clone()}, ours, own);
    std::size_t at_client = 0;
    // What has come; at least so many datagrams.
    const auto read = [&](std::size_t datagrams) {
      for (const TimePoint until = monotonic_now() + 10s; at_client < datagrams && monotonic_now() < until;) {
        if (!socket.fill(1, 100)) continue;
        std::string got = socket.take(socket.received().size());
        MutableByteView input(reinterpret_cast<std::uint8_t*>(got.data()), got.size());
        for (auto datagram = client.next(monotonic_now(), input); datagram && *datagram; datagram = client.next(monotonic_now(), input)) ++at_client;
        if (datagrams == SIZE_MAX) return; // an answer
      }
    };
    for (int i = 0; i < 20 && !client.ready(); ++i) {
      while (const auto request = client.poll_output()) ASSERT_TRUE(socket.send(as_text(*request)));
      read(SIZE_MAX);
    }
    ASSERT_TRUE(client.ready());
    std::array<std::uint8_t, turn::max_frame_size> frame;
    Bytes check(100, 0);
    check[1] = 1, check[3] = 80, check[4] = 0x21, check[5] = 0x12, check[6] = 0xa4, check[7] = 0x42;
    ASSERT_TRUE(socket.send(as_text(*client.wrap(check, frame))));
    auto opened = handler.end.get_future();
    ASSERT_EQ(opened.wait_for(30s), std::future_status::ready);
    const int end = opened.get();
    Bytes framed(1002, 0x80), buffer(4096);
    framed[0] = 1000 >> 8, framed[1] = 1000 & 0xff;
    const auto rounds = [&](std::size_t number) {
      std::size_t bytes = 0;
      at_client = 0;
      for (std::size_t i = 1; i <= number; ++i) {
        EXPECT_TRUE(socket.send(as_text(*client.wrap(ByteView(framed).subspan(2), frame))));
        while (bytes < i * framed.size()) {
          pollfd ready{end, POLLIN, 0};
          if (poll(&ready, 1, 10'000) <= 0) return false;
          bytes += static_cast<std::size_t>(std::max<ssize_t>(::recv(end, buffer.data(), buffer.size(), 0), 0));
        }
        EXPECT_EQ(::send(end, framed.data(), framed.size(), MSG_NOSIGNAL), static_cast<ssize_t>(framed.size()));
        read(i);
        if (at_client != i) return false;
      }
      return true;
    };
    EXPECT_TRUE(rounds(50)); // what is taken once is kept
    allocations = 0;
    count(true);
    const std::uint64_t before = allocations;
    EXPECT_TRUE(rounds(300));
    const std::uint64_t found = allocations - before;
    count(false);
    EXPECT_GT(before, 0U) << "the counter works on that thread";
    EXPECT_LT(found, 30U); // now and then something grows; one for each datagram would be 600
    std::printf("%llu allocations for 600 datagrams inside TLS\n", static_cast<unsigned long long>(found));
    ::close(end);
  }
  server.stop();
  thread.join();
  created->reset();
  std::filesystem::remove_all(folder);
}

} // namespace
} // namespace satsuma::io
