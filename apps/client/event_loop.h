#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/time.h"

namespace satsuma::client {

/// One thread's descriptors and timers.
class EventLoop {
 public:
  using Ready = std::function<void()>;
  using Timer = std::function<void(TimePoint now)>;
  using TimerId = std::pair<TimePoint, std::uint64_t>;

  EventLoop();
  EventLoop(const EventLoop&) = delete;
  ~EventLoop();

  /// Level-triggered. `ready` is called when there is something to read, and while `write` is on when there is room to write.
  void watch(int descriptor, Ready ready);
  void want(int descriptor, bool read, bool write);
  void want_write(int descriptor, bool write) { want(descriptor, true, write); }
  void forget(int descriptor);

  TimerId at(TimePoint time, Timer timer);
  void cancel(const TimerId& id) { timers_.erase(id); }

  /// Until stop(), or a signal to end (SIGINT, SIGTERM) has called `on_signal`, which may stop.
  void run();
  /// The same, for so long at most.
  void run_for(Duration duration);
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  void on_signal(std::function<void()> handler) { on_signal_ = std::move(handler); }

 private:
  struct Watched {
    int descriptor = -1;
    bool read = true, write = false;
    Ready ready;
  };
  int epoll_ = -1;
  int signals_ = -1;
  std::map<int, std::unique_ptr<Watched>> watched_;
  std::vector<std::unique_ptr<Watched>> forgotten_; ///< until the present turn is over
  std::map<TimerId, Timer> timers_;
  std::uint64_t last_timer_ = 0;
  bool stopped_ = false;
  std::function<void()> on_signal_;
};

} // namespace satsuma::client
