#include "ice/controlling_agent.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "../base/seeded_random.h"

namespace satsuma::ice {
namespace {

using namespace std::chrono_literals;

const TransportAddress server_a = TransportAddress::v4({192, 0, 2, 1}, 1000);
const TransportAddress server_b = TransportAddress::v4({192, 0, 2, 2}, 1000);
const TransportAddress client = TransportAddress::v4({198, 51, 100, 7}, 4000);

/// The agent and a lite server that is reachable at some of two addresses, each way taking 10 ms.
struct World {
  SeededRandom random{11};
  TimePoint now{1s};
  IceLite server{Credentials::generate(random)};
  ControllingAgent agent{Credentials::generate(random), random};
  std::set<TransportAddress> reachable{server_a, server_b};
  struct Datagram {
    TimePoint at;
    bool to_server;
    TransportAddress server;
    Bytes bytes;
  };
  std::deque<Datagram> wire;
  std::vector<NetworkPath> selected;
  int expired = 0;
  int checks = 0;

  World() { EXPECT_TRUE(server.set_remote_ufrag(agent.local().ufrag)); }

  Result<void> start(std::vector<TransportAddress> addresses) {
    std::vector<NetworkPath> pairs;
    for (const TransportAddress& address : addresses) pairs.push_back({address, 0});
    return agent.set_remote(now, server.local(), pairs);
  }

  void drain() {
    while (const auto output = agent.poll_output()) {
      if (const auto* send = std::get_if<ControllingAgent::Send>(&*output)) {
        ++checks;
        if (reachable.contains(send->path.remote)) wire.push_back({now + 10ms, true, send->path.remote, to_bytes(send->datagram)});
      } else if (const auto* chosen = std::get_if<ControllingAgent::Selected>(&*output)) {
        selected.push_back(chosen->path);
      } else {
        ++expired;
      }
    }
  }

  void run(Duration duration) {
    const TimePoint end = now + duration;
    while (true) {
      drain();
      std::optional<TimePoint> next = agent.next_deadline();
      if (!wire.empty() && (!next || wire.front().at < *next)) next = wire.front().at;
      if (!next || *next > end) break;
      now = std::max(now, *next);
      if (!wire.empty() && wire.front().at <= now) {
        Datagram datagram = std::move(wire.front());
        wire.pop_front();
        if (datagram.to_server) {
          // The server sees the client by the socket that the check came to.
          EXPECT_TRUE(server.handle_stun(now, {client, datagram.server == server_a ? 0U : 1U}, datagram.bytes));
          while (const auto answer = server.poll_output())
            if (const auto* send = std::get_if<IceLite::Send>(&*answer); send && reachable.contains(datagram.server))
              wire.push_back({now + 10ms, false, datagram.server, to_bytes(send->datagram)});
        } else {
          EXPECT_TRUE(agent.handle_stun(now, {datagram.server, 0}, datagram.bytes));
        }
      } else {
        agent.handle_timeout(now);
      }
    }
    now = end;
  }
};

TEST(ControllingAgent, TheOnlyPairIsSelectedAfterOneRoundTrip) {
  World w;
  ASSERT_TRUE(w.start({server_a}));
  w.run(19ms);
  EXPECT_TRUE(w.selected.empty());
  w.run(1ms);
  ASSERT_EQ(w.selected.size(), 1U);
  EXPECT_EQ(w.selected[0].remote, server_a);
  EXPECT_EQ(w.server.selected(), (NetworkPath{client, 0}));
  EXPECT_EQ(w.checks, 1);
}

TEST(ControllingAgent, APairThatDoesNotWorkIsPassedOver) {
  World w;
  w.reachable = {server_b};
  ASSERT_TRUE(w.start({server_a, server_b}));
  w.run(5s);
  ASSERT_EQ(w.selected.size(), 1U);
  EXPECT_EQ(w.selected[0].remote, server_b);
  EXPECT_EQ(w.server.selected(), (NetworkPath{client, 1}));
}

TEST(ControllingAgent, LostChecksAreRepeated) {
  World w;
  w.reachable = {};
  ASSERT_TRUE(w.start({server_a}));
  w.run(1s);
  EXPECT_TRUE(w.selected.empty());
  EXPECT_GE(w.checks, 4);
  w.reachable = {server_a};
  w.run(2s);
  EXPECT_EQ(w.selected.size(), 1U);
}

TEST(ControllingAgent, ConsentIsKeptFreshOnBothSidesAndExpiresAfterThirtySeconds) {
  World w;
  ASSERT_TRUE(w.start({server_a}));
  w.run(120s);
  EXPECT_EQ(w.expired, 0);
  w.server.handle_timeout(w.now);
  EXPECT_TRUE(w.server.selected());
  EXPECT_LT(w.checks, 40); // about one in 5 s
  w.reachable = {};
  w.run(23s);
  EXPECT_EQ(w.expired, 0);
  w.run(13s);
  EXPECT_EQ(w.expired, 1);
  EXPECT_FALSE(w.agent.selected());
  w.reachable = {server_a};
  w.run(3s);
  EXPECT_EQ(w.selected.size(), 2U) << "the checks go on, and find the way back";
}

TEST(ControllingAgent, ARestartKeepsThePairUntilTheNewOneIsThere) {
  World w;
  ASSERT_TRUE(w.start({server_a}));
  w.run(1s);
  ASSERT_TRUE(w.agent.selected());
  ASSERT_TRUE(w.agent.set_local(Credentials::generate(w.random)));
  ASSERT_TRUE(w.server.restart(Credentials::generate(w.random), w.agent.local().ufrag));
  w.reachable = {server_b};
  ASSERT_TRUE(w.start({server_b}));
  EXPECT_EQ(w.agent.selected(), (NetworkPath{server_a, 0}));
  w.run(1s);
  EXPECT_EQ(w.agent.selected(), (NetworkPath{server_b, 0}));
  EXPECT_EQ(w.expired, 0);
}

TEST(ControllingAgent, AnswersThatAreForgedRepeatedOrFromElsewhereAreRefusedAndChangeNothing) {
  World w;
  ASSERT_TRUE(w.start({server_a, server_b}));
  const auto output = w.agent.poll_output();
  ASSERT_TRUE(output);
  const auto& send = std::get<ControllingAgent::Send>(*output);
  const auto check = stun::parse(send.datagram);
  ASSERT_TRUE(check);
  const auto answer = [&](const stun::TransactionId& transaction, std::string_view password) {
    Bytes bytes(stun::max_written_size);
    const auto written = stun::write_binding_success(transaction, client, as_bytes(password), bytes);
    bytes.resize(written->size());
    return bytes;
  };
  const NetworkPath path{server_a, 0};
  const auto refused = [&](const NetworkPath& from, const Bytes& bytes) {
    const auto handled = w.agent.handle_stun(w.now, from, bytes);
    return handled ? "taken" : handled.error().name();
  };
  EXPECT_EQ(refused(path, answer(check->transaction, "the wrong password......")), stun::stun_unauthenticated.name);
  EXPECT_EQ(refused({server_b, 0}, answer(check->transaction, w.server.local().password)), ice_unknown_response.name);
  EXPECT_EQ(refused({client, 0}, answer(check->transaction, w.server.local().password)), ice_unknown_response.name);
  stun::TransactionId other = check->transaction;
  other[3] ^= 1;
  EXPECT_EQ(refused(path, answer(other, w.server.local().password)), ice_unknown_response.name);
  EXPECT_FALSE(w.agent.validated(path));
  EXPECT_EQ(refused(path, answer(check->transaction, w.server.local().password)), "taken");
  EXPECT_TRUE(w.agent.validated(path));
  EXPECT_EQ(refused(path, answer(check->transaction, w.server.local().password)), ice_unknown_response.name);
}

TEST(ControllingAgent, APeerThatIsNotLiteGetsItsChecksAnswered) {
  World w;
  ASSERT_TRUE(w.start({server_a}));
  w.drain();
  stun::BindingRequest request;
  const std::string username = w.agent.local().ufrag + ":" + w.server.local().ufrag;
  request.username = username;
  request.priority = 1;
  request.controlling = false;
  Bytes bytes(stun::max_written_size);
  bytes.resize(stun::write_binding_request(request, as_bytes(w.agent.local().password), bytes)->size());
  EXPECT_TRUE(w.agent.handle_stun(w.now, {server_a, 0}, bytes));
  const auto output = w.agent.poll_output();
  ASSERT_TRUE(output);
  const auto message = stun::parse(std::get<ControllingAgent::Send>(*output).datagram);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, stun::MessageClass::success);
  bytes[bytes.size() - 1] ^= 1;
  EXPECT_FALSE(w.agent.handle_stun(w.now, {server_a, 0}, bytes));
  EXPECT_FALSE(w.agent.poll_output());
}

// RFC 8445 s.7.3.1.1: who made the offer controls as well; such a peer gives way to the larger number.
TEST(ControllingAgent, APeerThatControlsTooGivesWay) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    ControllingAgent agent(Credentials::generate(random), random);
    ASSERT_TRUE(agent.set_remote(TimePoint{1s}, Credentials::generate(random), std::vector<NetworkPath>{{server_a, 0}}));
    const auto output = agent.poll_output();
    const auto check = stun::parse(std::get<ControllingAgent::Send>(*output).datagram);
    ASSERT_TRUE(check && check->ice_controlling);
    EXPECT_GE(*check->ice_controlling, std::uint64_t{0xffffffff} << 32);
  }
}

TEST(ControllingAgent, CredentialsAndPairsThatCannotBeAreRefused) {
  World w;
  EXPECT_EQ(w.start({}).error(), Error(ice_no_pairs));
  const NetworkPath pair{server_a, 0};
  EXPECT_EQ(w.agent.set_remote(w.now, {"abc", "x"}, std::span(&pair, 1)).error(), Error(ice_bad_credentials));
  EXPECT_EQ(w.agent.set_local({"ab:c", "0123456789012345678901"}).error(), Error(ice_bad_credentials));
}

} // namespace
} // namespace satsuma::ice
