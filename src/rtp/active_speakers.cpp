#include "rtp/active_speakers.h"

#include <algorithm>

namespace satsuma::rtp {

namespace {

constexpr double threshold = -50;            // dBov; speech has -20 to -40, a quiet room -60
constexpr double above_background = 8;       // dB
constexpr double quietest_background = -70;  // dBov
constexpr double background_rise = 2;        // dB a second
constexpr Duration attack = std::chrono::milliseconds(50), release = std::chrono::milliseconds(150);
constexpr Duration established = std::chrono::milliseconds(300);
constexpr Duration pause = std::chrono::milliseconds(900);
/// A level holds no longer than this: senders that stop sending in silence (DTX) say nothing.
constexpr Duration stale = std::chrono::milliseconds(300);

} // namespace

void ActiveSpeakers::handle_level(TimePoint now, Who who, std::uint8_t level) {
  const double dbov = -static_cast<double>(std::min<std::uint8_t>(level, 127));
  auto voice = std::find_if(voices_.begin(), voices_.end(), [who](const Voice& v) { return v.who == who; });
  if (voice == voices_.end()) {
    if (voices_.size() == max_voices) return;
    Voice fresh;
    fresh.who = who;
    fresh.level = -127;
    fresh.background = quietest_background;
    fresh.at = now;
    voices_.push_back(fresh);
    voice = voices_.end() - 1;
  }
  const Duration passed = std::clamp(now - voice->at, Duration(std::chrono::milliseconds(1)), stale);
  const double share = static_cast<double>(passed.count()) / static_cast<double>((dbov > voice->level ? attack : release).count());
  voice->level += (dbov - voice->level) * std::min(1.0, share);
  voice->background = std::max(quietest_background, std::min(voice->background + background_rise * static_cast<double>(passed.count()) / 1e6, voice->level));
  voice->at = now;
  const bool loud = voice->level >= threshold && voice->level >= voice->background + above_background;
  if (!loud) {
    voice->loud_since.reset();
    return;
  }
  if (!voice->loud_since) voice->loud_since = now;
  if (!voice->began && now - *voice->loud_since >= established) voice->began = *voice->loud_since;
  if (voice->began) voice->heard = now;
}

void ActiveSpeakers::remove(Who who) {
  std::erase_if(voices_, [who](const Voice& v) { return v.who == who; });
  const auto place = std::find(ranking_.begin(), ranking_.end(), who);
  if (place == ranking_.end()) return;
  if (static_cast<std::size_t>(place - ranking_.begin()) < speaking_) --speaking_;
  ranking_.erase(place);
  removed_ = true;
}

bool ActiveSpeakers::update(TimePoint now) {
  for (Voice& voice : voices_) {
    if (now - voice.at > stale) voice.loud_since.reset();
    if (voice.began && now - *voice.heard > pause) voice.began.reset();
  }
  std::sort(voices_.begin(), voices_.end(), [](const Voice& a, const Voice& b) {
    if (a.began.has_value() != b.began.has_value()) return a.began.has_value();
    if (a.began && *a.began != *b.began) return *a.began < *b.began;
    if (!a.began && a.heard != b.heard) return a.heard > b.heard; // never heard comes last
    return a.who < b.who;
  });
  next_.clear();
  std::size_t speaking = 0;
  for (const Voice& voice : voices_) {
    if (!voice.heard) break;
    if (voice.began) ++speaking;
    next_.push_back(voice.who);
  }
  const bool changed = removed_ || speaking != speaking_ || next_ != ranking_;
  removed_ = false;
  ranking_.swap(next_);
  speaking_ = speaking;
  return changed;
}

bool ActiveSpeakers::speaks(Who who) const {
  const auto now_speaking = ranking().first(speaking_);
  return std::find(now_speaking.begin(), now_speaking.end(), who) != now_speaking.end();
}

} // namespace satsuma::rtp
