#include "participant/voices.h"

#include <algorithm>

namespace satsuma::participant {

void Voices::handle_said(TimePoint now, const IncarnationId& who) {
  const auto known = std::ranges::find(said_, who, &Voice::who);
  if (known != said_.end()) {
    if (now - known->at < least_interval) return;
    said_.erase(known);
  }
  said_.insert(said_.begin(), {who, now});
}

void Voices::handle_heard(TimePoint now, const IncarnationId& who) {
  const auto known = std::ranges::find(heard_, who, &Voice::who);
  if (known == heard_.end()) heard_.push_back({who, now});
  else known->at = now;
}

std::vector<IncarnationId> Voices::wanted(TimePoint now, const std::set<IncarnationId>& on) {
  std::erase_if(said_, [&](const Voice& voice) { return now - voice.at > kept; });
  std::erase_if(heard_, [&](const Voice& voice) { return now - voice.at > heard_for; });
  std::vector<IncarnationId> out;
  const auto take = [&](const Voice& voice) {
    if (out.size() < signaling::max_asked_voices && on.contains(voice.who) && std::ranges::find(out, voice.who) == out.end()) out.push_back(voice.who);
  };
  const auto old = std::ranges::find_if(said_, [&](const Voice& voice) { return now - voice.at > fresh; });
  std::for_each(said_.begin(), old, take);
  std::ranges::for_each(heard_, take);
  std::for_each(old, said_.end(), take);
  return out;
}

} // namespace satsuma::participant
