#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/transport_address.h"

namespace satsuma::participant {

struct OutgoingDatagram {
  NetworkPath path;
  ByteView bytes;
};

/// Datagrams that wait to be sent, in memory that is used again. They are to be taken after each call; what nobody takes is bounded.
class SendQueue {
 public:
  static constexpr std::size_t max_bytes = 4U << 20;
  static constexpr std::size_t max_datagrams = 8192;

  /// Room for one datagram; empty when the queue is full. Spans given before are invalid.
  MutableByteView reserve(std::size_t size) {
    if (bytes_.size() + size > max_bytes || items_.size() >= max_datagrams) {
      ++dropped_;
      return {};
    }
    begin_ = bytes_.size();
    bytes_.resize(begin_ + size);
    return MutableByteView(bytes_).subspan(begin_);
  }
  /// The first `size` bytes of the latest reservation go out.
  void commit(const NetworkPath& path, std::size_t size) {
    bytes_.resize(begin_ + size);
    items_.push_back({path, begin_, size});
  }
  void abandon() { bytes_.resize(begin_); }
  void push(const NetworkPath& path, ByteView datagram) {
    const MutableByteView space = reserve(datagram.size());
    if (space.size() != datagram.size()) return;
    std::copy(datagram.begin(), datagram.end(), space.begin());
    commit(path, datagram.size());
  }

  bool empty() const { return items_.empty(); }
  /// Valid until the next call of anything else.
  std::span<const OutgoingDatagram> datagrams() {
    views_.clear();
    for (const Item& item : items_) views_.push_back({item.path, ByteView(bytes_).subspan(item.begin, item.size)});
    return views_;
  }
  void clear() {
    bytes_.clear();
    items_.clear();
  }
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Item {
    NetworkPath path;
    std::size_t begin = 0;
    std::size_t size = 0;
  };
  Bytes bytes_;
  std::vector<Item> items_;
  std::vector<OutgoingDatagram> views_;
  std::size_t begin_ = 0;
  std::uint64_t dropped_ = 0;
};

} // namespace satsuma::participant
