#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "congestion/pacing_budget.h"
#include "rtp/sequence.h"

namespace satsuma::sfu {

/// When the video packets of one subscriber leave: no faster than the pacing rate, so that what several publishers send at the same moment does not
/// become one burst in the subscriber's bottleneck. Retransmissions go before new packets. Sound does not wait here at all.
///
/// Holds no bytes: an item names a packet in a publication's history. Memory is taken when the first packet has to wait.
class Pacer {
 public:
  /// Of each kind; a power of two. More than this is a second and more at any rate that is worth pacing.
  static constexpr std::size_t max_waiting = 512;
  static constexpr std::int64_t most_haste = 2;

  struct Item {
    std::uint32_t slot = 0;
    std::uint32_t assignment = 0;                 ///< Slot::assignments() when it was decided
    std::uint32_t generation = 0;                 ///< of the encoding
    rtp::ExtendedSequence original = 0;           ///< of the encoding's numbers
    std::uint8_t encoding = 0;
    std::uint16_t sequence = 0;                   ///< what it goes out as
    std::uint32_t timestamp = 0;
    std::uint16_t picture_id = 0;
    std::uint8_t tl0_picture_index = 0;
    bool marker = false;
    std::optional<std::uint16_t> rtx_sequence;    ///< a retransmission
    std::uint16_t size = 0;                       ///< of the payload
    TimePoint since{};
    bool key_frame = false;                       ///< a part of one
  };

  /// Bits per second; 0: as fast as they come. What waits leaves faster than that, by most_haste, if it would take longer than `within`.
  void set_rate(std::int64_t bitrate, Duration within = Duration::max()) {
    rate_ = bitrate;
    within_ = within;
    if (!hurries()) end_haste();
    budget_.set_rate(rate());
  }
  bool hurries() const { return within_ != Duration::max(); }
  std::int64_t rate() const { return std::max(rate_, haste_); }

  /// Nothing waits, and a packet may leave at once.
  bool ready(TimePoint now) { return waiting() == 0 && budget_.ready(now); }
  /// A packet left, at whatever place it was decided.
  void count(TimePoint now, std::size_t size) { budget_.count(now, size); }
  /// Nothing leaves for so long: a queue behind us is to drain first, and what would overflow it waits here.
  void hold(TimePoint now, Duration time) { budget_.hold(now, time); }
  /// False when there is no room: the packet is lost.
  bool push(const Item& item);
  /// What may leave now.
  std::optional<Item> poll(TimePoint now);

  void remove_slot(std::uint32_t slot) {
    remove_slot(slot, [](const Item&) {});
  }
  /// Calls `removed` for each.
  template <class F>
  void remove_slot(std::uint32_t slot, F&& removed);
  void clear();
  std::size_t waiting() const { return retransmissions_.size + packets_.size; }
  std::size_t waiting_bytes() const { return bytes_; }
  /// How long the oldest new packet has waited. A key frame takes as long as it takes, since it would not be quicker a second time, and what follows it has its time
  /// from its end on.
  Duration age(TimePoint now) const {
    return packets_.size == 0 || packets_.front().key_frame ? Duration{} : now - std::max(packets_.front().since, key_frame_left_);
  }

 private:
  struct Queue {
    std::vector<Item> items;
    std::size_t begin = 0, size = 0;
    const Item& front() const { return items[begin & (max_waiting - 1)]; }
  };

  /// What left in haste is no debt.
  void end_haste() {
    if (haste_ == 0) return;
    haste_ = 0;
    budget_.set_rate(rate_);
    budget_.forgive();
  }

  congestion::PacingBudget budget_{std::chrono::milliseconds(250)};
  std::int64_t rate_ = 0;
  Duration within_ = Duration::max();
  std::int64_t haste_ = 0; ///< what it takes to be done within that, until nothing waits
  TimePoint key_frame_left_{};
  std::size_t bytes_ = 0;
  Queue retransmissions_, packets_;
};

template <class F>
void Pacer::remove_slot(std::uint32_t slot, F&& removed) {
  for (Queue* const queue : {&retransmissions_, &packets_}) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < queue->size; ++i) {
      const Item item = queue->items[(queue->begin + i) & (max_waiting - 1)];
      if (item.slot == slot) {
        bytes_ -= item.size;
        removed(item);
      } else {
        queue->items[(queue->begin + kept++) & (max_waiting - 1)] = item;
      }
    }
    queue->size = kept;
  }
  if (waiting() == 0) end_haste();
}

} // namespace satsuma::sfu
