// The media thread with a real shard and real sockets on loopback; the peer is the virtual one of the transport's tests.
#include "io/media_loop.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <future>

#include "../sfu/transport_peer.h"
#include "io/clock.h"
#include "signaling/sdp.h"

namespace satsuma::io {
namespace {

using namespace std::chrono_literals;
using sfu::test::SeededSource;
using sfu::test::TransportPeer;

class MediaLoopTest : public testing::Test {
 protected:
  MediaLoopTest() {
    std::vector<UdpSocket> sockets;
    for (const char* ip : {"127.0.0.1", "127.0.0.2"}) sockets.push_back(std::move(*UdpSocket::open(*TransportAddress::parse(ip, 0))));
    sfu::Config config;
    for (const UdpSocket& socket : sockets) config.candidates.push_back(socket.local());
    loop = std::move(*MediaLoop::start(std::move(sockets), sfu::Sfu(config, context, random)));
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
  static inline std::unique_ptr<RandomSource> source = std::make_unique<SeededSource>(99);
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
  SeededSource peer_random(5);
  for (std::size_t index = 0; index < 2; ++index) {
    const IncarnationId who{{static_cast<std::uint8_t>(index + 1)}};
    const dtls::Context peer_context = std::move(*dtls::Context::create(unix_now()));
    TransportPeer peer(peer_context, ice::Credentials::generate(peer_random));
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

    UdpSocket socket = std::move(*UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0)));
    const TransportAddress server = loop->local_addresses()[index];
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
