#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace satsuma::participant {

/// How sound is encoded.
struct SoundFormat {
  std::int64_t bitrate = 0; ///< of Opus
  Duration packet{};
  friend bool operator==(const SoundFormat&, const SoundFormat&) = default;
};
/// Half of what a small packet takes is what stands around it, so where the path is narrow fewer bits go over it in longer packets.
inline constexpr SoundFormat full_sound{32'000, std::chrono::milliseconds(20)}, narrow_sound{14'000, std::chrono::milliseconds(40)};

/// Sound has no less room than all the rest; where the path has not even room for that, sound itself takes less. Down at once, up after a while.
class SoundControl {
 public:
  /// `available`: bits per second on the wire for everything; no value: as many as it likes. `full`: a queue is there, or was a moment ago.
  void update(TimePoint now, std::optional<std::int64_t> available, bool full);
  SoundFormat format() const { return narrow_ ? narrow_sound : full_sound; }
  /// What a format takes, with all headers.
  static std::int64_t on_the_wire(const SoundFormat& format);

 private:
  static constexpr Duration first_patience = std::chrono::seconds(5);

  bool narrow_ = false;
  // While it takes less:
  std::optional<TimePoint> room_since_; ///< the path has plenty
  std::optional<TimePoint> calm_since_; ///< it has no queue
  std::optional<TimePoint> raised_at_;
  Duration patience_ = first_patience;
};

} // namespace satsuma::participant
