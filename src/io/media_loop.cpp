#include "io/media_loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "io/clock.h"
#include "io/turn_pace.h"

namespace satsuma::io {

namespace {

// Datagrams taken from one socket before the others and commands have their turn; of one batch more, since a message may hold many.
constexpr std::size_t max_datagrams_per_turn = 512;
/// What waits to be sent is said to have left when it was decided, so it is not to wait for long; runs for UDP_SEGMENT want some.
constexpr std::size_t max_pending = 512;

constexpr std::uint64_t wake_tag = ~std::uint64_t{0};
constexpr std::uint64_t timer_tag = wake_tag - 1;
constexpr std::uint64_t bell_tag = wake_tag - 2;

void signal(int event) {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then it is readable already.
  [[maybe_unused]] const ssize_t written = ::write(event, &one, sizeof one);
}

void drain(int event) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event, &count, sizeof count);
}

} // namespace

Result<std::unique_ptr<MediaLoop>> MediaLoop::start(std::vector<UdpSocket> sockets, sfu::Sfu sfu, MediaStreams streams) {
  std::unique_ptr<MediaLoop> loop(new MediaLoop(std::move(sockets), std::move(sfu), std::move(streams)));
  if (!loop->prepare()) return media_loop_failed;
  loop->thread_ = std::thread([self = loop.get()] { self->run(); });
  pthread_setname_np(loop->thread_.native_handle(), "media");
  if (pthread_getcpuclockid(loop->thread_.native_handle(), &loop->clock_) != 0) return media_loop_failed;
  return loop;
}

MediaLoop::MediaLoop(std::vector<UdpSocket> sockets, sfu::Sfu sfu, MediaStreams streams)
    : sockets_(std::move(sockets)), sfu_(std::move(sfu)), streams_(std::move(streams)) {
  for (const UdpSocket& socket : sockets_) local_addresses_.push_back(socket.local());
}

bool MediaLoop::prepare() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  events_ready_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  bell_ = ShardBell::make();
  if (epoll_ < 0 || timer_ < 0 || wake_ < 0 || events_ready_ < 0 || !bell_) return false;
  const auto watch = [this](int descriptor, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
  };
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    if (!watch(sockets_[i].descriptor(), i)) return false;
  }
  return streams_.watch(epoll_) && watch(wake_, wake_tag) && watch(timer_, timer_tag) && watch(bell_->descriptor(), bell_tag);
}

MediaLoop::~MediaLoop() {
  stop();
  for (const Adopted& waiting : adopted_) ::close(waiting.descriptor);
  for (int descriptor : {epoll_, timer_, wake_, events_ready_}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

void MediaLoop::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(commands_mutex_);
    stopping_ = true;
  }
  signal(wake_);
  thread_.join();
}

Result<void> MediaLoop::post(Command command) {
  bool first = false;
  {
    const std::lock_guard lock(commands_mutex_);
    if (stopping_) return media_loop_stopped;
    if (commands_.size() >= max_waiting_commands) return media_loop_busy;
    first = commands_.empty();
    commands_.push_back(std::move(command));
  }
  if (first) signal(wake_);
  return {};
}

Result<void> MediaLoop::adopt(int descriptor, const TransportAddress& remote, Bytes begun, const TransportAddress& counted) {
  {
    const std::lock_guard lock(commands_mutex_);
    if (stopping_ || adopted_.size() >= max_waiting_streams) {
      ::close(descriptor);
      if (stopping_) return media_loop_stopped;
      return media_loop_busy;
    }
    adopted_.push_back({descriptor, remote, std::move(begun), counted});
  }
  signal(wake_);
  return {};
}

std::vector<sfu::Output> MediaLoop::take_events() {
  std::vector<sfu::Output> taken;
  bool was_full = false;
  {
    const std::lock_guard lock(events_mutex_);
    drain(events_ready_);
    was_full = events_.size() >= max_waiting_events;
    taken.swap(events_);
  }
  if (was_full) signal(wake_); // the Sfu may hold more
  return taken;
}

MediaLoop::Counters MediaLoop::counters() const {
  return {datagrams_in_.load(std::memory_order_relaxed), datagrams_out_.load(std::memory_order_relaxed),
          datagrams_dropped_.load(std::memory_order_relaxed), send_calls_.load(std::memory_order_relaxed),
          receive_failures_.load(std::memory_order_relaxed), shard_messages_dropped_.load(std::memory_order_relaxed), processor_time(), streams_open_.load(std::memory_order_relaxed),
          {streams_accepted_.load(std::memory_order_relaxed), streams_refused_.load(std::memory_order_relaxed),
           streams_strange_.load(std::memory_order_relaxed), streams_silent_.load(std::memory_order_relaxed),
           streams_slow_.load(std::memory_order_relaxed)}};
}

Duration MediaLoop::processor_time() const {
  timespec used{};
  if (clock_gettime(clock_, &used) != 0) return {}; // the thread has ended
  return std::chrono::duration_cast<Duration>(std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec));
}

void MediaLoop::connect(MediaLoop& a, std::size_t part_a, MediaLoop& b, std::size_t part_b) {
  auto forth = std::make_shared<ShardLink>(), back = std::make_shared<ShardLink>();
  // The threads take them up themselves, so that nothing of theirs is written by another.
  (void)a.post([&a, part_b, forth, back, bell = b.bell_](TimePoint, sfu::Sfu&) { a.neighbours_.push_back({part_b, forth, back, bell}); });
  (void)b.post([&b, part_a, forth, back, bell = a.bell_](TimePoint, sfu::Sfu&) { b.neighbours_.push_back({part_a, back, forth, bell}); });
}

void MediaLoop::send_to_shards() {
  const std::span<const sfu::OutgoingShardMessage> messages = sfu_.pending_for_shards();
  for (Neighbour& neighbour : neighbours_) {
    bool any = neighbour.to->send_waiting();
    for (const sfu::OutgoingShardMessage& message : messages) {
      if (message.shard != neighbour.part) continue;
      if (neighbour.to->send(message.message))
        any = true;
      else
        shard_messages_dropped_.fetch_add(1, std::memory_order_relaxed);
    }
    if (any) neighbour.bell->ring();
  }
}

void MediaLoop::receive_from_shards() {
  bell_->answer();
  bool more = false;
  for (Neighbour& neighbour : neighbours_) {
    const TimePoint now = monotonic_now();
    std::size_t taken = 0;
    while (const sfu::ShardMessage* const message = neighbour.from->front()) {
      if (taken++ == ShardLink::capacity) { // others have their turn
        more = true;
        break;
      }
      sfu_.handle_from_shard(now, neighbour.part, *message);
      neighbour.from->pop();
      if (taken % receive_batch_size == 0 || sfu_.pending_count() >= max_pending) flush(); // each is sent to all who are here
    }
    flush();
  }
  if (more) {
    bell_->ring();
    work_left_ = true;
  }
}

void MediaLoop::run() {
  std::array<epoll_event, 64> ready;
  TurnPace pace;
  prctl(PR_SET_TIMERSLACK, 1ul); // what waits for its turn is not to wait a tenth longer
  while (!stopping_) {
    const Duration wait = pace.begin(monotonic_now());
    if (!std::exchange(work_left_, false) && wait > Duration{}) std::this_thread::sleep_for(wait);
    arm_timer(monotonic_now());
    const int count = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), -1);
    if (count < 0 && errno != EINTR) break; // our own descriptors are gone: nothing can be done here
    work_left_ = count == static_cast<int>(ready.size());
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = ready[static_cast<std::size_t>(i)].data.u64;
      if (tag == wake_tag) {
        drain(wake_);
        events_full_ = false; // if they still are, one more makes it true again
        run_commands(monotonic_now());
        adopt_waiting(monotonic_now());
      } else if (tag == timer_tag) {
        drain(timer_);
        armed_for_.reset();
      } else if (tag == bell_tag) {
        receive_from_shards();
      } else if (tag >= MediaStreams::listener_tag) {
        streams_.accept(monotonic_now(), static_cast<std::size_t>(tag - MediaStreams::listener_tag));
      } else if (tag >= MediaStreams::first_number) {
        const auto number = static_cast<std::uint32_t>(tag);
        if ((ready[static_cast<std::size_t>(i)].events & EPOLLOUT) != 0) streams_.handle_writable(number);
        receive_stream(number); // an error shows in reading
      } else {
        receive(static_cast<std::size_t>(tag));
      }
    }
    const TimePoint now = monotonic_now();
    streams_.handle_timeout(now);
    if (const auto deadline = sfu_.next_deadline(); deadline && *deadline <= now) sfu_.handle_timeout(now);
    flush();
    for (const NetworkPath& path : streams_.take_closed()) {
      sfu_.handle_path_closed(now, path);
      flush();
    }
    publish_events();
    count_streams();
  }
}

void MediaLoop::count_streams() {
  const MediaStreams::Counters& counters = streams_.counters();
  streams_open_.store(streams_.size(), std::memory_order_relaxed);
  streams_accepted_.store(counters.accepted, std::memory_order_relaxed);
  streams_refused_.store(counters.refused, std::memory_order_relaxed);
  streams_strange_.store(counters.closed_strange, std::memory_order_relaxed);
  streams_silent_.store(counters.closed_silent, std::memory_order_relaxed);
  streams_slow_.store(counters.dropped_slow, std::memory_order_relaxed);
}

void MediaLoop::receive_stream(std::uint32_t number) {
  const TimePoint now = monotonic_now();
  streams_.receive(
      now, number,
      [&](const NetworkPath& path, MutableByteView datagram) {
        datagrams_in_.fetch_add(1, std::memory_order_relaxed);
        sfu_.handle_packet(now, path, datagram);
        if (sfu_.pending_count() >= max_pending) flush();
      },
      [&](const NetworkPath& path) { return sfu_.knows_path(path); });
  flush();
}

void MediaLoop::adopt_waiting(TimePoint now) {
  std::vector<Adopted> adopted;
  {
    const std::lock_guard lock(commands_mutex_);
    adopted.swap(adopted_);
  }
  for (const Adopted& one : adopted) {
    const auto number = streams_.adopt(now, one.descriptor, one.remote, one.begun, one.counted);
    if (number) receive_stream(*number); // epoll does not tell of what has been read
  }
}

void MediaLoop::receive(std::size_t socket) {
  for (std::size_t taken = 0; taken < max_datagrams_per_turn;) {
    const auto received = sockets_[socket].receive();
    if (!received) {
      receive_failures_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (received->empty()) return;
    taken += received->size();
    TimePoint now = monotonic_now();
    datagrams_in_.fetch_add(received->size(), std::memory_order_relaxed);
    for (std::size_t i = 0; i < received->size();) {
      // Those of one sender together.
      const TransportAddress& remote = (*received)[i].remote;
      run_.clear();
      for (; i < received->size() && (*received)[i].remote == remote && run_.size() < max_segments; ++i) run_.push_back({(*received)[i].bytes, (*received)[i].arrived});
      for (bool more = sfu_.handle_packets(now, {remote, static_cast<std::uint32_t>(socket)}, run_); more; more = sfu_.forward_more(now)) flush();
      if (sfu_.pending_count() < max_pending) continue;
      flush();
      now = monotonic_now();
      if (const auto deadline = sfu_.next_deadline(); deadline && *deadline <= now) sfu_.handle_timeout(now); // what is paced does not wait for the rest
    }
    flush();
    if (received->size() < receive_batch_size) return;
  }
  work_left_ = true;
}

void MediaLoop::run_commands(TimePoint now) {
  {
    const std::lock_guard lock(commands_mutex_);
    running_.swap(commands_);
  }
  for (Command& command : running_) command(now, sfu_);
  running_.clear();
}

void MediaLoop::flush() {
  const std::span<const sfu::OutgoingDatagram> pending = sfu_.pending_datagrams();
  // Datagrams of one socket at a time, in their order.
  for (std::uint32_t socket = 0; socket < sockets_.size() && !pending.empty(); ++socket) {
    outgoing_.clear();
    for (const sfu::OutgoingDatagram& datagram : pending) {
      if (datagram.path.socket == socket) outgoing_.push_back({datagram.path.remote, datagram.bytes});
    }
    if (outgoing_.empty()) continue;
    const UdpSocket::Sent sent = sockets_[socket].send(outgoing_);
    datagrams_out_.fetch_add(sent.datagrams, std::memory_order_relaxed);
    datagrams_dropped_.fetch_add(sent.dropped, std::memory_order_relaxed);
    send_calls_.fetch_add(sent.calls, std::memory_order_relaxed);
  }
  if (streams_.size() > 0) {
    // The Sfu gives what belongs to one connection side by side.
    for (std::size_t i = 0; i < pending.size();) {
      const NetworkPath path = pending[i].path;
      outgoing_.clear();
      for (; i < pending.size() && pending[i].path == path; ++i) outgoing_.push_back({path.remote, pending[i].bytes});
      if (!path.is_stream()) continue;
      const UdpSocket::Sent sent = streams_.send(path.socket, outgoing_);
      datagrams_out_.fetch_add(sent.datagrams, std::memory_order_relaxed);
      datagrams_dropped_.fetch_add(sent.dropped, std::memory_order_relaxed);
      send_calls_.fetch_add(sent.calls, std::memory_order_relaxed);
    }
  }
  send_to_shards();
  if (!pending.empty() || !sfu_.pending_for_shards().empty()) sfu_.clear_datagrams();
}

void MediaLoop::publish_events() {
  // The lock is taken only when there is something, so that the media path has none.
  bool any = false;
  while (!events_full_) {
    std::optional<sfu::Output> output = sfu_.poll_output();
    if (!output) break;
    const std::lock_guard lock(events_mutex_);
    events_.push_back(std::move(*output));
    events_full_ = events_.size() >= max_waiting_events;
    any = true;
  }
  if (any) signal(events_ready_);
}

void MediaLoop::arm_timer(TimePoint now) {
  std::optional<TimePoint> deadline = sfu_.next_deadline();
  if (const auto streams = streams_.next_deadline(); streams && (!deadline || *streams < *deadline)) deadline = streams;
  if (deadline == armed_for_) return;
  armed_for_ = deadline;
  itimerspec spec{};
  if (deadline) {
    // A time of zero would disarm it.
    const auto wait = std::max(std::chrono::duration_cast<std::chrono::nanoseconds>(*deadline - now), std::chrono::nanoseconds(1));
    spec.it_value.tv_sec = static_cast<time_t>(wait.count() / 1'000'000'000);
    spec.it_value.tv_nsec = static_cast<long>(wait.count() % 1'000'000'000);
  }
  timerfd_settime(timer_, 0, &spec, nullptr);
}

} // namespace satsuma::io
