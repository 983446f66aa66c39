#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"

namespace satsuma::participant {

/// What encoded frames of so many bits take with all headers around them.
std::int64_t on_the_wire(std::int64_t bitrate, double frames_per_second);

/// One size of a picture, as an encoder can make it: bits per second of encoded frames.
struct LayerRates {
  std::int64_t least = 0; ///< with less it would be of no use
  std::int64_t most = 0;
};

/// Shares what a path carries among the sizes of a picture that are sent at once: sound first, which is taken off before; then the sizes from the smallest up,
/// each to its most; the largest that still gets its least takes what is left, and those above it are not sent. Down at once, up after a while, and later each time
/// that it was too early; the smallest the other way round.
class RateControl {
 public:
  enum class LimitedBy : std::uint8_t { nothing, network, view };

  /// From the smallest.
  explicit RateControl(std::vector<LayerRates> layers, double frames_per_second);

  /// `available`: bits per second on the wire for all pictures of this source; no value: as much as they like. `wanted`: whether anybody can use the size.
  void update(TimePoint now, std::optional<std::int64_t> available, std::span<const bool> wanted);

  std::size_t layers() const { return layers_.size(); }
  /// Of encoded frames; 0: not to be sent.
  std::int64_t target(std::size_t layer) const { return layer < layers_.size() ? layers_[layer].target : 0; }
  /// What all of it takes on the wire now, and what it could use.
  std::int64_t used() const { return used_; }
  std::int64_t desired() const { return desired_; }
  LimitedBy limited_by() const { return limited_by_; }

 private:
  struct Layer {
    LayerRates rates;
    std::int64_t target = 0;
    bool given_up = false;                  ///< for want of room
    std::optional<TimePoint> room_since;    ///< it was given up, and would fit
    std::optional<TimePoint> no_room_since;
    std::optional<TimePoint> raised_at;
    Duration patience;
  };
  std::int64_t on_the_wire(std::int64_t bitrate) const; ///< what encoded frames of so many bits take with all headers around them
  std::int64_t within(std::int64_t wire) const;

  std::vector<Layer> layers_;
  std::int64_t per_second_;  ///< bits that frames take however small
  std::int64_t used_ = 0, desired_ = 0;
  LimitedBy limited_by_ = LimitedBy::nothing;
};

} // namespace satsuma::participant
