#include "io/shard_link.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace satsuma::io {

std::shared_ptr<ShardBell> ShardBell::make() {
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) return nullptr;
  return std::shared_ptr<ShardBell>(new ShardBell(event));
}

ShardBell::~ShardBell() { ::close(event_); }

void ShardBell::ring() {
  // Whoever finds it rung already knows that the other has not looked since, and will see the message.
  if (rung_.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_, &one, sizeof one);
}

void ShardBell::answer() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_, &count, sizeof count);
  rung_.exchange(false, std::memory_order_acq_rel);
}

bool ShardLink::put(const sfu::ShardMessage& message) {
  const std::size_t at = sent_.load(std::memory_order_relaxed);
  if (at - taken_seen_ == capacity) {
    taken_seen_ = taken_.load(std::memory_order_acquire);
    if (at - taken_seen_ == capacity) return false;
  }
  if (!cells_) cells_ = std::make_unique_for_overwrite<Cell[]>(capacity);
  Cell& cell = cells_[at & (capacity - 1)];
  cell.message = message;
  if (auto* const packet = std::get_if<sfu::RelayedPacket>(&cell.message)) {
    const std::size_t size = packet->media.payload.size();
    const ByteView descriptor = packet->media.descriptor ? packet->media.descriptor->value : ByteView{};
    if (size + descriptor.size() > max_payload) return false;
    std::copy(packet->media.payload.begin(), packet->media.payload.end(), cell.payload.begin());
    std::copy(descriptor.begin(), descriptor.end(), cell.payload.begin() + static_cast<std::ptrdiff_t>(size));
    packet->media.payload = ByteView(cell.payload).first(size);
    if (packet->media.descriptor) packet->media.descriptor->value = ByteView(cell.payload).subspan(size, descriptor.size());
  }
  sent_.store(at + 1, std::memory_order_release);
  return true;
}

bool ShardLink::send_waiting() {
  bool any = false;
  while (!waiting_.empty() && put(waiting_.front())) {
    waiting_.pop_front();
    any = true;
  }
  return any;
}

bool ShardLink::send(const sfu::ShardMessage& message) {
  if (waiting_.empty() && put(message)) return true;
  if (!sfu::must_arrive(message) || waiting_.size() == max_waiting) return false;
  waiting_.push_back(message);
  return true;
}

const sfu::ShardMessage* ShardLink::front() {
  const std::size_t at = taken_.load(std::memory_order_relaxed);
  return at == sent_.load(std::memory_order_acquire) ? nullptr : &cells_[at & (capacity - 1)].message;
}

void ShardLink::pop() { taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

} // namespace satsuma::io
