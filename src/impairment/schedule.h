#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

/// Bad networks, by seed: see README.md.
namespace satsuma::impairment {

inline constexpr ErrorCode schedule_too_large{"schedule_too_large", ErrorKind::caller};
inline constexpr ErrorCode schedule_bad_setting{"schedule_bad_setting", ErrorKind::caller};
inline constexpr ErrorCode schedule_bad_value{"schedule_bad_value", ErrorKind::caller};
inline constexpr ErrorCode schedule_not_in_order{"schedule_not_in_order", ErrorKind::caller};

inline constexpr std::size_t max_schedule_size = 16 * 1024;
inline constexpr std::size_t max_schedule_steps = 256;

/// What one direction of a path does to datagrams. The default does nothing.
struct Conditions {
  /// Of all datagrams, the fraction lost, by Gilbert's and Elliott's model of two states: in a bad spell, which lasts for `burst` datagrams on
  /// average, `burst_loss` of them are lost; between spells none. With burst 1 and burst_loss 1 losses are (nearly) independent.
  double loss = 0;
  double burst = 1;
  double burst_loss = 1;
  Duration delay{};
  /// Up to so much is added to the delay, evenly spread; it alone reorders nothing.
  Duration jitter{};
  /// The fraction of datagrams that come later by `reorder_by`, and so after those sent behind them.
  double reorder = 0;
  Duration reorder_by = std::chrono::milliseconds(20);
  /// The fraction that arrive twice.
  double duplicate = 0;
  /// Bits a second on the wire, IPv4 and UDP headers included; 0: no limit.
  std::uint64_t rate = 0;
  /// At the bottleneck, what would wait longer than this is dropped.
  Duration queue = std::chrono::milliseconds(300);
  /// Nothing passes.
  bool outage = false;

  friend bool operator==(const Conditions&, const Conditions&) = default;
};

enum class Direction : std::uint8_t { up, down };

/// Conditions over time, for one direction.
class Schedule {
 public:
  struct Step {
    Duration at{};
    Conditions conditions;
  };

  Schedule() : Schedule(Conditions()) {}
  explicit Schedule(const Conditions& always) : steps_{{{}, always}} {}

  /// Words, separated by space: `name=value` settings, and times, each of which begins a step that keeps what it does not change:
  ///
  ///   loss=5% burst=3 delay=40ms 10s rate=300k 20s rate=none down.loss=0%
  ///
  /// Names are those of Conditions; `up.` or `down.` before one restricts it to a direction. Times have ms or s; fractions are 0.05 or 5%; rates are
  /// bits a second with k or M, or none; outage is on or off.
  static Result<Schedule> parse(std::string_view text, Direction direction);

  /// The step in force so long after the start, and when the next begins.
  const Conditions& at(Duration since_start) const;
  const std::vector<Step>& steps() const { return steps_; }

 private:
  std::vector<Step> steps_; ///< rising times; the first at 0
};

} // namespace satsuma::impairment
