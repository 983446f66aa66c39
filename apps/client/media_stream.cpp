#include "media_stream.h"

#include <array>

#include "io/clock.h"

namespace satsuma::client {

std::unique_ptr<MediaStream> MediaStream::connect(EventLoop& loop, const TransportAddress& remote, Datagram on_datagram, Closed on_closed) {
  auto stream = io::ClientStream::connect(remote, nullptr, {});
  if (!stream) return nullptr;
  return std::unique_ptr<MediaStream>(new MediaStream(loop, std::move(*stream), std::move(on_datagram), std::move(on_closed)));
}

std::unique_ptr<MediaStream> MediaStream::connect_through(EventLoop& loop, TurnServer server, const TransportAddress& remote, RandomSource& random,
                                                          Datagram on_datagram, Closed on_closed) {
  auto stream = io::ClientStream::connect(server.address, server.tls, server.name);
  if (!stream) return nullptr;
  std::unique_ptr<MediaStream> made(new MediaStream(loop, std::move(*stream), std::move(on_datagram), std::move(on_closed)));
  made->turn_.emplace(io::monotonic_now(), std::move(server.credentials), remote, random);
  made->pump_turn();
  return made;
}

MediaStream::MediaStream(EventLoop& loop, io::ClientStream stream, Datagram on_datagram, Closed on_closed)
    : loop_(loop), stream_(std::move(stream)), on_datagram_(std::move(on_datagram)), on_closed_(std::move(on_closed)) {
  loop_.watch(stream_->descriptor(), [this] { on_ready(); });
  loop_.want_write(stream_->descriptor(), true);
}

MediaStream::~MediaStream() {
  on_closed_ = nullptr;
  close();
}

void MediaStream::close() {
  if (closed_) return;
  closed_ = true;
  if (timer_) loop_.cancel(*timer_);
  loop_.forget(stream_->descriptor());
  stream_.reset();
  if (on_closed_) on_closed_();
}

void MediaStream::send(ByteView datagram) {
  if (closed_ || datagram.size() > ice::max_stream_frame) return;
  if (!ready()) {
    first_.assign(datagram.begin(), datagram.end());
    return;
  }
  if (waiting_.size() - written_ + datagram.size() > max_waiting) return;
  enqueue(datagram);
  flush();
}

void MediaStream::enqueue(ByteView datagram) {
  if (turn_) {
    std::array<std::uint8_t, turn::max_frame_size> frame;
    if (const auto wrapped = turn_->wrap(datagram, frame)) waiting_.insert(waiting_.end(), wrapped->begin(), wrapped->end());
    return;
  }
  const auto length = ice::stream_frame_length(datagram.size());
  waiting_.insert(waiting_.end(), length.begin(), length.end());
  waiting_.insert(waiting_.end(), datagram.begin(), datagram.end());
}

void MediaStream::flush() {
  if (closed_ || !connected_) return;
  if (ready() && !first_.empty()) {
    enqueue(first_);
    first_.clear();
  }
  while (written_ < waiting_.size()) {
    const auto sent = stream_->write(ByteView(waiting_).subspan(written_));
    if (!sent) return close();
    if (*sent == 0) break;
    written_ += *sent;
  }
  const bool rest = written_ < waiting_.size();
  if (!rest || written_ > max_waiting) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(written_));
    written_ = 0;
  }
  loop_.want_write(stream_->descriptor(), rest || stream_->wants_write());
}

void MediaStream::pump_turn() {
  while (const auto request = turn_->poll_output()) waiting_.insert(waiting_.end(), request->begin(), request->end());
  if (timer_ && timer_->first == turn_->next_deadline()) return;
  if (timer_) loop_.cancel(*timer_);
  timer_ = loop_.at(turn_->next_deadline(), [this](TimePoint now) { on_timer(now); });
}

void MediaStream::on_timer(TimePoint now) {
  timer_.reset();
  if (closed_) return;
  if (!turn_->handle_timeout(now)) return close();
  pump_turn();
  flush();
}

bool MediaStream::take(MutableByteView input) {
  const TimePoint now = io::monotonic_now();
  while (!closed_) {
    if (turn_) {
      const auto datagram = turn_->next(now, input);
      if (!datagram) return false;
      if (!*datagram) break;
      on_datagram_(**datagram);
    } else {
      const auto datagram = reader_.next(input);
      if (!datagram) return false;
      if (!*datagram) break;
      on_datagram_(**datagram);
    }
  }
  if (turn_ && !closed_) pump_turn();
  return true;
}

void MediaStream::on_ready() {
  if (closed_) return;
  const auto ready = stream_->advance();
  if (!ready) return close();
  connected_ = *ready;
  if (!connected_) return loop_.want_write(stream_->descriptor(), stream_->wants_write());
  flush();
  std::array<std::uint8_t, 16384> bytes;
  for (int round = 0; round < 8 && !closed_; ++round) {
    const auto got = stream_->read(bytes);
    if (!got) return close();
    if (*got == 0) break;
    if (!take(std::span(bytes).first(*got))) return close();
    if (!closed_ && stream_->holds_back()) --round;
  }
  flush();
}

} // namespace satsuma::client
