// Bytes as a stream of TURN, in pieces; and sequences of requests with good credentials and the input's values, so that what lies behind authentication is
// reached. Whatever happens, nothing may come out for an address that is not ours, and bounds hold. Then the client: the input as what a server says, and the
// real server's answers with bytes changed by it.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../tests/base/seeded_random.h"
#include "../tests/turn/requests.h"
#include "turn/client.h"
#include "turn/server.h"

using namespace satsuma;

namespace {

const std::vector<TransportAddress> own = {TransportAddress::v4({192, 0, 2, 1}, 8443), TransportAddress::v4({192, 0, 2, 1}, 8444),
                                           TransportAddress::v4({192, 0, 2, 2}, 8443), *TransportAddress::parse("2001:db8::1", 8443)};

void feed(turn::ServerConnection& connection, TimePoint now, Bytes bytes, std::string* nonce) {
  MutableByteView rest = bytes;
  while (true) {
    const auto event = connection.next(now, rest);
    if (!event || !*event) return;
    if (const auto& reply = (*event)->reply) {
      const auto message = turn::parse(reply->bytes);
      SATSUMA_CHECK(message.has_value());
      if (nonce != nullptr && message->nonce) *nonce = *message->nonce;
    }
    if (const auto& to_peer = (*event)->to_peer) {
      SATSUMA_CHECK(std::ranges::find(own, to_peer->peer) != own.end());
      SATSUMA_CHECK(to_peer->datagram.size() <= turn::max_frame_size);
    }
  }
}

void drive_client(ByteView data) {
  SeededRandom random(2);
  TimePoint now{std::chrono::hours(1)};
  turn::Server server(own, random);
  {
    turn::ClientConnection client(now, server.credentials(now, "ada"), own[0], random);
    Bytes bytes = to_bytes(data);
    MutableByteView rest = bytes;
    while (true) {
      const auto datagram = client.next(now, rest);
      if (!datagram || !*datagram) break;
    }
    SATSUMA_CHECK(!client.ready()); // nobody can sign for the server
  }
  turn::ClientConnection client(now, server.credentials(now, "ada"), own[data[0] % own.size()], random);
  turn::ServerConnection theirs(now, server, TransportAddress::v4({198, 51, 100, 7}, 40000));
  ByteReader input(data);
  for (int turns = 0; turns < 4 || !input.empty(); ++turns) {
    while (const auto request = client.poll_output()) {
      Bytes bytes = to_bytes(*request);
      MutableByteView rest = bytes;
      while (true) {
        const auto event = theirs.next(now, rest);
        if (!event) return;
        if (!*event) break;
        if (!(*event)->reply) continue;
        Bytes answer = to_bytes((*event)->reply->bytes);
        const auto where = input.u16();
        const auto what = input.u8();
        if (where && what) answer[*where % answer.size()] ^= *what;
        MutableByteView back = answer;
        while (true) {
          const auto datagram = client.next(now, back);
          if (!datagram) return;
          if (!*datagram) break;
        }
      }
    }
    SATSUMA_CHECK(!client.ready() || theirs.allocated());
    now = std::max(now, client.next_deadline());
    if (!client.handle_timeout(now) || !theirs.handle_timeout(now)) return;
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  drive_client(ByteView(data, size));
  SeededRandom random(1);
  turn::Limits limits;
  limits.peers = 3;
  limits.failures = 1000;
  turn::Server server(own, random, limits);
  TimePoint now{std::chrono::hours(1)};
  const TransportAddress client = TransportAddress::v4({198, 51, 100, 7}, 40000);
  {
    turn::ServerConnection connection(now, server, client);
    const std::size_t step = 1 + data[0] % 64;
    for (std::size_t at = 1; at < size; at += step) feed(connection, now, Bytes(data + at, data + std::min(size, at + step)), nullptr);
  }
  SATSUMA_CHECK(server.allocations() == 0);

  const turn::Credentials credentials = server.credentials(now, "ada");
  const auto key = turn::long_term_key(credentials.username, turn::Server::realm, credentials.password.view());
  SATSUMA_CHECK(key.has_value());
  turn::ServerConnection connection(now, server, client);
  std::string nonce;
  ByteReader input(ByteView(data, size));
  const auto byte = [&] { return input.empty() ? std::uint8_t{0} : *input.u8(); };
  Bytes out(turn::max_frame_size);
  while (!input.empty()) {
    const std::uint8_t what = byte();
    const TransportAddress peer = (what & 0x80) != 0 ? TransportAddress::v4({203, 0, 113, byte()}, 53) : own[what % own.size()];
    turn::test::Request request;
    request.key = to_bytes(key->view());
    request.username = credentials.username;
    request.realm = std::string(turn::Server::realm);
    request.nonce = nonce;
    switch (what >> 2 & 7) {
      case 0:
        request.transport = 17;
        if ((what & 0x40) != 0) request.family = byte();
        break;
      case 1:
        request.method = turn::refresh;
        request.lifetime_seconds = byte() * 60U;
        break;
      case 2:
        request.method = turn::create_permission;
        for (std::uint8_t n = byte() % 4; n > 0; --n) request.peers.push_back(own[byte() % own.size()]);
        request.peers.push_back(peer);
        break;
      case 3:
        request.method = turn::channel_bind;
        request.channel = static_cast<std::uint16_t>(0x3ffe + byte() % 8);
        request.peers = {peer};
        break;
      case 4:
        request = {};
        request.method = turn::send;
        request.message_class = stun::MessageClass::indication;
        request.peers = {peer};
        request.data = Bytes(byte());
        break;
      case 5: feed(connection, now, turn::test::channel_data(static_cast<std::uint16_t>(0x4000 + byte() % 8), Bytes(byte())), nullptr); continue;
      case 6:
        if (const auto wrapped = connection.wrap(now, peer, Bytes(byte()), out)) SATSUMA_CHECK(wrapped->size() % 4 == 0);
        continue;
      default:
        now += std::chrono::seconds(byte());
        (void)connection.handle_timeout(now);
        continue;
    }
    feed(connection, now, turn::test::write(request), &nonce);
    SATSUMA_CHECK(server.allocations() == (connection.allocated() ? 1U : 0U));
  }
  return 0;
}
