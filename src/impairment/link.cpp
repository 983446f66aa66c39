#include "impairment/link.h"

#include <algorithm>

namespace satsuma::impairment {

namespace {

constexpr std::size_t header_bytes = 28; // IPv4 and UDP

} // namespace

Link::Link(Schedule schedule, std::uint64_t seed, TimePoint start, Kind kind)
    : schedule_(std::move(schedule)), random_(seed), start_(start), kind_(kind), free_at_(start), newest_at_(start) {}

bool Link::later(const Waiting& a, const Waiting& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }

// SplitMix64: chance need not be secret here, only repeatable.
double Link::chance() {
  random_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

bool Link::lose(const Conditions& c) {
  // The share of bad spells in which `burst_loss` makes `loss` overall; it cannot lose more than a spell does.
  const double bad = std::min(c.loss / c.burst_loss, 1.0);
  const double leave = bad >= 1 ? 0 : 1 / c.burst;
  // Flows between the states balance: share of good * enter = share of bad * leave.
  const double enter = bad >= 1 ? 1 : std::min(leave * bad / (1 - bad), 1.0);
  // With independent losses the state has no memory: leaving and entering again within a step must be possible.
  const double step = chance(), fate = chance();
  if (c.burst <= 1) in_burst_ = step < bad;
  else in_burst_ = in_burst_ ? step >= leave : step < enter;
  return in_burst_ && fate < c.burst_loss;
}

std::optional<TimePoint> Link::end_of_outage(TimePoint now) const {
  for (const Schedule::Step& step : schedule_.steps())
    if (start_ + step.at > now && !step.conditions.outage) return start_ + step.at;
  return std::nullopt;
}

void Link::put(TimePoint at, ByteView datagram) {
  Bytes bytes;
  if (!spare_.empty()) {
    bytes = std::move(spare_.back());
    spare_.pop_back();
  }
  bytes.assign(datagram.begin(), datagram.end());
  waiting_bytes_ += bytes.size();
  waiting_.push_back({at, order_++, std::move(bytes)});
  std::push_heap(waiting_.begin(), waiting_.end(), later);
}

void Link::handle_datagram(TimePoint now, ByteView datagram) {
  recycle();
  ++counters_.in;
  const Conditions& c = schedule_.at(now - start_);
  const bool stream = kind_ == Kind::stream;
  // Each datagram draws the same number of chances, so that one more loss does not change the fate of all that follow.
  const bool lost = lose(c);
  const double jitter = chance(), reorder = chance(), duplicate = chance();
  TimePoint begin = now;
  if (c.outage) {
    const auto end = stream ? end_of_outage(now) : std::nullopt;
    if (!end) {
      ++counters_.cut;
      return;
    }
    begin = *end;
  }
  if (lost && !stream) {
    ++counters_.lost;
    return;
  }
  begin = std::max(begin, free_at_);
  if (waiting_.size() >= max_waiting_datagrams || waiting_bytes_ + datagram.size() > max_waiting_bytes ||
      (!stream && c.rate > 0 && begin - now > c.queue)) {
    ++counters_.queue_full;
    return;
  }
  TimePoint at = begin;
  if (c.rate > 0) {
    const double bits = static_cast<double>(8 * (datagram.size() + header_bytes));
    at += Duration(static_cast<Duration::rep>(bits * 1e6 / static_cast<double>(c.rate)));
    free_at_ = at;
  }
  at += c.delay + Duration(static_cast<Duration::rep>(jitter * static_cast<double>(c.jitter.count())));
  if (!stream && reorder < c.reorder) {
    at += c.reorder_by;
    ++counters_.reordered;
  } else {
    at = newest_at_ = std::max(at, newest_at_);
  }
  put(at, datagram);
  if (!stream && duplicate < c.duplicate) {
    put(at, datagram);
    ++counters_.duplicated;
  }
  handle_timeout(now);
}

void Link::handle_timeout(TimePoint now) {
  recycle();
  while (!waiting_.empty() && waiting_.front().at <= now) {
    std::pop_heap(waiting_.begin(), waiting_.end(), later);
    waiting_bytes_ -= waiting_.back().bytes.size();
    arrived_.push_back(std::move(waiting_.back().bytes));
    waiting_.pop_back();
    ++counters_.out;
  }
}

void Link::recycle() {
  for (std::size_t i = 0; i < polled_; ++i)
    if (spare_.size() < 64) spare_.push_back(std::move(arrived_[i]));
  arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(polled_));
  polled_ = 0;
}

std::optional<ByteView> Link::poll_output() {
  if (polled_ == arrived_.size()) return std::nullopt;
  return ByteView(arrived_[polled_++]);
}

std::optional<TimePoint> Link::next_deadline() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.front().at;
}

} // namespace satsuma::impairment
