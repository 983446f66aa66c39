#include "io/udp_socket.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

#include "io/clock.h"

namespace satsuma::io {
namespace {

TransportAddress loopback_v4() { return TransportAddress::v4({127, 0, 0, 1}, 0); }
TransportAddress loopback_v6() { return *TransportAddress::parse("::1", 0); }

UdpSocket open(const TransportAddress& local, UdpSocket::Options options = {}) {
  auto socket = UdpSocket::open(local, options);
  EXPECT_TRUE(socket);
  return std::move(*socket);
}

struct Arrived {
  TransportAddress from;
  Bytes bytes;
};

std::vector<Arrived> receive(UdpSocket& socket, std::size_t count) {
  std::vector<Arrived> arrived;
  while (arrived.size() < count) {
    pollfd ready{socket.descriptor(), POLLIN, 0};
    if (poll(&ready, 1, 2000) != 1) break;
    const auto batch = socket.receive();
    EXPECT_TRUE(batch);
    for (const auto& datagram : *batch) arrived.push_back({datagram.remote, to_bytes(datagram.bytes)});
  }
  return arrived;
}

Bytes numbered(std::size_t size, std::size_t number) {
  Bytes bytes(size, static_cast<std::uint8_t>(number));
  return bytes;
}

class UdpSocketTest : public testing::TestWithParam<bool> {
 protected:
  UdpSocket sender = open(loopback_v4(), {.segmentation = GetParam()});
  UdpSocket receiver = open(loopback_v4());
};

INSTANTIATE_TEST_SUITE_P(Segmentation, UdpSocketTest, testing::Bool());

TEST_P(UdpSocketTest, CarriesDatagramsAsTheyAreAndInOrder) {
  // Runs of equal sizes, a shorter end, a longer one, an empty one, more than one message holds.
  std::vector<Bytes> bytes;
  for (std::size_t size : {100u, 100u, 100u, 40u, 100u, 1200u, 1200u, 0u, 1u, 1u}) bytes.push_back(numbered(size, bytes.size()));
  for (int i = 0; i < 40; ++i) bytes.push_back(numbered(1000, bytes.size()));
  std::vector<Datagram> datagrams;
  for (const Bytes& b : bytes) datagrams.push_back({receiver.local(), b});
  const UdpSocket::Sent sent = sender.send(datagrams);
  EXPECT_EQ(sent.datagrams, bytes.size());
  EXPECT_EQ(sent.dropped, 0u);
  const std::vector<Arrived> arrived = receive(receiver, bytes.size());
  ASSERT_EQ(arrived.size(), bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(arrived[i].bytes, bytes[i]) << i;
    EXPECT_EQ(arrived[i].from, sender.local());
  }
}

TEST_P(UdpSocketTest, KeepsDestinationsApart) {
  UdpSocket other = open(loopback_v4());
  std::vector<Bytes> bytes;
  for (std::size_t i = 0; i < 20; ++i) bytes.push_back(numbered(500, i));
  std::vector<Datagram> datagrams;
  for (std::size_t i = 0; i < bytes.size(); ++i) datagrams.push_back({(i / 3 % 2 == 0 ? receiver : other).local(), bytes[i]});
  EXPECT_EQ(sender.send(datagrams).datagrams, bytes.size());
  const std::vector<Arrived> first = receive(receiver, 11);
  const std::vector<Arrived> second = receive(other, 9);
  ASSERT_EQ(first.size() + second.size(), bytes.size());
  for (const Arrived& arrived : first) EXPECT_EQ(arrived.bytes[0] / 3 % 2, 0);
  for (const Arrived& arrived : second) EXPECT_EQ(arrived.bytes[0] / 3 % 2, 1);
}

TEST(UdpSocket, SendsARunWithOneCall) {
  UdpSocket sender = open(loopback_v4()), receiver = open(loopback_v4());
  const Bytes bytes = numbered(1200, 1);
  const std::vector<Datagram> datagrams(64, Datagram{receiver.local(), bytes});
  const UdpSocket::Sent sent = sender.send(datagrams);
  EXPECT_EQ(sent.calls, sender.segmentation() ? 1u : 2u);
  EXPECT_EQ(receive(receiver, 64).size(), 64u);
}

TEST(UdpSocket, TellsWhenADatagramArrivedAndNotWhenItWasLookedAt) {
  UdpSocket sender = open(loopback_v4()), receiver = open(loopback_v4());
  const Bytes bytes = numbered(100, 1);
  const Duration slack = std::chrono::milliseconds(1); // two clocks are compared
  // The kernel begins to note times a moment after the first socket has asked for it.
  bool told = false;
  for (int i = 0; i < 50 && !told; ++i) {
    const TimePoint before = monotonic_now();
    sender.send(std::vector<Datagram>(3, Datagram{receiver.local(), bytes}));
    const TimePoint after = monotonic_now();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto received = receiver.receive();
    ASSERT_TRUE(received);
    ASSERT_EQ(received->size(), 3u);
    told = std::all_of(received->begin(), received->end(),
                       [&](const auto& datagram) { return datagram.arrived >= before - slack && datagram.arrived <= after + slack; });
  }
  EXPECT_TRUE(told);
}

TEST(UdpSocket, GivesSegmentationUpWhereItIsRefused) {
  // Segments beyond what IP can carry together are refused, and singly too: they are dropped, and the next go through.
  UdpSocket sender = open(loopback_v4()), receiver = open(loopback_v4());
  const Bytes small = numbered(10, 1);
  const TransportAddress nowhere = TransportAddress::v4({255, 255, 255, 255}, 9); // broadcast: EACCES
  const std::vector<Datagram> datagrams = {{nowhere, small}, {nowhere, small}, {receiver.local(), small}, {receiver.local(), small}};
  const UdpSocket::Sent sent = sender.send(datagrams);
  EXPECT_EQ(sent.dropped, 2u);
  EXPECT_EQ(sent.datagrams, 2u);
  EXPECT_EQ(receive(receiver, 2).size(), 2u);
}

TEST(UdpSocket, SpeaksIpv6AndTakesIpv4OnTheWildcard) {
  auto wildcard = UdpSocket::open(*TransportAddress::parse("::", 0));
  if (!wildcard) GTEST_SKIP() << "no IPv6 here";
  UdpSocket v6 = open(loopback_v6());
  UdpSocket v4 = open(loopback_v4());
  const Bytes bytes = numbered(5, 7);
  EXPECT_EQ(v6.send({{Datagram{*TransportAddress::parse("::1", wildcard->local().port), bytes}}}).datagrams, 1u);
  EXPECT_EQ(v4.send({{Datagram{*TransportAddress::parse("127.0.0.1", wildcard->local().port), bytes}}}).datagrams, 1u);
  const std::vector<Arrived> arrived = receive(*wildcard, 2);
  ASSERT_EQ(arrived.size(), 2u);
  EXPECT_EQ(arrived[0].from, v6.local());
  EXPECT_EQ(arrived[1].from, v4.local());
  for (const Arrived& a : arrived) EXPECT_EQ(wildcard->send({{Datagram{a.from, bytes}}}).datagrams, 1u);
  EXPECT_EQ(receive(v6, 1).size(), 1u);
  EXPECT_EQ(receive(v4, 1).size(), 1u);
}

TEST(UdpSocket, DropsDatagramsThatAreTooLong) {
  UdpSocket sender = open(loopback_v4()), receiver = open(loopback_v4());
  const Bytes longer = numbered(max_datagram_size + 1, 1), fits = numbered(max_datagram_size, 2);
  sender.send({{Datagram{receiver.local(), longer}, Datagram{receiver.local(), fits}}});
  const std::vector<Arrived> arrived = receive(receiver, 1);
  ASSERT_EQ(arrived.size(), 1u);
  EXPECT_EQ(arrived[0].bytes, fits);
}

TEST(UdpSocket, SaysThatAnAddressIsTaken) {
  UdpSocket first = open(loopback_v4());
  EXPECT_EQ(UdpSocket::open(first.local()).error(), Error(udp_bind_failed));
}

} // namespace
} // namespace satsuma::io
