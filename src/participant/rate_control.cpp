#include "participant/rate_control.h"

#include <algorithm>
#include <utility>

namespace satsuma::participant {

namespace {

/// RTP with its extensions, SRTP, UDP and IP of each packet, and SFrame and the payload descriptor of each frame.
constexpr std::int64_t packet_overhead = 84, frame_overhead = 32;
constexpr std::int64_t packet_payload = 1100;

/// A size that was given up needs so much more than its least to come back, and for so long; longer each time that it had to go again soon.
constexpr std::int64_t margin_percent = 120;
constexpr Duration first_patience = std::chrono::milliseconds(1000);
constexpr Duration max_patience = std::chrono::seconds(8);
/// With so much more than that there is nothing to wait for.
constexpr std::int64_t plenty_percent = 250;
constexpr Duration plenty_patience = std::chrono::milliseconds(300);
/// The smallest goes on with its least for a while: estimates err for a moment, and with sound alone little is learned of what a path carries. It comes back at once.
constexpr Duration last_patience = std::chrono::seconds(2);
constexpr Duration soon = std::chrono::seconds(10);

constexpr std::int64_t unlimited = 1'000'000'000'000;

// A frame's last packet is half full in the mean.
std::int64_t of_frames(double frames_per_second) { return static_cast<std::int64_t>(frames_per_second * 8 * static_cast<double>(packet_overhead / 2 + frame_overhead)); }

std::int64_t with_headers(std::int64_t bitrate, std::int64_t per_second) { return bitrate + bitrate * packet_overhead / packet_payload + per_second; }

} // namespace

std::int64_t on_the_wire(std::int64_t bitrate, double frames_per_second) { return with_headers(bitrate, of_frames(frames_per_second)); }

RateControl::RateControl(std::vector<LayerRates> layers, double frames_per_second) : per_second_(of_frames(frames_per_second)) {
  for (const LayerRates& rates : layers) layers_.push_back({rates, 0, false, std::nullopt, std::nullopt, std::nullopt, first_patience});
}

std::int64_t RateControl::on_the_wire(std::int64_t bitrate) const { return with_headers(bitrate, per_second_); }
std::int64_t RateControl::within(std::int64_t wire) const {
  return std::max<std::int64_t>(0, (wire - per_second_) * packet_payload / (packet_payload + packet_overhead));
}

void RateControl::update(TimePoint now, std::optional<std::int64_t> available, std::span<const bool> wanted) {
  const auto is_wanted = [&](std::size_t i) { return i >= wanted.size() || wanted[i]; };
  std::int64_t left = std::min(available.value_or(unlimited), unlimited);
  std::vector<std::int64_t> chosen(layers_.size());
  used_ = desired_ = 0;
  limited_by_ = LimitedBy::nothing;
  // True when the size is to be sent; what it may have is taken off.
  bool first = true;
  const auto take = [&](std::size_t i) {
    Layer& layer = layers_[i];
    const bool last = std::exchange(first, false);
    if (left >= on_the_wire(layer.rates.least)) layer.no_room_since.reset();
    else if (!layer.no_room_since) layer.no_room_since = now;
    if (last) {
      if (layer.no_room_since && (layer.target == 0 || now - *layer.no_room_since >= last_patience)) return false;
    } else {
      const std::int64_t need = on_the_wire(layer.given_up ? layer.rates.least * margin_percent / 100 : layer.rates.least);
      if (left < need) {
        layer.room_since.reset();
        return false;
      }
      if (layer.given_up) {
        if (!layer.room_since) layer.room_since = now;
        if (now - *layer.room_since < (left * 100 >= need * plenty_percent ? plenty_patience : layer.patience)) return false;
      }
    }
    chosen[i] = std::clamp(within(left), layer.rates.least, layer.rates.most);
    left = std::max<std::int64_t>(0, left - on_the_wire(chosen[i]));
    return true;
  };

  std::optional<std::size_t> denied;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!is_wanted(i)) {
      limited_by_ = LimitedBy::view;
      continue;
    }
    desired_ += on_the_wire(layers_[i].rates.most);
    if (!denied && !take(i)) denied = i;
  }
  // Who watched a size that finds no room falls to the next that does, though nobody has asked for that yet.
  if (denied) {
    for (std::size_t i = *denied; i > 0 && chosen[i - 1] == 0; --i)
      if (take(i - 1)) break;
  }

  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    if (chosen[i] > 0) {
      if (layer.target == 0) layer.raised_at = now;
      else if (layer.raised_at && now - *layer.raised_at >= soon) layer.patience = first_patience;
      layer.given_up = false;
      layer.room_since.reset();
      used_ += on_the_wire(chosen[i]);
      if (chosen[i] < layer.rates.most) limited_by_ = LimitedBy::network;
    } else if (!denied) { // nobody wants it
      layer.given_up = false;
      layer.room_since.reset();
    } else if (layer.target > 0) {
      layer.given_up = true;
      if (layer.raised_at && now - *layer.raised_at < soon) layer.patience = std::min(2 * layer.patience, max_patience);
    }
    if (denied && i > *denied) layer.room_since.reset();
    layer.target = chosen[i];
  }
  if (denied) limited_by_ = LimitedBy::network;
}

} // namespace satsuma::participant
