#include "sfu/pacer.h"

namespace satsuma::sfu {

bool Pacer::push(const Item& item) {
  Queue& queue = item.rtx_sequence ? retransmissions_ : packets_;
  if (queue.size == max_waiting) return false;
  if (queue.items.empty()) queue.items.resize(max_waiting);
  queue.items[(queue.begin + queue.size) & (max_waiting - 1)] = item;
  ++queue.size;
  bytes_ += item.size;
  if (hurries()) {
    haste_ = std::max(haste_, std::min(static_cast<std::int64_t>(bytes_) * 8'000'000 / within_.count(), most_haste * rate_));
    budget_.set_rate(rate());
  }
  return true;
}

std::optional<Pacer::Item> Pacer::poll(TimePoint now) {
  if (waiting() == 0 || !budget_.ready(now)) return std::nullopt;
  Queue& queue = retransmissions_.size > 0 ? retransmissions_ : packets_;
  const Item item = queue.front();
  ++queue.begin;
  --queue.size;
  bytes_ -= item.size;
  if (waiting() == 0) end_haste();
  if (item.key_frame) key_frame_left_ = now;
  return item;
}

void Pacer::clear() {
  retransmissions_.size = packets_.size = 0;
  bytes_ = 0;
  end_haste();
}

} // namespace satsuma::sfu
