#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/time.h"
#include "container/ivf.h"

namespace satsuma::client {

inline constexpr ErrorCode film_begins_without_key_frame{"film_begins_without_key_frame", ErrorKind::caller};

/// A film that is sent as it is, in a loop: which of its frames leave. Its time goes on whatever happens on the way.
///
/// All do, while the path has room for them; when one could not leave those behind it are left out, until the next key frame. Where there is no room for all of
/// them its key frames alone are sent, each when the one before has left: a picture every few seconds, and sound beside it.
class Film {
 public:
  enum class Way : std::uint8_t { whole, key_frames };
  struct Step {
    ByteView frame; ///< empty: none leaves now
    bool key = false;
    Duration until_next{};
  };

  /// Of a file that the caller holds.
  static Result<Film> open(ByteView file);

  /// Bits per second of all of it.
  std::int64_t bitrate() const { return bitrate_; }
  double frames_per_second() const { return frames_per_second_; }
  /// From one key frame to the next, at most.
  Duration longest_without_key_frame() const { return longest_without_key_; }
  Way way() const { return way_; }

  /// The time of the next frame has come. `room`: for all of it. `busy`: of what was sent before, something has not left yet.
  Step next(TimePoint now, bool room, bool busy);
  /// What next() gave was not sent, for want of room.
  void handle_unsent() { skips_ = true; }
  /// Somebody cannot go on without one: it goes back to its last, or where key frames are all that is sent, sends that again as soon as it may.
  void handle_key_frame_wanted() { key_wanted_ = true; }

 private:
  explicit Film(container::IvfReader at) : at_(at) {}
  std::optional<container::IvfReader::Frame> read();
  void choose_way(TimePoint now, bool room);

  container::IvfReader at_;
  std::optional<container::IvfReader> last_key_; ///< where it was
  std::optional<std::uint64_t> timestamp_;       ///< of the last frame
  std::int64_t bitrate_ = 0;
  double frames_per_second_ = 0;
  Duration longest_without_key_{}, step_{};
  Way way_ = Way::whole;
  bool skips_ = false, key_wanted_ = false;
  std::optional<TimePoint> changes_since_; ///< it would go another way
  TimePoint changes_seen_{};               ///< ... and when it last would have
  std::optional<TimePoint> key_sent_, whole_since_;
  Duration patience_;
};

} // namespace satsuma::client
