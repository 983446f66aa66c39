// Datagrams to a DTLS server. Our client's handshake runs beside it, and the input says which of its datagrams are changed, dropped, repeated or
// swapped; keys may come out only if both ends have the same.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "dtls/connection.h"

using namespace satsuma;

namespace {

struct End {
  std::optional<dtls::SrtpKeys> keys;
  bool closed = false;
};

void collect(dtls::Connection& connection, End& end, std::deque<Bytes>& wire) {
  while (auto output = connection.poll_output()) {
    if (const auto* send = std::get_if<dtls::Connection::Send>(&*output)) {
      SATSUMA_CHECK(send->datagram.size() <= dtls::handshake_mtu);
      if (wire.size() < 64) wire.push_back(to_bytes(send->datagram));
    } else if (auto* established = std::get_if<dtls::Connection::Established>(&*output)) {
      end.keys = std::move(established->keys);
    } else {
      end.closed = true;
    }
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const dtls::Context server_context = std::move(*dtls::Context::create(1'800'000'000));
  static const dtls::Context client_context = std::move(*dtls::Context::create(1'800'000'000));
  if (size == 0 || size > 8000) return 0;
  TimePoint now{};
  dtls::Connection server(now, server_context, dtls::Role::server, client_context.fingerprint());
  std::deque<Bytes> to_server, to_client;
  End server_end, client_end;

  if ((data[0] & 1) != 0) {
    // The input as datagrams: two bytes of length each.
    ByteReader reader(ByteView(data + 1, size - 1));
    while (reader.remaining() > 2) {
      const std::size_t length = std::min<std::size_t>(*reader.u16() & 0x7ff, reader.remaining());
      server.handle_datagram(now, *reader.bytes(length));
      collect(server, server_end, to_client);
    }
    SATSUMA_CHECK(!server_end.keys);
    return 0;
  }

  dtls::Connection client(now, client_context, dtls::Role::client, server_context.fingerprint());
  ByteReader reader(ByteView(data + 1, size - 1));
  for (int step = 0; step < 200; ++step) {
    collect(server, server_end, to_client);
    collect(client, client_end, to_server);
    const std::uint8_t action = reader.empty() ? 0 : *reader.u8();
    std::deque<Bytes>& wire = step % 2 == 0 ? to_server : to_client;
    dtls::Connection& receiver = step % 2 == 0 ? server : client;
    if (wire.empty()) {
      if (to_server.empty() && to_client.empty()) {
        if (reader.empty()) break;
        now += std::chrono::milliseconds(300);
        server.handle_timeout(now);
        client.handle_timeout(now);
      }
      continue;
    }
    Bytes datagram = wire.front();
    if ((action & 7) != 1) wire.pop_front(); // repeated
    if ((action & 7) == 2) continue;         // dropped
    if ((action & 7) == 3) {                 // swapped with the next
      wire.push_back(datagram);
      continue;
    }
    if ((action & 7) == 4 && reader.remaining() >= 3) {
      const std::size_t at = *reader.u16() % datagram.size();
      datagram[at] ^= *reader.u8();
    }
    if ((action & 7) == 5 && reader.remaining() >= 2) datagram.resize(*reader.u16() % (datagram.size() + 1));
    receiver.handle_datagram(now, datagram);
  }
  if (server_end.keys && client_end.keys) {
    SATSUMA_CHECK(server_end.keys->profile == client_end.keys->profile);
    SATSUMA_CHECK(server_end.keys->send_key == client_end.keys->receive_key && server_end.keys->receive_key == client_end.keys->send_key);
    SATSUMA_CHECK(server_end.keys->send_salt == client_end.keys->receive_salt && server_end.keys->receive_salt == client_end.keys->send_salt);
  }
  return 0;
}
