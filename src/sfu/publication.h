#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "sfu/encoding.h"
#include "sfu/shard_set.h"
#include "signaling/sdp.h"

namespace satsuma::sfu {

/// Where a publication's packets go: a slot of a participant.
struct SlotReference {
  std::uint32_t participant = 0;
  std::uint32_t slot = 0;
  friend bool operator==(const SlotReference&, const SlotReference&) = default;
};

/// How long a publisher may take to begin with an encoding that it was asked for.
inline constexpr Duration start_patience = std::chrono::seconds(3);

/// What a participant sends of one source: one stream, or with simulcast (RFC 8853) several of rising quality.
class Publication {
 public:
  Publication(const signaling::PublishedMedia& media, Source source, const Limits& limits) : media_(media), source_(source) {
    const std::size_t count = std::max<std::size_t>(1, media.rids.size());
    encodings_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) encodings_.emplace_back(media, source, static_cast<std::uint8_t>(i), limits);
    wanted.fill(true);
  }

  const signaling::PublishedMedia& media() const { return media_; }
  Source source() const { return source_; }
  bool video() const { return !signaling::is_audio(source_); }

  std::span<Encoding> encodings() { return encodings_; }
  std::span<const Encoding> encodings() const { return encodings_; }
  Encoding& encoding(std::uint8_t index) { return encodings_[index]; }
  const Encoding& encoding(std::uint8_t index) const { return encodings_[index]; }

  /// The publisher was asked for this one a moment ago, and nothing of it has come yet.
  bool starting(TimePoint now, std::uint8_t index) const {
    const auto& since = wanted_since[index];
    const auto& last = encodings_[index].last_packet();
    return since && now - *since < start_patience && (!last || *last < *since);
  }
  /// Packets of it came a moment ago, and those of others did not leave it behind.
  bool flows(TimePoint now, std::uint8_t index) const { return encodings_[index].active(now) && !left_behind(index); }
  /// One of several encodings that its publisher sends no more, while others go on.
  bool stopped(TimePoint now, std::uint8_t index) const { return left_behind(index) && !starting(now, index); }
  bool left_behind(std::uint8_t index) const {
    for (const Encoding& other : encodings_)
      if (encodings_[index].outlived_by(other)) return true;
    return false;
  }

  /// Something of it has come.
  bool seen() const {
    for (const Encoding& e : encodings_)
      if (e.seen()) return true;
    return false;
  }

  void stop_waiting() {
    for (Encoding& e : encodings_) e.stop_waiting();
  }

  /// Gives back what is kept for subscribers; it comes again with the next packet that somebody is to have.
  void rest() {
    for (Encoding& e : encodings_) e.rest();
  }

  /// Which encodings somebody can use, as the publisher was told last. An encoding is switched on at once and off after a while.
  std::array<bool, max_encodings> wanted{};
  std::array<std::optional<TimePoint>, max_encodings> wanted_since{};
  std::array<std::optional<TimePoint>, max_encodings> unwanted_since{};

  std::vector<SlotReference> subscribers;

  /// Rises with each publication of a shard: what another shard says is about this one, or about one before it.
  std::uint64_t version = 0;
  /// Of a publication that arrives here: the shards that have subscribers, and which encodings these can use.
  ShardSet interested = 0;
  std::array<std::uint8_t, max_shards> interest{};
  /// Of one that arrives elsewhere: what its home was told of that last.
  std::optional<std::uint8_t> told_interest;

  TimePoint watched_at{}; ///< as it was seen last

  bool watched() const { return !subscribers.empty() || interested != 0; }

 private:
  signaling::PublishedMedia media_;
  Source source_;
  std::vector<Encoding> encodings_;
};

} // namespace satsuma::sfu
