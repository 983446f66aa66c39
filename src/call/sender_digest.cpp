#include "call/sender_digest.h"

#include <algorithm>
#include <cstring>

#include "crypto/hash.h"

namespace satsuma::call {

namespace {

constexpr std::uint8_t digest_byte = 0xff; // an MLSMessage begins with its version, 0
constexpr std::uint8_t digest_version = 2;
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

// ---- sending

Duration DigestSender::interval() const {
  return std::clamp<Duration>(options_.interval_per_member * static_cast<Duration::rep>(members_), options_.least_interval, options_.greatest_interval);
}

/// On the wire.
std::size_t DigestSender::digest_size() const {
  std::size_t size = digest_header_size + options_.signature_size + options_.message_overhead;
  for (const Run& run : runs_) size += run_header_size + marks_size(run.hashes.size());
  return size;
}

void DigestSender::clear() {
  runs_.clear();
  frames_ = sent_bytes_ = 0;
  since_.reset();
  check_at_.reset();
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
  sent_bytes_ += size + options_.packet_overhead * ((size + options_.packet_payload - 1) / options_.packet_payload);
  if (++frames_ > max_frames) {
    frames_ -= runs_.front().hashes.size();
    runs_.pop_front();
  }
  if (!since_) since_ = now;
  if (!check_at_) check_at_ = now + interval();
  // Where epochs follow each other quickly, each brings new runs, and none may be given up.
  if (is_crowded(runs_.size(), frames_)) check_at_ = std::min(*check_at_, now);
}

std::optional<Bytes> DigestSender::take(TimePoint now, EpochKeys::EpochName epoch) {
  if (!check_at_ || now < *check_at_) return std::nullopt;
  if (runs_.empty()) {
    check_at_.reset();
    return std::nullopt;
  }
  const bool cheap = digest_size() * options_.share <= sent_bytes_;
  if (!cheap && now < *since_ + options_.greatest_interval && !is_crowded(runs_.size(), frames_)) {
    check_at_ = std::min(now + recheck, *since_ + options_.greatest_interval);
    return std::nullopt;
  }
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
  clear();
  check_at_ = now + interval(); // whoever sends goes on, and a caller need not ask for the deadline after each frame
  return std::move(writer).take();
}

// ---- receiving

void DigestReceiver::drop_front(Stream& stream, std::size_t count) {
  stream.frames.erase(stream.frames.begin(), stream.frames.begin() + static_cast<std::ptrdiff_t>(count));
  waiting_ -= count;
}

void DigestReceiver::handle_received(TimePoint now, EpochKeys::EpochName epoch, std::uint32_t leaf, StreamContext context,
                                     std::uint64_t counter, const sframe::FrameHash& hash) {
  const StreamName name{leaf, context, epoch};
  auto stream = streams_.find(name);
  if (stream == streams_.end()) {
    if (streams_.size() >= max_streams) return;
    stream = streams_.try_emplace(name).first;
  }
  Source& source = sources_[{leaf, context}];
  if (!source.waiting_since) source.waiting_since = now;
  Stream& s = stream->second;
  if (counter < s.judged) {
    ++s.late;
    return;
  }
  if (s.frames.size() >= max_waiting || waiting_ >= max_waiting_in_all) {
    if (s.frames.empty()) return;
    drop_front(s, (s.frames.size() + 3) / 4);
  }
  // Almost always the last one.
  const auto place = std::ranges::upper_bound(s.frames.rbegin(), s.frames.rend(), counter, std::ranges::greater{}, &Frame::counter).base();
  s.frames.insert(place, Frame{counter, now, hash});
  ++waiting_;
  // The last piece of a run that was told already.
  for (auto run = s.runs.begin(); run != s.runs.end(); ++run) {
    if (counter < run->first || counter >= run->first + run->count || frames_of(s, *run) < run->count) continue;
    const Run complete = std::move(*run);
    s.runs.erase(run);
    settle(name, s, complete);
    break;
  }
}

std::size_t DigestReceiver::frames_of(const Stream& stream, const Run& run) const {
  const auto from = std::ranges::lower_bound(stream.frames, run.first, {}, &Frame::counter);
  const auto to = std::ranges::lower_bound(stream.frames, run.first + run.count, {}, &Frame::counter);
  return static_cast<std::size_t>(to - from);
}

Result<void> DigestReceiver::handle_digest(TimePoint now, EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest) {
  ByteReader reader(digest);
  const auto low = reader.u8();
  if (!low || *low != static_cast<std::uint8_t>(epoch.epoch)) return digest_malformed;
  std::vector<std::pair<StreamName, Run>> runs;
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
    Run run{*first, *count, {}, to_bytes(*marks), now + options_.settle};
    std::ranges::copy(*root, run.root.begin());
    runs.emplace_back(StreamName{leaf, static_cast<StreamContext>(*where & 3), {epoch.era, epoch.epoch - back}}, std::move(run));
  }
  for (auto& [name, run] : runs) {
    const auto found = streams_.find(name);
    // Of a stream that we do not receive, or of the leaf's former owner.
    if (found == streams_.end() || name.epoch.epoch < since) continue;
    Stream& stream = found->second;
    if (run.first < stream.judged) continue; // said before: anybody can repeat it
    if (frames_of(stream, run) == run.count) {
      settle(name, stream, run);
    } else if (stream.runs.size() < max_unsettled) {
      stream.runs.push_back(std::move(run));
    }
  }
  return {};
}

// Compares, and forgets the frames of the run and those before it, which no later one will name.
void DigestReceiver::settle(const StreamName& name, Stream& stream, const Run& run) {
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
  const bool all_told = static_cast<std::size_t>(from - stream.frames.begin()) < too_many_untold && stream.late < std::max<std::size_t>(too_many_untold, run.count / 4);
  stream.late = 0;
  stream.judged = std::max(stream.judged, run.first + run.count);
  drop_front(stream, static_cast<std::size_t>(to - stream.frames.begin()));

  const SourceName source{name.leaf, name.context};
  if (!fits) {
    judge(source, StreamVerdict::forged);
  } else if (!all_told) {
    judge(source, StreamVerdict::unconfirmed);
  } else if (whole || count * bits >= enough_mark_bits) {
    sources_[source].waiting_since.reset();
    if (!stream.frames.empty()) sources_[source].waiting_since = stream.frames.front().received;
    judge(source, StreamVerdict::confirmed);
  }
}

void DigestReceiver::judge(const SourceName& name, StreamVerdict verdict) {
  Source& source = sources_[name];
  if (source.verdict == verdict || source.verdict == StreamVerdict::forged) return;
  source.verdict = verdict;
  outputs_.push_back({name.leaf, name.context, verdict});
}

void DigestReceiver::handle_timeout(TimePoint now) {
  for (auto it = streams_.begin(); it != streams_.end();) {
    auto& [name, stream] = *it;
    while (!stream.runs.empty() && stream.runs.front().settles_at <= now) {
      const Run run = std::move(stream.runs.front());
      stream.runs.pop_front();
      settle(name, stream, run);
    }
    const auto old = std::ranges::find_if(stream.frames, [&](const Frame& frame) { return frame.received + options_.patience > now; });
    const auto untold = static_cast<std::size_t>(old - stream.frames.begin());
    drop_front(stream, untold);
    if (untold >= too_many_untold) judge({name.leaf, name.context}, StreamVerdict::unconfirmed);
    // An old epoch's, once nothing of it waits; the present one's judgement goes on.
    const auto next = std::next(it);
    const bool older = next != streams_.end() && next->first.leaf == name.leaf && next->first.context == name.context;
    if (older && stream.frames.empty() && stream.runs.empty()) it = streams_.erase(it);
    else ++it;
  }
  for (auto& [name, source] : sources_) {
    if (!source.waiting_since || *source.waiting_since + options_.patience > now) continue;
    source.waiting_since.reset(); // the next frame begins anew
    judge(name, StreamVerdict::unconfirmed);
  }
}

std::optional<TimePoint> DigestReceiver::next_deadline() const {
  std::optional<TimePoint> next;
  const auto consider = [&](TimePoint at) {
    if (!next || at < *next) next = at;
  };
  for (const auto& [name, stream] : streams_) {
    if (!stream.runs.empty()) consider(stream.runs.front().settles_at);
    if (!stream.frames.empty()) consider(stream.frames.front().received + options_.patience);
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
}

void DigestReceiver::clear() {
  streams_.clear();
  sources_.clear();
  outputs_.clear();
  waiting_ = 0;
}

std::optional<StreamJudgement> DigestReceiver::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  const StreamJudgement output = outputs_.front();
  outputs_.pop_front();
  return output;
}

} // namespace satsuma::call
