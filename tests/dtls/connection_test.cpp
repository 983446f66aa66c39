#include "dtls/connection.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

namespace satsuma::dtls {
namespace {

using namespace std::chrono_literals;

constexpr UnixSeconds calendar = 1'800'000'000;

Context context(std::vector<SrtpProfile> profiles = {SrtpProfile::aead_aes_128_gcm, SrtpProfile::aes128_cm_sha1_80}) {
  auto made = Context::create(calendar, std::move(profiles));
  EXPECT_TRUE(made);
  return std::move(*made);
}

struct Outcome {
  std::optional<SrtpKeys> keys;
  std::optional<Error> closed;
};

/// Two ends in virtual time. `fault` may drop a datagram: it gets the sender's role and the number of the datagram.
struct World {
  using Fault = std::function<bool(Role, int)>;

  World(const Context& server_context, const Context& client_context, std::optional<Fingerprint> expected_client = {},
        std::optional<Fingerprint> expected_server = {}, Fault f = [](Role, int) { return false; })
      : fault(std::move(f)),
        server(now, server_context, Role::server, expected_client.value_or(client_context.fingerprint())),
        client(now, client_context, Role::client, expected_server.value_or(server_context.fingerprint())) {}

  void collect(Connection& from, Role role, Outcome& outcome) {
    while (auto output = from.poll_output()) {
      if (auto* send = std::get_if<Connection::Send>(&*output)) {
        EXPECT_LE(send->datagram.size(), handshake_mtu);
        if (!fault(role, count++)) wire.emplace_back(role, to_bytes(send->datagram));
      } else if (auto* established = std::get_if<Connection::Established>(&*output)) {
        outcome.keys = std::move(established->keys);
      } else {
        outcome.closed = std::get<Connection::Closed>(*output).reason;
      }
    }
  }

  void run(Duration until) {
    for (;;) {
      collect(server, Role::server, server_outcome);
      collect(client, Role::client, client_outcome);
      if (!wire.empty()) {
        auto [from, bytes] = std::move(wire.front());
        wire.pop_front();
        (from == Role::client ? server : client).handle_datagram(now, bytes);
        continue;
      }
      std::optional<TimePoint> next = server.next_deadline();
      if (const auto other = client.next_deadline(); other && (!next || *other < *next)) next = other;
      if (!next || *next > TimePoint(until)) return;
      now = std::max(now, *next);
      server.handle_timeout(now);
      client.handle_timeout(now);
    }
  }

  TimePoint now{};
  Fault fault;
  int count = 0;
  std::deque<std::pair<Role, Bytes>> wire;
  Connection server;
  Connection client;
  Outcome server_outcome, client_outcome;
};

void expect_same_keys(const World& world, SrtpProfile profile) {
  ASSERT_TRUE(world.server_outcome.keys);
  ASSERT_TRUE(world.client_outcome.keys);
  const SrtpKeys& s = *world.server_outcome.keys;
  const SrtpKeys& c = *world.client_outcome.keys;
  EXPECT_EQ(s.profile, profile);
  EXPECT_EQ(c.profile, profile);
  EXPECT_EQ(s.send_key.size(), 16u);
  EXPECT_EQ(s.send_salt.size(), profile == SrtpProfile::aead_aes_128_gcm ? 12u : 14u);
  EXPECT_TRUE(s.send_key == c.receive_key && s.send_salt == c.receive_salt);
  EXPECT_TRUE(s.receive_key == c.send_key && s.receive_salt == c.send_salt);
  EXPECT_FALSE(s.send_key == s.receive_key);
}

TEST(DtlsFingerprint, IsReadInBothCasesAndWrittenInUpperCase) {
  const Context one = context();
  const std::string text = one.fingerprint().text();
  EXPECT_EQ(text.size(), 95u);
  EXPECT_EQ(Fingerprint::parse(text), one.fingerprint());
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(std::tolower(c));
  EXPECT_EQ(Fingerprint::parse(lower), one.fingerprint());
}

TEST(DtlsFingerprint, RefusesWhatIsNone) {
  const std::string good = context().fingerprint().text();
  EXPECT_FALSE(Fingerprint::parse(""));
  EXPECT_FALSE(Fingerprint::parse(good.substr(3)));
  EXPECT_FALSE(Fingerprint::parse(good + ":00"));
  std::string bad = good;
  bad[2] = '-';
  EXPECT_FALSE(Fingerprint::parse(bad));
  bad = good;
  bad[0] = 'G';
  EXPECT_FALSE(Fingerprint::parse(bad));
}

TEST(DtlsConnection, AgreesOnKeysForGcmWhenBothHaveIt) {
  const Context server = context(), client = context();
  EXPECT_NE(server.fingerprint(), client.fingerprint());
  World world(server, client);
  world.run(0s);
  expect_same_keys(world, SrtpProfile::aead_aes_128_gcm);
  EXPECT_TRUE(world.server.established());
  EXPECT_FALSE(world.client.next_deadline());
  EXPECT_FALSE(world.server.next_deadline());
}

TEST(DtlsConnection, FallsBackToTheOtherProfile) {
  const Context server = context(), client = context({SrtpProfile::aes128_cm_sha1_80});
  World world(server, client);
  world.run(0s);
  expect_same_keys(world, SrtpProfile::aes128_cm_sha1_80);
}

TEST(DtlsConnection, FailsWithoutACommonProfile) {
  const Context server = context({SrtpProfile::aead_aes_128_gcm}), client = context({SrtpProfile::aes128_cm_sha1_80});
  World world(server, client);
  world.run(0s);
  EXPECT_FALSE(world.server_outcome.keys);
  EXPECT_FALSE(world.client_outcome.keys);
  EXPECT_EQ(world.server_outcome.closed, Error(dtls_no_srtp_profile));
}

TEST(DtlsConnection, GivesNoKeysToACertificateOfAnotherFingerprint) {
  const Context server = context(), client = context(), other = context();
  World world(server, client, other.fingerprint());
  world.run(60s);
  EXPECT_FALSE(world.server_outcome.keys);
  EXPECT_FALSE(world.client_outcome.keys);
  EXPECT_EQ(world.server_outcome.closed, Error(dtls_fingerprint_mismatch));
  EXPECT_EQ(world.client_outcome.closed, Error(dtls_handshake_failed)); // it got the alert
}

TEST(DtlsConnection, TheClientVerifiesTheServerTheSameWay) {
  const Context server = context(), client = context(), other = context();
  World world(server, client, {}, other.fingerprint());
  world.run(60s);
  EXPECT_EQ(world.client_outcome.closed, Error(dtls_fingerprint_mismatch));
  EXPECT_FALSE(world.server_outcome.keys);
}

TEST(DtlsConnection, SurvivesTheLossOfAnyOneDatagram) {
  const Context server = context(), client = context();
  for (int lost = 0; lost < 8; ++lost) {
    World world(server, client, {}, {}, [lost](Role, int number) { return number == lost; });
    world.run(10s);
    SCOPED_TRACE(lost);
    expect_same_keys(world, SrtpProfile::aead_aes_128_gcm);
  }
}

TEST(DtlsConnection, SurvivesRandomLoss) {
  const Context server = context(), client = context();
  for (unsigned seed = 1; seed <= 40; ++seed) {
    unsigned state = seed * 2654435761U;
    World world(server, client, {}, {}, [&state](Role, int) {
      state = state * 1664525 + 1013904223;
      return state >> 24 < 64; // a quarter
    });
    world.run(25s);
    SCOPED_TRACE(seed);
    expect_same_keys(world, SrtpProfile::aead_aes_128_gcm);
  }
}

TEST(DtlsConnection, RetransmitsWithDoublingPausesAndGivesUp) {
  const Context server = context(), client = context();
  std::vector<Duration> sent;
  World* self = nullptr;
  World world(server, client, {}, {}, [&](Role, int) {
    sent.push_back(self->now.time_since_epoch());
    return true;
  });
  self = &world;
  world.run(60s);
  ASSERT_GE(sent.size(), 5u);
  EXPECT_EQ(sent[0], 0s);
  EXPECT_EQ(sent[1], 250ms);
  EXPECT_EQ(sent[2], 750ms);
  EXPECT_EQ(sent[3], 1750ms);
  EXPECT_EQ(world.client_outcome.closed, Error(dtls_timed_out));
  EXPECT_EQ(world.server_outcome.closed, Error(dtls_timed_out));
  EXPECT_EQ(world.now, TimePoint(30s));
}

TEST(DtlsConnection, IgnoresGarbageInTheMiddleOfTheHandshake) {
  const Context server = context(), client = context();
  World world(server, client);
  for (const char* hex : {"16", "16fefd0000000000000000", "16fefd0000000000000001ffff01", "17fefd0001000000000001000401020304", "16030300000000000000050004deadbeef",
                          "15fefd0001000000000000000200ff", "80ff"}) {
    world.server.handle_datagram(world.now, *from_hex(hex));
  }
  world.run(5s);
  expect_same_keys(world, SrtpProfile::aead_aes_128_gcm);
  for (const char* hex : {"16fefd0000000000000000", "17fefd0001000000000009000401020304", "15fefd00000000000000070002022f"}) {
    world.server.handle_datagram(world.now, *from_hex(hex));
  }
  world.run(5s);
  EXPECT_TRUE(world.server.established());
}

// A ClientHello (RFC 5246 s.7.4.1.2 behind RFC 6347's header) with `extra` bytes of an unknown extension, as one with post-quantum key
// shares has, cut into fragments.
std::vector<Bytes> fragmented_client_hello(std::size_t extra, std::size_t fragment_size) {
  ByteWriter body;
  body.u16(0xfefd);
  for (std::uint8_t i = 0; i < 32; ++i) body.u8(i);
  body.u8(0);  // no session
  body.u8(0);  // no cookie
  body.u16(2);
  body.u16(0xc02b); // ECDHE-ECDSA-AES128-GCM-SHA256
  body.u8(1);
  body.u8(0);
  ByteWriter extensions;
  const auto extension = [&extensions](std::uint16_t type, const Bytes& data) {
    extensions.u16(type);
    extensions.u16(static_cast<std::uint16_t>(data.size()));
    extensions.bytes(data);
  };
  extension(0x000a, *from_hex("0004001d0017"));
  extension(0x000b, *from_hex("0100"));
  extension(0x000d, *from_hex("00020403"));
  extension(0x000e, *from_hex("0004" "00070001" "00"));
  extension(0x0017, {});
  extension(0xff01, {0});
  extension(0x1234, Bytes(extra, 0xaa));
  body.u16(static_cast<std::uint16_t>(extensions.size()));
  body.bytes(extensions.view());

  std::vector<Bytes> datagrams;
  const Bytes message = std::move(body).take();
  for (std::size_t offset = 0; offset < message.size(); offset += fragment_size) {
    const std::size_t size = std::min(fragment_size, message.size() - offset);
    ByteWriter record;
    record.u8(22);
    record.u16(0xfeff);
    record.u16(0);
    record.u16(0);
    record.u32(static_cast<std::uint32_t>(datagrams.size()));
    record.u16(static_cast<std::uint16_t>(size + 12));
    record.u8(1);
    record.u24(static_cast<std::uint32_t>(message.size()));
    record.u16(0);
    record.u24(static_cast<std::uint32_t>(offset));
    record.u24(static_cast<std::uint32_t>(size));
    record.bytes(ByteView(message).subspan(offset, size));
    datagrams.push_back(std::move(record).take());
  }
  return datagrams;
}

std::size_t answers(Connection& connection) {
  std::size_t count = 0;
  while (auto output = connection.poll_output()) {
    const auto* send = std::get_if<Connection::Send>(&*output);
    if (send == nullptr) return 0;
    EXPECT_LE(send->datagram.size(), handshake_mtu);
    ++count;
  }
  return count;
}

TEST(DtlsConnection, TakesALargeClientHelloInFragmentsInAnyOrder) {
  const Context server = context(), client = context();
  std::vector<Bytes> fragments = fragmented_client_hello(4000, 1100);
  ASSERT_EQ(fragments.size(), 4u);
  for (const bool reverse : {false, true}) {
    if (reverse) std::reverse(fragments.begin(), fragments.end());
    Connection connection(TimePoint{}, server, Role::server, client.fingerprint());
    for (std::size_t i = 0; i < fragments.size(); ++i) {
      connection.handle_datagram(TimePoint{}, fragments[i]);
      EXPECT_EQ(answers(connection) > 0, i + 1 == fragments.size()) << reverse << i;
    }
  }
}

TEST(DtlsConnection, RefusesAHandshakeMessageBeyondItsBound) {
  const Context server = context(), client = context();
  Connection connection(TimePoint{}, server, Role::server, client.fingerprint());
  for (const Bytes& fragment : fragmented_client_hello(40'000, 1100)) connection.handle_datagram(TimePoint{}, fragment);
  EXPECT_TRUE(connection.closed());
}

TEST(DtlsConnection, TellsThePeerWhenItCloses) {
  const Context server = context(), client = context();
  World world(server, client);
  world.run(0s);
  world.server.close();
  world.run(0s);
  EXPECT_TRUE(world.client.closed());
  EXPECT_EQ(world.server_outcome.closed, Error(dtls_closed));
  EXPECT_EQ(world.client_outcome.closed, Error(dtls_closed));
}

TEST(DtlsConnection, DoesNotCloseForAForgedAlert) {
  const Context server = context(), client = context();
  World world(server, client);
  world.run(0s);
  for (Connection* const end : {&world.server, &world.client}) {
    end->handle_datagram(world.now, *from_hex("15fefd000100000000000500020100"));
    end->handle_datagram(world.now, *from_hex("15fefd0001000000000006001a0102030405060708010203040506070801020304050607080102"));
    EXPECT_TRUE(end->established());
  }
}

TEST(DtlsConnection, AnEstablishedServerHasForgottenAllButItsLastFlightAndItsGoodbye) {
  const Context server_context = context(), client_context = context();
  World world(server_context, client_context);
  world.run(0s);
  ASSERT_TRUE(world.server_outcome.keys && world.client_outcome.keys);
  EXPECT_TRUE(world.server.forgotten());
  EXPECT_FALSE(world.server.next_deadline());
  world.server.handle_datagram(world.now, Bytes(100, 23)); // nobody is there who could read it
  world.client.close();
  world.run(1s);
  EXPECT_TRUE(world.server.established()) << "nor a goodbye";
}

} // namespace
} // namespace satsuma::dtls
