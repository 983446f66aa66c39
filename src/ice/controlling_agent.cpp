#include "ice/controlling_agent.h"

#include <algorithm>

namespace satsuma::ice {

namespace {

constexpr std::size_t max_queued = max_pairs + max_pending_answers;
// RFC 8445 s.5.1.2.1 for a peer-reflexive candidate (110) of the first component: what s.7.1.1 wants in PRIORITY.
constexpr std::uint32_t check_priority = 110U << 24 | 65535U << 8 | 255U;

// A full agent that has made the offer takes itself for the controlling one as well. Of two, the one with the larger number stays so (s.7.3.1.1).
constexpr std::uint64_t winning_tie_breaker = std::uint64_t{0xffffffff} << 32;

} // namespace

ControllingAgent::ControllingAgent(Credentials local, RandomSource& random)
    : local_(std::move(local)), random_(random), tie_breaker_(random.u64() | winning_tie_breaker) {}

Result<void> ControllingAgent::set_local(Credentials local) {
  if (!are_credentials(local)) return ice_bad_credentials;
  local_ = std::move(local);
  return {};
}

Result<void> ControllingAgent::set_remote(TimePoint now, Credentials remote, std::span<const NetworkPath> pairs) {
  if (!are_credentials(remote)) return ice_bad_credentials;
  if (pairs.empty()) return ice_no_pairs;
  remote_ = std::move(remote);
  pairs_.clear();
  for (const NetworkPath& path : pairs.first(std::min(pairs.size(), max_pairs))) {
    Pair& pair = pairs_.emplace_back();
    pair.path = path;
    pair.next_check = now;
    // Where there is nothing to choose from, the first check may choose (RFC 8445 s.8.1.1 leaves the criteria to us): it saves a round trip.
    pair.nominate = pairs.size() == 1;
  }
  handle_timeout(now);
  return {};
}

ControllingAgent::Pair* ControllingAgent::find(const NetworkPath& path) {
  const auto found = std::find_if(pairs_.begin(), pairs_.end(), [&path](const Pair& pair) { return pair.path == path; });
  return found == pairs_.end() ? nullptr : &*found;
}

bool ControllingAgent::validated(const NetworkPath& path) const {
  if (selected_ == path) return true;
  return std::any_of(pairs_.begin(), pairs_.end(), [&path](const Pair& pair) { return pair.valid && pair.path == path; });
}

ControllingAgent::Queued* ControllingAgent::queue(const NetworkPath& path) {
  if (polled_ == queued_.size()) {
    queued_.clear();
    polled_ = 0;
  }
  if (queued_.size() >= max_queued) return nullptr;
  Queued& queued = queued_.emplace_back();
  queued.path = path;
  return &queued;
}

void ControllingAgent::check(TimePoint now, Pair& pair) {
  pair.next_check = now + pair.interval;
  pair.interval = std::min(2 * pair.interval, max_check_interval);
  Queued* const queued = queue(pair.path);
  if (queued == nullptr) return;
  Outstanding& outstanding = pair.outstanding[pair.checks++ % max_outstanding_checks];
  random_.fill(outstanding.transaction);
  outstanding.nominating = pair.nominate;
  stun::BindingRequest request;
  request.transaction = outstanding.transaction;
  const std::string username = remote_.ufrag + ":" + local_.ufrag;
  request.username = username;
  request.priority = check_priority;
  request.tie_breaker = tie_breaker_;
  request.use_candidate = pair.nominate;
  const auto written = stun::write_binding_request(request, as_bytes(remote_.password), queued->bytes);
  SATSUMA_CHECK(written.has_value());
  queued->size = written->size();
}

Result<void> ControllingAgent::handle_stun(TimePoint now, const NetworkPath& path, ByteView datagram) {
  SATSUMA_TRY(const stun::Message message, stun::parse(datagram));
  if (!message.is_binding()) return ice_not_a_check;
  switch (message.message_class) {
    case stun::MessageClass::success: return handle_response(now, path, message);
    case stun::MessageClass::request: return handle_request(path, message);
    // RFC 8445 s.7.2.5: an error says that this check failed; the next one is due soon. 487 (role conflict) is not meant: see winning_tie_breaker.
    case stun::MessageClass::error:
    case stun::MessageClass::indication: break;
  }
  return ice_not_a_check;
}

Result<void> ControllingAgent::handle_response(TimePoint now, const NetworkPath& path, const stun::Message& message) {
  // RFC 8445 s.7.2.5.2.1: the answer comes from where the check went to, and by the same way.
  Pair* const pair = find(path);
  if (pair == nullptr) return ice_unknown_response;
  const auto known = std::span(pair->outstanding).first(std::min(pair->checks, max_outstanding_checks));
  const auto outstanding = std::find_if(known.begin(), known.end(), [&message](const Outstanding& o) { return o.transaction == message.transaction; });
  if (outstanding == known.end()) return ice_unknown_response;
  SATSUMA_TRY_VOID(stun::verify(message, as_bytes(remote_.password)));
  const bool nominating = outstanding->nominating;
  random_.fill(outstanding->transaction); // answered: the same answer again is unknown
  pair->valid = true;
  if (nominating) {
    const bool changed = selected_ != pair->path;
    selected_ = pair->path;
    consent_until_ = now + consent_timeout;
    if (changed) {
      announce_selected_ = true;
      announce_expired_ = false;
      // The others have served; s.8.1.1 has them end.
      for (Pair& other : pairs_)
        if (&other != pair) other.next_check.reset();
    }
    // Spread, so that a server's clients do not ask in step.
    const auto spread = static_cast<Duration::rep>(random_.u64() % 2001) - 1000;
    pair->next_check = now + consent_interval + Duration(consent_interval.count() * spread / 5000);
    pair->interval = first_check_interval;
  } else if (std::none_of(pairs_.begin(), pairs_.end(), [](const Pair& p) { return p.nominate; })) {
    pair->nominate = true;
    pair->interval = first_check_interval;
    check(now, *pair);
  }
  return {};
}

Result<void> ControllingAgent::handle_request(const NetworkPath& path, const stun::Message& message) {
  if (!message.username || !message.has_fingerprint || !message.priority) return ice_not_a_check;
  if (*message.username != local_.ufrag + ":" + remote_.ufrag) return ice_wrong_username;
  SATSUMA_TRY(const stun::AuthenticatedMessage request, stun::verify(message, as_bytes(local_.password)));
  Queued* const queued = queue(path);
  if (queued == nullptr) return ice_output_full;
  const auto written = stun::write_binding_success(request->transaction, path.remote, as_bytes(local_.password), queued->bytes);
  SATSUMA_CHECK(written.has_value());
  queued->size = written->size();
  return {};
}

void ControllingAgent::handle_timeout(TimePoint now) {
  if (selected_ && consent_until_ && now >= *consent_until_) {
    selected_.reset();
    consent_until_.reset();
    announce_selected_ = false;
    announce_expired_ = true;
    // Begin anew: another pair may work by now.
    for (Pair& pair : pairs_) {
      pair.valid = false;
      pair.nominate = pairs_.size() == 1;
      pair.interval = first_check_interval;
      pair.next_check = now;
    }
  }
  for (Pair& pair : pairs_)
    if (pair.next_check && now >= *pair.next_check) check(now, pair);
}

std::optional<TimePoint> ControllingAgent::next_deadline() const {
  std::optional<TimePoint> deadline = consent_until_;
  for (const Pair& pair : pairs_)
    if (pair.next_check && (!deadline || *pair.next_check < *deadline)) deadline = pair.next_check;
  return deadline;
}

std::optional<ControllingAgent::Output> ControllingAgent::poll_output() {
  if (polled_ < queued_.size()) {
    const Queued& queued = queued_[polled_++];
    return Send{queued.path, ByteView(queued.bytes).first(queued.size)};
  }
  if (announce_expired_) {
    announce_expired_ = false;
    return ConsentExpired{};
  }
  if (announce_selected_) {
    announce_selected_ = false;
    return Selected{*selected_};
  }
  return std::nullopt;
}

} // namespace satsuma::ice
