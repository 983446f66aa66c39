#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "sfu/shard_message.h"

namespace satsuma::io {

/// Wakes a media thread that sleeps in epoll, once for all that waits for it.
class ShardBell {
 public:
  /// Null when the system has no descriptors left.
  static std::shared_ptr<ShardBell> make();
  ShardBell(const ShardBell&) = delete;
  ~ShardBell();

  /// From any thread, after the message is in its queue.
  void ring();
  /// By the thread that is woken, before it looks into its queues.
  void answer();
  int descriptor() const { return event_; }

 private:
  explicit ShardBell(int event) : event_(event) {}

  int event_;
  std::atomic<bool> rung_ = false;
};

/// A queue from one media thread to another: one of them sends and one takes, with neither lock nor allocation for a packet. Packets are lost when it is
/// full; what must arrive waits with the sender, and everything behind it.
class ShardLink {
 public:
  /// Some 80 ms of 25 cameras; the memory (1.9 MB) is there from the first message on. A power of two.
  static constexpr std::size_t capacity = 1024;
  /// Each is about one source of one person.
  static constexpr std::size_t max_waiting = 16 * 1024;

  // ---- the sender's
  /// Copies the message and its payload. False: it is lost.
  bool send(const sfu::ShardMessage& message);
  /// What had to wait. True if something went.
  bool send_waiting();

  // ---- the taker's
  /// Null when there is nothing. Valid until pop(), as is its payload.
  const sfu::ShardMessage* front();
  void pop();

 private:
  static constexpr std::size_t max_payload = 1600;
  struct Cell {
    sfu::ShardMessage message;
    std::array<std::uint8_t, max_payload> payload;
  };
  bool put(const sfu::ShardMessage& message);

  std::unique_ptr<Cell[]> cells_; ///< made by the sender, before sent_ says that there is something
  std::deque<sfu::ShardMessage> waiting_;
  alignas(64) std::atomic<std::size_t> sent_ = 0;  ///< written by the sender
  std::size_t taken_seen_ = 0;                     ///< what the sender knows of taken_
  alignas(64) std::atomic<std::size_t> taken_ = 0; ///< written by the taker
};

} // namespace satsuma::io
