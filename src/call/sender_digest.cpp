#include "call/sender_digest.h"

#include <algorithm>
#include <cstring>

#include "crypto/hash.h"

namespace satsuma::call {

namespace {

constexpr std::uint8_t digest_byte = 0xff; // an MLSMessage begins with its version, 0
constexpr std::uint8_t digest_version = 2, request_version = 3;
constexpr std::size_t digest_header_size = 4; // byte, version, the signature's size, epoch
constexpr std::size_t run_header_size = 6 + sizeof(sframe::FrameHash); // epochs back and context, first, count
constexpr std::uint64_t most_epochs_back = 63;
constexpr std::size_t short_run = 64; // frames
constexpr std::string_view root_label = "satsuma digest 1";
constexpr Duration recheck = std::chrono::milliseconds(100);

using Hash32 = std::array<std::uint8_t, 32>;

sframe::FrameHash cut(const Hash32& whole) {
  sframe::FrameHash hash;
  std::copy_n(whole.begin(), hash.size(), hash.begin());
  return hash;
}

/// Over hashes that lie one behind the other.
sframe::FrameHash root_of(ByteView hashes) {
  Hash32 whole;
  crypto::hash_into(crypto::HashAlgorithm::sha256, {as_bytes(root_label), hashes}, whole);
  return cut(whole);
}

// Long runs get along with fewer: it is the number of frames that are forged which counts.
unsigned mark_bits(std::size_t count) { return count <= short_run ? 4 : 2; }
std::size_t marks_size(std::size_t count) { return (count * mark_bits(count) + 7) / 8; }

/// The root is the key: it depends on the run's last frame, so whoever forges one before that cannot know which mark it has to have.
std::uint8_t mark_of(crypto::HmacKey& root, const sframe::FrameHash& hash, unsigned bits) {
  Hash32 tag;
  root.tag_into({hash}, tag);
  return static_cast<std::uint8_t>(tag[0] & ((1u << bits) - 1));
}
unsigned mark_shift(std::size_t i, unsigned bits) { return static_cast<unsigned>(8 - bits - i * bits % 8); }
std::uint8_t mark_at(ByteView marks, std::size_t i, unsigned bits) {
  return static_cast<std::uint8_t>(marks[i * bits / 8] >> mark_shift(i, bits) & ((1u << bits) - 1));
}

struct ToldRun {
  EpochKeys::EpochName epoch;
  StreamContext context{};
  std::uint64_t first = 0;
  std::size_t count = 0;
  ByteView root, marks;
};
/// What a body says that was signed in `epoch`.
Result<std::vector<ToldRun>> parse_runs(EpochKeys::EpochName epoch, ByteView body) {
  ByteReader reader(body);
  const auto low = reader.u8();
  if (!low || *low != static_cast<std::uint8_t>(epoch.epoch)) return digest_malformed;
  std::vector<ToldRun> runs;
  while (!reader.empty()) {
    const auto where = reader.u8();
    const auto first = reader.u24();
    const auto count = reader.u16();
    const auto root = reader.bytes(sizeof(sframe::FrameHash));
    if (!where || !first || !count || !root) return digest_malformed;
    const std::uint64_t back = *where >> 2;
    if (back > epoch.epoch || *count == 0 || *count > DigestSender::max_frames) return digest_malformed;
    const auto marks = reader.bytes(marks_size(*count));
    if (!marks || runs.size() >= DigestSender::max_runs) return digest_malformed;
    runs.push_back({{epoch.era, epoch.epoch - back}, static_cast<StreamContext>(*where & 3), *first, *count, *root, *marks});
  }
  return runs;
}

bool is_crowded(std::size_t runs, std::size_t frames) { return runs >= DigestSender::max_runs / 2 || frames >= DigestSender::max_frames / 2; }

} // namespace

// Measured in Chromium: 0.1 ms for Ed25519, 0.5 and 1.3 ms for the NIST curves.
DigestOptions with_signatures(DigestOptions options, crypto::SignatureScheme scheme) {
  switch (scheme) {
    case crypto::SignatureScheme::ed25519:
      break; // as it is
    case crypto::SignatureScheme::ecdsa_p256_sha256:
      options.signature_size = 72;
      options.interval_per_member = std::max<Duration>(options.interval_per_member, std::chrono::milliseconds(50));
      break;
    case crypto::SignatureScheme::ecdsa_p384_sha384:
    case crypto::SignatureScheme::ed448: // this and the next are of no room's suite
    case crypto::SignatureScheme::ecdsa_p521_sha512:
      options.signature_size = 104;
      options.interval_per_member = std::max<Duration>(options.interval_per_member, std::chrono::milliseconds(130));
      break;
  }
  return options;
}

Result<SignedDigest> parse_signed_digest(ByteView message) {
  ByteReader reader(message);
  const auto byte = reader.u8(), version = reader.u8(), size = reader.u8();
  if (!byte || *byte != digest_byte || !version || *version != digest_version || !size) return digest_malformed;
  const auto signature = reader.bytes(*size);
  if (!signature || reader.empty()) return digest_malformed;
  return SignedDigest{reader.rest()[0], reader.rest(), *signature};
}

Bytes write_signed_digest(ByteView body, ByteView signature) {
  SATSUMA_CHECK(signature.size() <= 0xff);
  ByteWriter writer;
  writer.u8(digest_byte);
  writer.u8(digest_version);
  writer.u8(static_cast<std::uint8_t>(signature.size()));
  writer.bytes(signature);
  writer.bytes(body);
  return std::move(writer).take();
}

Bytes digest_to_sign(ByteView group_id, std::uint64_t epoch, std::uint32_t leaf, ByteView body) {
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(group_id.size()));
  writer.bytes(group_id);
  writer.u64(epoch);
  writer.u32(leaf);
  writer.bytes(body);
  return std::move(writer).take();
}

Result<CarriedDigest> split_carrier(MutableByteView plaintext) {
  if (plaintext.empty()) return digest_malformed;
  const std::size_t size = plaintext.back();
  if (size >= plaintext.size()) return digest_malformed;
  const std::size_t frame = plaintext.size() - 1 - size;
  return CarriedDigest{plaintext.first(frame), plaintext.subspan(frame, size)};
}

Result<DigestRequest> parse_digest_request(ByteView message) {
  ByteReader reader(message);
  const auto byte = reader.u8(), version = reader.u8();
  const auto stream = reader.u24(), counter = reader.u24();
  if (!byte || *byte != digest_byte || !version || *version != request_version || !stream || !counter || !reader.empty()) return digest_malformed;
  const auto id = KeyId::from(*stream);
  if (!id || id->carries_digest) return digest_malformed;
  return DigestRequest{*id, *counter};
}

Bytes write_digest_request(const DigestRequest& request) {
  ByteWriter writer;
  writer.u8(digest_byte);
  writer.u8(request_version);
  writer.u24(static_cast<std::uint32_t>(request.stream.value()));
  writer.u24(static_cast<std::uint32_t>(request.counter));
  return std::move(writer).take();
}

// ---- sending

Duration DigestSender::interval() const {
  return std::clamp<Duration>(options_.interval_per_member * static_cast<Duration::rep>(members_), options_.least_interval, options_.greatest_interval);
}

std::size_t DigestSender::digest_size() const {
  std::size_t size = digest_header_size + options_.signature_size;
  for (const Run& run : runs_) size += run_header_size + marks_size(run.hashes.size());
  return size;
}

void DigestSender::clear() {
  runs_.clear();
  frames_ = 0;
  account_ = 0;
  since_.reset();
  due_at_.reset();
  check_at_.reset();
  kept_.clear();
}

void DigestSender::handle_sent(TimePoint now, EpochKeys::EpochName epoch, StreamContext context, std::uint64_t counter,
                               const sframe::FrameHash& hash, std::size_t size) {
  auto run = std::ranges::find_if(runs_, [&](const Run& r) {
    return r.epoch == epoch && r.context == context && r.first + r.hashes.size() == counter;
  });
  if (run == runs_.end()) {
    if (runs_.size() >= max_runs) {
      frames_ -= runs_.front().hashes.size();
      runs_.pop_front();
    }
    run = runs_.insert(runs_.end(), Run{epoch, context, counter, {}});
  }
  run->hashes.push_back(hash);
  account_ += static_cast<std::int64_t>(size + options_.packet_overhead * ((size + options_.packet_payload - 1) / options_.packet_payload));
  if (++frames_ > max_frames) {
    frames_ -= runs_.front().hashes.size();
    runs_.pop_front();
  }
  if (!since_) since_ = now;
  if (!check_at_) due_at_ = check_at_ = now + interval();
  // Where epochs follow each other quickly, each brings new runs, and none may be given up.
  if (is_crowded(runs_.size(), frames_)) check_at_ = std::min(*check_at_, now);
}

std::optional<Bytes> DigestSender::take(TimePoint now, EpochKeys::EpochName epoch) {
  if (!check_at_ || now < *check_at_) return std::nullopt;
  if (runs_.empty()) {
    check_at_.reset();
    return std::nullopt;
  }
  const bool cheap = is_paid(digest_size() + options_.message_overhead);
  if (!cheap && now < *since_ + options_.greatest_interval && !is_crowded(runs_.size(), frames_)) {
    check_at_ = std::min(now + recheck, *since_ + options_.greatest_interval);
    return std::nullopt;
  }
  return make(now, epoch);
}

// What the message is dear for is its own packet. That of a frame is there already; but it may get lost, so what can be a message is one.
std::optional<Bytes> DigestSender::take_for_frame(TimePoint now, EpochKeys::EpochName epoch, std::size_t room) {
  if (!due_at_ || now < *due_at_ || runs_.empty()) return std::nullopt;
  const std::size_t size = digest_size();
  if (size > std::min(room, max_carried_digest) || !is_paid(size + options_.carried_overhead) || is_paid(size + options_.message_overhead)) return std::nullopt;
  return make(now, epoch);
}

Bytes DigestSender::make(TimePoint now, EpochKeys::EpochName epoch) {
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(epoch.epoch));
  Bytes hashes, marks;
  for (const Run& run : runs_) {
    // Of a group that is no more, or further back than anybody keeps keys.
    if (run.epoch.era != epoch.era || run.epoch.epoch > epoch.epoch || epoch.epoch - run.epoch.epoch > most_epochs_back) continue;
    hashes.clear();
    for (const sframe::FrameHash& hash : run.hashes) hashes.insert(hashes.end(), hash.begin(), hash.end());
    writer.u8(static_cast<std::uint8_t>((epoch.epoch - run.epoch.epoch) << 2 | static_cast<unsigned>(run.context)));
    writer.u24(static_cast<std::uint32_t>(run.first));
    writer.u16(static_cast<std::uint16_t>(run.hashes.size()));
    const sframe::FrameHash root = root_of(hashes);
    writer.bytes(root);
    crypto::HmacKey key(crypto::HashAlgorithm::sha256, root);
    const unsigned bits = mark_bits(run.hashes.size());
    marks.assign(marks_size(run.hashes.size()), 0);
    for (std::size_t i = 0; i < run.hashes.size(); ++i)
      marks[i * bits / 8] = static_cast<std::uint8_t>(marks[i * bits / 8] | mark_of(key, run.hashes[i], bits) << mark_shift(i, bits));
    writer.bytes(marks);
  }
  runs_.clear();
  frames_ = 0;
  account_ = 0;
  since_.reset();
  saved_answers_ = std::min<std::uint8_t>(saved_answers_ + 1, max_saved_answers);
  due_at_ = check_at_ = now + interval(); // whoever sends goes on, and a caller need not ask for the deadline after each frame
  return std::move(writer).take();
}

void DigestSender::forget_old(TimePoint now) {
  while (!kept_.empty() && (kept_.size() > max_kept || kept_.front().made + options_.keep <= now)) kept_.pop_front();
}

void DigestSender::keep(TimePoint now, EpochKeys::EpochName epoch, Bytes message) {
  kept_.push_back({epoch, std::move(message), now, false, 0, {}});
  forget_old(now);
}

void DigestSender::handle_request(TimePoint now, const DigestRequest& request) {
  forget_old(now);
  for (Kept& kept : kept_) {
    if (kept.answers >= max_answers || now < kept.silent_until) continue;
    const auto runs = parse_runs(kept.epoch, parse_signed_digest(kept.message).value().body);
    kept.asked = kept.asked || std::ranges::any_of(runs.value(), [&](const ToldRun& run) {
      return static_cast<std::uint32_t>(run.context) == request.stream.context && static_cast<std::uint8_t>(run.epoch.epoch) == request.stream.epoch_mod_256 &&
             run.first <= request.counter && request.counter < run.first + run.count;
    });
  }
}

// What was answered least comes first, so that nobody keeps others from their first answer by asking again and again.
std::optional<Bytes> DigestSender::take_answer(TimePoint now) {
  forget_old(now);
  const auto kept = std::ranges::min_element(kept_, {}, [](const Kept& k) { return std::pair(!k.asked, k.answers); });
  if (kept == kept_.end() || !kept->asked || saved_answers_ == 0) return std::nullopt;
  --saved_answers_;
  kept->asked = false;
  ++kept->answers;
  kept->silent_until = now + answer_pause;
  account_ -= static_cast<std::int64_t>((kept->message.size() + options_.message_overhead) * options_.share);
  return kept->message;
}

// ---- receiving

void DigestReceiver::drop_front(Stream& stream, std::size_t count) {
  stream.frames.erase(stream.frames.begin(), stream.frames.begin() + static_cast<std::ptrdiff_t>(count));
  waiting_ -= count;
}

void DigestReceiver::handle_received(TimePoint now, EpochKeys::EpochName epoch, std::uint32_t leaf, StreamContext context,
                                     std::uint64_t counter, const sframe::FrameHash& hash) {
  const StreamName name{leaf, context, epoch};
  if (!look_at_) look_at_ = now + options_.settle;
  auto stream = streams_.find(name);
  if (stream == streams_.end()) {
    if (streams_.size() >= max_streams) return doubt(now, {leaf, context});
    stream = streams_.try_emplace(name).first;
    const auto later = std::next(stream);
    if (later != streams_.end() && later->first.leaf == leaf && later->first.context == context && (later->second.judged > 0 || !later->second.runs.empty()))
      stream->second.left_at = now;
  }
  Source& source = sources_[{leaf, context}];
  if (!source.waiting_since) source.waiting_since = now;
  Stream& s = stream->second;
  // What was missing when a later run was told, what comes to one that was told a while ago or when a later epoch was, and to what was judged: chosen when the roots were known, for all one can tell.
  const auto told = std::ranges::find_if(s.runs, [&](const Run& run) { return counter < run.first + run.count; });
  const bool left = s.left_at && now >= *s.left_at + options_.settle;
  if (left || counter < s.judged || (told != s.runs.end() && (counter < told->first || now >= told->told + options_.settle))) {
    ++s.late;
    return;
  }
  if (s.frames.size() >= max_waiting || waiting_ >= max_waiting_in_all) {
    // Nothing will be compared with them, as with what comes too late.
    if (s.frames.empty()) {
      ++s.late;
      return;
    }
    const std::size_t forgotten = (s.frames.size() + 3) / 4;
    s.late += forgotten;
    drop_front(s, forgotten);
  }
  // Almost always the last one.
  const auto place = std::ranges::upper_bound(s.frames.rbegin(), s.frames.rend(), counter, std::ranges::greater{}, &Frame::counter).base();
  s.frames.insert(place, Frame{counter, now, hash});
  ++waiting_;
  if (s.runs.empty()) return; // what is due of it is so after look_at_
  due_known_ = false;
  settle_ready(now, name, s); // the last piece of a run that was told already
}

std::size_t DigestReceiver::frames_of(const Stream& stream, const Run& run) const {
  const auto from = std::ranges::lower_bound(stream.frames, run.first, {}, &Frame::counter);
  const auto to = std::ranges::lower_bound(stream.frames, run.first + run.count, {}, &Frame::counter);
  return static_cast<std::size_t>(to - from);
}

/// Not of a stream that we do not receive, or of the leaf's former owner, nor said before: anybody can repeat it.
bool DigestReceiver::is_news(const StreamName& name, std::uint64_t since, std::uint64_t first) const {
  const auto stream = streams_.find(name);
  if (stream == streams_.end() || name.epoch.epoch < since || first < stream->second.judged) return false;
  return std::ranges::none_of(stream->second.runs, [&](const Run& run) { return run.first == first; });
}

bool DigestReceiver::has_news(EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest) const {
  const auto told = parse_runs(epoch, digest);
  return told && std::ranges::any_of(*told, [&](const ToldRun& run) { return is_news({leaf, run.context, run.epoch}, since, run.first); });
}

Result<void> DigestReceiver::handle_digest(TimePoint now, EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest) {
  due_known_ = false;
  SATSUMA_TRY(const std::vector<ToldRun> told, parse_runs(epoch, digest));
  for (const ToldRun& run : told) {
    const StreamName name{leaf, run.context, run.epoch};
    if (!is_news(name, since, run.first)) continue;
    leave_earlier(now, name);
    Stream& stream = streams_.at(name);
    const auto place = std::ranges::lower_bound(stream.runs, run.first, {}, &Run::first);
    Run waiting{run.first, run.count, {}, to_bytes(run.marks), now};
    std::ranges::copy(run.root, waiting.root.begin());
    stream.runs.insert(place, std::move(waiting));
    if (stream.runs.size() > max_unsettled) settle_first(now, name, stream);
    settle_ready(now, name, stream);
  }
  return {};
}

void DigestReceiver::leave_earlier(TimePoint now, const StreamName& name) {
  for (auto it = streams_.lower_bound({name.leaf, name.context, {}}); it->first < name; ++it) {
    if (!it->second.left_at) it->second.left_at = now;
  }
}

/// Too much before the first run that no digest told of.
bool DigestReceiver::has_gap(const Stream& stream) const {
  if (stream.runs.empty()) return false;
  const auto from = std::ranges::lower_bound(stream.frames, stream.runs.front().first, {}, &Frame::counter);
  return static_cast<std::size_t>(from - stream.frames.begin()) >= too_many_untold;
}

/// The first run, of which there is one.
TimePoint DigestReceiver::settles_at(const Stream& stream) const {
  const Run& run = stream.runs.front();
  if (has_gap(stream)) return std::max(run.told, stream.judged_at) + options_.answer_wait;
  return frames_of(stream, run) == run.count ? run.told : run.told + options_.settle;
}

/// In order, so that what a digest tells of that got lost is not passed over before there was an answer.
void DigestReceiver::settle_ready(TimePoint now, const StreamName& name, Stream& stream) {
  while (!stream.runs.empty() && settles_at(stream) <= now) settle_first(now, name, stream);
}

void DigestReceiver::settle_first(TimePoint now, const StreamName& name, Stream& stream) {
  const Run run = std::move(stream.runs.front());
  stream.runs.pop_front();
  settle(now, name, stream, run);
}

// Compares, and forgets the frames of the run and those before it, which no later one will name.
void DigestReceiver::settle(TimePoint now, const StreamName& name, Stream& stream, const Run& run) {
  const auto from = std::ranges::lower_bound(stream.frames, run.first, {}, &Frame::counter);
  const auto to = std::ranges::lower_bound(stream.frames, run.first + run.count, {}, &Frame::counter);
  const auto count = static_cast<std::size_t>(to - from);
  if (run.first < stream.judged) return; // said twice
  crypto::HmacKey key(crypto::HashAlgorithm::sha256, run.root);
  const unsigned bits = mark_bits(run.count);
  bool fits = true;
  Bytes hashes;
  for (auto frame = from; frame != to; ++frame) {
    fits = fits && mark_of(key, frame->hash, bits) == mark_at(run.marks, static_cast<std::size_t>(frame->counter - run.first), bits);
    hashes.insert(hashes.end(), frame->hash.begin(), frame->hash.end());
  }
  const bool whole = count == run.count;
  if (whole) fits = root_of(hashes) == run.root;
  // What came only after the run was over, and what no digest told of, proves nothing, whoever delays and withholds.
  const bool all_told = static_cast<std::size_t>(from - stream.frames.begin()) < too_many_untold && stream.late < std::max<std::size_t>(too_many_untold, count / 4);
  if (all_told) stream.ask_again.reset();
  stream.late = stream.untold = 0;
  stream.judged = std::max(stream.judged, run.first + run.count);
  stream.judged_at = now;
  drop_front(stream, static_cast<std::size_t>(to - stream.frames.begin()));

  const SourceName source{name.leaf, name.context};
  if (!fits) {
    judge(source, StreamVerdict::forged);
  } else if (!all_told) {
    doubt(now, source);
  } else {
    Source& judged = sources_[source];
    const bool doubted = judged.doubted_at && run.told < *judged.doubted_at + options_.least_interval; // so that it is seen
    const bool confirms = !doubted && (whole || count * bits >= enough_mark_bits);
    // A few frames of a run, as where somebody falls silent, leave a judgement as it is.
    if (!confirms && judged.verdict != StreamVerdict::confirmed) return;
    judged.waiting_since.reset();
    if (!stream.frames.empty()) judged.waiting_since = stream.frames.front().received;
    if (confirms) judge(source, StreamVerdict::confirmed);
  }
}

void DigestReceiver::judge(const SourceName& name, StreamVerdict verdict) {
  Source& source = sources_[name];
  if (source.verdict == verdict || source.verdict == StreamVerdict::forged) return;
  source.verdict = verdict;
  outputs_.push_back({name.leaf, name.context, verdict});
}

void DigestReceiver::doubt(TimePoint now, const SourceName& name) {
  sources_[name].doubted_at = now;
  judge(name, StreamVerdict::unconfirmed);
}

void DigestReceiver::handle_timeout(TimePoint now) {
  if (const auto due = next_deadline(); !due || *due > now) return;
  due_known_ = false;
  for (auto it = streams_.begin(); it != streams_.end();) {
    auto& [name, stream] = *it;
    settle_ready(now, name, stream);
    // One by one, where each has its own time; and those far ahead, which it takes the sender long to tell of.
    const std::size_t untold = std::erase_if(stream.frames, [&](const Frame& frame) { return frame.received + options_.patience <= now; });
    waiting_ -= untold;
    stream.untold += untold;
    if (stream.untold >= too_many_untold) {
      stream.untold = 0;
      doubt(now, {name.leaf, name.context});
    }
    settle_ready(now, name, stream);
    if (const auto at = asks_at(stream); at && *at <= now) ask(now, name, stream);
    // An old epoch's; the present one's judgement goes on. While its keys are there, what was judged of it must not be new again.
    const auto next = std::next(it);
    const bool older = next != streams_.end() && next->first.leaf == name.leaf && next->first.context == name.context;
    if (older && stream.late >= too_many_untold) { // after its last run: no other one will count them
      stream.late = 0;
      doubt(now, {name.leaf, name.context});
    }
    const bool over = older && stream.frames.empty() && stream.runs.empty();
    if (over && !stream.over_since) stream.over_since = now;
    if (over && *stream.over_since + options_.patience <= now) it = streams_.erase(it);
    else ++it;
  }
  for (auto& [name, source] : sources_) {
    if (!source.waiting_since || *source.waiting_since + options_.patience > now) continue;
    source.waiting_since.reset(); // the next frame begins anew
    doubt(now, name);
  }
  look_at_ = waiting_ > 0 ? std::optional(now + options_.settle) : std::nullopt;
}

/// When to ask for the digest of the first frame that waits. None if it is there, or nothing waits.
std::optional<TimePoint> DigestReceiver::asks_at(const Stream& stream) const {
  if (stream.frames.empty()) return std::nullopt;
  const Frame& first = stream.frames.front();
  if (!stream.runs.empty() && first.counter >= stream.runs.front().first) return std::nullopt;
  const TimePoint last = first.received + options_.ask_after;
  const TimePoint missed = has_gap(stream) ? stream.runs.front().told : std::min(last, stream.left_at.value_or(last));
  return std::max(missed + turn_, stream.ask_at);
}

void DigestReceiver::ask(TimePoint now, const StreamName& name, Stream& stream) {
  if (now >= requests_since_ + options_.ask_again) {
    requests_since_ = now;
    requests_made_ = 0;
  }
  if (std::max(requests_made_, requests_.size()) >= max_requests) {
    stream.ask_at = requests_since_ + options_.ask_again;
    return;
  }
  ++requests_made_;
  const Duration again = stream.ask_again.value_or(options_.ask_again);
  stream.ask_at = now + again;
  stream.ask_again = std::min(2 * again, options_.most_ask_again);
  stream.gave_way = false;
  const KeyId id{static_cast<std::uint32_t>(name.context), name.leaf, static_cast<std::uint8_t>(name.epoch.epoch)};
  requests_.push_back({id, stream.frames.front().counter});
}

// Once, so that nobody keeps us from asking.
void DigestReceiver::handle_request(TimePoint now, const DigestRequest& request) {
  due_known_ = false;
  const SourceName source{request.stream.leaf, static_cast<StreamContext>(request.stream.context)};
  for (auto it = streams_.lower_bound({source.leaf, source.context, {}}); it != streams_.end(); ++it) {
    auto& [name, stream] = *it;
    if (name.leaf != source.leaf || name.context != source.context) break;
    if (static_cast<std::uint8_t>(name.epoch.epoch) != request.stream.epoch_mod_256 || stream.gave_way) continue;
    stream.ask_at = std::max(stream.ask_at, now + options_.ask_again);
    stream.gave_way = true;
  }
}

std::optional<DigestRequest> DigestReceiver::poll_request() {
  if (requests_.empty()) return std::nullopt;
  const DigestRequest request = requests_.front();
  requests_.pop_front();
  return request;
}

std::optional<TimePoint> DigestReceiver::next_deadline() const {
  if (!due_known_) {
    due_ = next_due();
    due_known_ = true;
  }
  return due_ && look_at_ ? std::min(due_, look_at_) : due_ ? due_ : look_at_;
}

/// In all streams, of which many members and epochs make hundreds.
std::optional<TimePoint> DigestReceiver::next_due() const {
  std::optional<TimePoint> next;
  const auto consider = [&](TimePoint at) {
    if (!next || at < *next) next = at;
  };
  for (const auto& [name, stream] : streams_) {
    if (!stream.runs.empty()) consider(settles_at(stream));
    if (!stream.frames.empty()) consider(stream.frames.front().received + options_.patience);
    if (const auto at = asks_at(stream)) consider(*at);
  }
  for (const auto& [name, source] : sources_) {
    if (source.waiting_since) consider(*source.waiting_since + options_.patience);
  }
  return next;
}

void DigestReceiver::forget(std::uint32_t leaf) {
  std::erase_if(streams_, [&](const auto& entry) {
    if (entry.first.leaf != leaf) return false;
    waiting_ -= entry.second.frames.size();
    return true;
  });
  std::erase_if(sources_, [&](const auto& entry) { return entry.first.leaf == leaf; });
  due_known_ = false;
}

void DigestReceiver::clear() {
  streams_.clear();
  sources_.clear();
  outputs_.clear();
  requests_.clear();
  waiting_ = 0;
  look_at_.reset();
  due_known_ = false;
}

std::optional<StreamJudgement> DigestReceiver::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  const StreamJudgement output = outputs_.front();
  outputs_.pop_front();
  return output;
}

} // namespace satsuma::call
