#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"

namespace satsuma::rtp {

/// Who speaks, and who spoke last, from audio levels (RFC 6464): of a room, or of what one client hears.
///
/// Levels are smoothed. A voice begins once it has been well above both a fixed threshold and its own background for a moment, so that a cough is none, and ends
/// after a pause longer than those between words. What never gets quieter is background in the end: a fan does not speak, nor does who claims to be always loud.
class ActiveSpeakers {
 public:
  using Who = std::uint32_t;
  static constexpr std::size_t max_voices = 512; ///< who comes beyond them has no rank; rooms are smaller
  static constexpr Duration update_interval = std::chrono::milliseconds(100);

  /// `level` in -dBov: 0 is the loudest, 127 silence.
  void handle_level(TimePoint now, Who who, std::uint8_t level);
  void remove(Who who);
  /// Every update_interval. True when the ranking, or who speaks, is another than before.
  bool update(TimePoint now);

  /// Who speaks now, longest first, so that nobody loses his place to an interjection; behind them those who spoke, latest first. Who never did is not in it.
  std::span<const Who> ranking() const { return ranking_; }
  /// The first `speaking()` of the ranking speak now.
  std::size_t speaking() const { return speaking_; }
  bool speaks(Who who) const;
  bool empty() const { return voices_.empty(); }

 private:
  struct Voice {
    Who who = 0;
    double level = 0;      ///< smoothed, in dBov
    double background = 0; ///< in dBov
    TimePoint at{};        ///< of the last level
    std::optional<TimePoint> loud_since;
    std::optional<TimePoint> began; ///< while it speaks
    std::optional<TimePoint> heard; ///< when it was last loud while it spoke
  };

  std::vector<Voice> voices_;
  std::vector<Who> ranking_, next_;
  std::size_t speaking_ = 0;
  bool removed_ = false; ///< somebody who stood in the ranking, since the last update
};

} // namespace satsuma::rtp
