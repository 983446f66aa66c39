#include "film.h"

#include <algorithm>
#include <cmath>

namespace satsuma::client {

namespace {

/// Estimates err for a moment, and the first one is a guess.
constexpr Duration patience_without_room = std::chrono::seconds(2);
/// While a probe is judged the estimate falls for a moment.
constexpr Duration blink = std::chrono::milliseconds(500);
/// With room it becomes whole after so long; longer each time that this was too early.
constexpr Duration first_patience = std::chrono::seconds(3), max_patience = std::chrono::seconds(30), soon = std::chrono::seconds(15);
/// Between two key frames, where nothing else is sent.
constexpr Duration least_between_keys = std::chrono::seconds(1);
constexpr Duration least_step = std::chrono::milliseconds(5), most_step = std::chrono::seconds(2);

} // namespace

Result<Film> Film::open(ByteView file) {
  SATSUMA_TRY(const container::IvfReader reader, container::IvfReader::open(file));
  Film film(reader);
  film.patience_ = first_patience;
  container::IvfReader scan = reader;
  std::uint64_t first = 0, last = 0, last_key = 0, longest = 0, frames = 0, bytes = 0;
  for (auto frame = scan.next(); frame && *frame; frame = scan.next(), ++frames) {
    const bool key = container::is_vp8_key_frame((*frame)->data);
    if (frames == 0 && !key) return film_begins_without_key_frame;
    if (frames == 0) first = last = last_key = (*frame)->timestamp;
    last = std::max(last, (*frame)->timestamp);
    if (last > last_key) longest = std::max(longest, last - last_key);
    if (key) last_key = last;
    bytes += (*frame)->data.size();
  }
  if (frames == 0) return film_begins_without_key_frame;
  const auto in_time = [&](std::uint64_t units) { return static_cast<double>(units) * reader.time_base(); };
  const double length = frames > 1 ? in_time(last - first) * static_cast<double>(frames) / static_cast<double>(frames - 1) : 0;
  film.frames_per_second_ = length > 0 ? std::min(static_cast<double>(frames) / length, 200.0) : 1;
  film.step_ = Duration(std::llround(1e6 / film.frames_per_second_));
  film.bitrate_ = static_cast<std::int64_t>(static_cast<double>(bytes) * 8 * film.frames_per_second_ / static_cast<double>(frames));
  film.longest_without_key_ = Duration(static_cast<Duration::rep>(std::min(in_time(longest), 1e6) * 1e6));
  return film;
}

std::optional<container::IvfReader::Frame> Film::read() {
  container::IvfReader here = at_;
  auto next = at_.next();
  if (!next || !*next) { // from the beginning, which is a key frame
    at_.rewind();
    here = at_;
    timestamp_.reset();
    next = at_.next();
    if (!next || !*next) return std::nullopt;
  }
  const auto& frame = **next;
  if (container::is_vp8_key_frame(frame.data)) last_key_ = here;
  if (timestamp_ && frame.timestamp > *timestamp_) {
    const double seconds = static_cast<double>(frame.timestamp - *timestamp_) * at_.time_base();
    step_ = Duration(std::llround(std::min(seconds, 10.0) * 1e6));
  }
  timestamp_ = frame.timestamp;
  return frame;
}

void Film::choose_way(TimePoint now, bool room) {
  if (room == (way_ == Way::whole)) {
    if (now - changes_seen_ > blink) changes_since_.reset();
    if (whole_since_ && now - *whole_since_ >= soon) patience_ = first_patience;
    return;
  }
  if (!changes_since_) changes_since_ = now;
  changes_seen_ = now;
  if (now - *changes_since_ < (way_ == Way::whole ? patience_without_room : patience_)) return;
  changes_since_.reset();
  skips_ = true; // either way it goes on with a key frame
  if (way_ == Way::whole) {
    way_ = Way::key_frames;
    if (whole_since_ && now - *whole_since_ < soon) patience_ = std::min(2 * patience_, max_patience);
  } else {
    way_ = Way::whole;
    whole_since_ = now;
  }
}

Film::Step Film::next(TimePoint now, bool room, bool busy) {
  choose_way(now, room);
  if (key_wanted_ && last_key_) {
    if (way_ == Way::whole && !skips_) {
      key_wanted_ = false;
      at_ = *last_key_;
      timestamp_.reset();
    } else if (way_ == Way::key_frames && !busy && (!key_sent_ || now - *key_sent_ >= least_between_keys)) {
      container::IvfReader again = *last_key_;
      const auto frame = again.next();
      key_sent_ = now;
      key_wanted_ = false;
      return {(*frame)->data, true, std::clamp(step_, least_step, most_step)};
    }
  }
  const auto frame = read();
  const Duration step = std::clamp(step_, least_step, most_step);
  if (!frame) return {{}, false, step};
  const bool key = container::is_vp8_key_frame(frame->data);
  if (way_ == Way::whole) {
    if (skips_ && !key) return {{}, false, step};
    skips_ = false;
  } else {
    if (!key || busy || (key_sent_ && now - *key_sent_ < least_between_keys)) return {{}, false, step};
  }
  if (key) {
    key_sent_ = now;
    key_wanted_ = false;
  }
  return {frame->data, key, step};
}

} // namespace satsuma::client
