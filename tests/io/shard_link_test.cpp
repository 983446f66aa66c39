#include "io/shard_link.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

namespace satsuma::io {
namespace {

sfu::ShardMessage packet(std::int64_t number, ByteView payload = {}) {
  sfu::RelayedPacket message;
  message.media.sequence = number;
  message.media.payload = payload;
  return message;
}
sfu::ShardMessage interest(std::uint64_t version) { return sfu::Interest{{}, sfu::Source::camera, 1, version}; }
std::int64_t number_of(const sfu::ShardMessage& message) {
  if (const auto* const p = std::get_if<sfu::RelayedPacket>(&message)) return p->media.sequence;
  return -static_cast<std::int64_t>(std::get<sfu::Interest>(message).version);
}

TEST(ShardLinkTest, PacketsBeyondItsCapacityAreLostAndWhatMustArriveWaitsInItsOrder) {
  ShardLink link;
  EXPECT_EQ(link.front(), nullptr);
  for (std::size_t i = 0; i < ShardLink::capacity; ++i) EXPECT_TRUE(link.send(packet(static_cast<std::int64_t>(i))));
  EXPECT_FALSE(link.send(packet(-1)));
  EXPECT_TRUE(link.send(interest(1)));
  EXPECT_FALSE(link.send_waiting());
  link.pop();
  EXPECT_FALSE(link.send(packet(-1))) << "not before what waits";
  EXPECT_TRUE(link.send(interest(2)));
  link.pop();
  link.pop();
  EXPECT_TRUE(link.send_waiting());
  EXPECT_TRUE(link.send(packet(5000)));
  std::vector<std::int64_t> rest;
  for (; link.front() != nullptr; link.pop()) rest.push_back(number_of(*link.front()));
  EXPECT_EQ(rest.size(), ShardLink::capacity);
  EXPECT_EQ(std::vector(rest.end() - 3, rest.end()), (std::vector<std::int64_t>{-1, -2, 5000}));
}

TEST(ShardLinkTest, WhatWaitsIsBounded) {
  ShardLink link;
  for (std::size_t i = 0; i < ShardLink::capacity + ShardLink::max_waiting; ++i) EXPECT_TRUE(link.send(interest(i)));
  EXPECT_FALSE(link.send(interest(0)));
}

TEST(ShardLinkTest, APayloadThatIsLargerThanAnyPacketIsRefused) {
  ShardLink link;
  EXPECT_FALSE(link.send(packet(1, Bytes(2000))));
  EXPECT_EQ(link.front(), nullptr);
}

TEST(ShardLinkTest, OneThreadSendsAndAnotherTakesEverythingThatWasNotLostWithItsBytesAndNeverSleepsThroughIt) {
  ShardLink link;
  const auto bell = ShardBell::make();
  ASSERT_TRUE(bell);
  constexpr std::int64_t count = 100'000;
  std::int64_t lost = 0;
  std::thread sender([&] {
    Bytes payload(100);
    for (std::int64_t i = 0; i <= count; ++i) {
      std::fill(payload.begin(), payload.end(), static_cast<std::uint8_t>(i));
      if (i == count) {
        while (!link.send(packet(i, payload))) std::this_thread::yield(); // the last, so that the other can end
      } else if (!link.send(packet(i, payload))) {
        ++lost;
      }
      bell->ring();
      if (i % 512 == 0) std::this_thread::yield();
    }
  });
  std::int64_t taken = 0, last = -1;
  while (last < count) {
    pollfd waiting{bell->descriptor(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, 20'000), 1) << "it was not woken";
    bell->answer();
    for (const sfu::ShardMessage* message = link.front(); message != nullptr; message = link.front()) {
      const auto& media = std::get<sfu::RelayedPacket>(*message).media;
      ASSERT_GT(media.sequence, last);
      last = media.sequence;
      ASSERT_EQ(media.payload.size(), 100u);
      ASSERT_EQ(media.payload.front(), static_cast<std::uint8_t>(last));
      ASSERT_EQ(media.payload.back(), static_cast<std::uint8_t>(last));
      ++taken;
      link.pop();
    }
  }
  sender.join();
  EXPECT_EQ(taken + lost, count + 1);
}

} // namespace
} // namespace satsuma::io
