#include "participant/sound_control.h"

#include <algorithm>

namespace satsuma::participant {

namespace {

/// Of each packet: sound has no descriptors.
constexpr std::int64_t packet_overhead = 96;
constexpr Duration max_patience = std::chrono::seconds(60);
constexpr Duration trial = std::chrono::seconds(8), room_patience = std::chrono::seconds(2);
/// Once it was tried to go back to all of it: too early is what ends so soon.
constexpr Duration soon = std::chrono::seconds(10);
constexpr std::int64_t unlimited = 1'000'000'000'000;

} // namespace

std::int64_t SoundControl::on_the_wire(const SoundFormat& format) { return format.bitrate + packet_overhead * 8 * 1'000'000 / format.packet.count(); }

void SoundControl::update(TimePoint now, std::optional<std::int64_t> available, bool full) {
  const std::int64_t most = on_the_wire(full_sound);
  const std::int64_t left = available.value_or(unlimited);
  if (!narrow_) {
    const Duration since = raised_at_ ? now - *raised_at_ : Duration::max();
    if (since >= soon) patience_ = first_patience;
    // The estimate follows what is sent, and what was sent was little.
    if (left * 10 >= most * 11 || (since < trial && !full)) return;
    narrow_ = true;
    calm_since_.reset();
    room_since_.reset();
    if (since < soon) patience_ = std::min(2 * patience_, max_patience);
    return;
  }
  if (left * 10 < most * 16) room_since_.reset();
  else if (!room_since_) room_since_ = now;
  if (full) calm_since_.reset();
  else if (!calm_since_) calm_since_ = now;
  const bool room = room_since_ && now - *room_since_ >= room_patience;
  // With sound alone little is learned of what a path carries: after a while it is tried.
  if (!room && (!calm_since_ || now - *calm_since_ < patience_)) return;
  narrow_ = false;
  raised_at_ = now;
}

} // namespace satsuma::participant
