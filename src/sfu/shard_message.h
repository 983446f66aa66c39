#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "sfu/encoding.h"
#include "sfu/shard_set.h"
#include "signaling/sdp.h"
#include "signaling/source.h"

/// What the shards of one process say to each other about a room that has people in several of them.
///
/// A participant lives in one shard, its home, with both its connections. There its packets are decrypted and parsed, once; each other shard that has a
/// subscriber for them gets them as they are then, keeps them in a history of its own, and does for its subscribers what the home does for the others.
///
///   home ── Publications, RelayedPacket, RelayedClock, RelayedLevel ──▶ mirror
///   home ◀── Interest, KeyFrameWish, MissingPackets ── mirror
///
/// Messages from one shard to another arrive in order. Publications and Interest must arrive, since they are said only when they change; of the others
/// each may be lost, like a packet. `version` names the publication: what was said about the one before it is void.
namespace satsuma::sfu {

/// All that a participant publishes. Nothing: it is gone, or this shard is not to know it any more.
struct Publications {
  struct Item {
    std::uint64_t version = 0;
    signaling::PublishedMedia media; ///< has a source
  };
  std::string room;
  IncarnationId id;
  signaling::SourceSet active; ///< those that may be seen
  std::vector<Item> items;
};

struct RelayedPacket {
  IncarnationId id;
  Source source = Source::microphone;
  std::uint8_t spatial_layers = 1, temporal_layers = 1; ///< of the encoding, seen so far
  std::uint32_t generation = 0;                         ///< of the encoding
  std::uint64_t version = 0;
  std::array<std::uint16_t, max_spatial_layers> heights{}; ///< of the encoding
  MediaPacket media; ///< its payload and descriptor are the sender's until the next call, and the receiver's during handle_from_shard()
};

/// What a sender report said (RFC 3550 s.6.4.1).
struct RelayedClock {
  IncarnationId id;
  Source source = Source::microphone;
  std::uint8_t encoding = 0;
  std::uint32_t generation = 0;
  std::uint64_t version = 0;
  Encoding::SenderClock clock{};
};

/// Which encodings somebody in the mirror's shard can use; none: nobody has a slot for it there.
struct Interest {
  IncarnationId id;
  Source source = Source::microphone;
  std::uint8_t encodings = 0; ///< bits
  std::uint64_t version = 0;
};

struct KeyFrameWish {
  IncarnationId id;
  Source source = Source::microphone;
  std::uint8_t encoding = 0;
  bool urgent = false;
  std::uint64_t version = 0;
};

/// Packets that the mirror did not get.
struct MissingPackets {
  static constexpr std::size_t max_count = 64;
  IncarnationId id;
  Source source = Source::microphone;
  std::uint8_t encoding = 0;
  std::uint8_t count = 0;
  std::uint32_t generation = 0;
  std::uint64_t version = 0;
  std::array<std::uint16_t, max_count> sequences{};
};

/// How loud its microphone has been since the last one (RFC 6464), whether the mirror's shard has a slot for it or not.
struct RelayedLevel {
  static constexpr Duration interval = std::chrono::milliseconds(100);
  IncarnationId id;
  std::uint8_t level = 127; ///< -dBov, the loudest
};

using ShardMessage = std::variant<RelayedPacket, RelayedClock, RelayedLevel, Publications, Interest, KeyFrameWish, MissingPackets>;

/// It must not be lost.
inline bool must_arrive(const ShardMessage& message) {
  return std::holds_alternative<Publications>(message) || std::holds_alternative<Interest>(message);
}

struct OutgoingShardMessage {
  std::size_t shard = 0; ///< Config::part
  ShardMessage message;
};

} // namespace satsuma::sfu
