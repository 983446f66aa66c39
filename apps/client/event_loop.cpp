#include "event_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/result.h"
#include "io/clock.h"

namespace satsuma::client {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  SATSUMA_CHECK(epoll_ >= 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signals_ >= 0) {
    watch(signals_, [this] {
      signalfd_siginfo info;
      while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (on_signal_) on_signal_();
        else stop();
      }
    });
  }
}

EventLoop::~EventLoop() {
  if (signals_ >= 0) ::close(signals_);
  ::close(epoll_);
}

void EventLoop::watch(int descriptor, Ready ready) {
  auto& watched = watched_[descriptor];
  watched = std::make_unique<Watched>(descriptor, true, false, std::move(ready));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = watched.get();
  SATSUMA_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0);
}

void EventLoop::want(int descriptor, bool read, bool write) {
  const auto found = watched_.find(descriptor);
  if (found == watched_.end() || (found->second->read == read && found->second->write == write)) return;
  found->second->read = read;
  found->second->write = write;
  epoll_event event{};
  event.events = (read ? EPOLLIN : 0U) | (write ? EPOLLOUT : 0U);
  event.data.ptr = found->second.get();
  epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event);
}

void EventLoop::forget(int descriptor) {
  const auto found = watched_.find(descriptor);
  if (found == watched_.end()) return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
  found->second->descriptor = -1;
  forgotten_.push_back(std::move(found->second)); // its function may be the one that runs
  watched_.erase(found);
}

EventLoop::TimerId EventLoop::at(TimePoint time, Timer timer) {
  const TimerId id{time, ++last_timer_};
  timers_.emplace(id, std::move(timer));
  return id;
}

void EventLoop::run_for(Duration duration) {
  stopped_ = false;
  at(io::monotonic_now() + duration, [this](TimePoint) { stop(); });
  run();
  stopped_ = false;
}

void EventLoop::run() {
  std::array<epoll_event, 256> ready;
  while (!stopped_) {
    int wait_ms = -1;
    if (!timers_.empty()) {
      const Duration until = timers_.begin()->first.first - io::monotonic_now();
      // Rounded up: woken a moment too early it would spin.
      wait_ms = static_cast<int>(std::clamp<std::int64_t>((until.count() + 999) / 1000, 0, 60'000));
    }
    const int count = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), wait_ms);
    for (int i = 0; i < count && !stopped_; ++i) {
      auto* const watched = static_cast<Watched*>(ready[static_cast<std::size_t>(i)].data.ptr);
      if (watched->descriptor >= 0) watched->ready();
    }
    const TimePoint now = io::monotonic_now();
    while (!stopped_ && !timers_.empty() && timers_.begin()->first.first <= now) {
      const Timer timer = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      timer(now);
    }
    forgotten_.clear();
  }
}

} // namespace satsuma::client
