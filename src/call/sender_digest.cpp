#include "call/sender_digest.h"

#include <algorithm>
#include <cstring>

#include "crypto/hash.h"

namespace satsuma::call {

namespace {

constexpr std::uint8_t digest_byte = 0xff; // in no UTF-8 text
constexpr std::uint8_t digest_version = 1;
constexpr std::size_t salt_size = 16;
constexpr std::size_t run_header_size = 8 + sizeof(sframe::FrameHash); // epochs back, context, first, count
constexpr std::string_view root_label = "satsuma digest 1";
constexpr Duration recheck = std::chrono::milliseconds(250);

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

std::uint8_t mark_of(crypto::HmacKey& salt, const sframe::FrameHash& hash) {
  Hash32 tag;
  salt.tag_into({hash}, tag);
  return tag[0] & 0xf;
}

bool is_crowded(std::size_t runs, std::size_t frames) { return runs >= DigestSender::max_runs / 2 || frames >= DigestSender::max_frames / 2; }

std::uint8_t mark_at(ByteView marks, std::size_t i) { return i % 2 == 0 ? marks[i / 2] >> 4 : marks[i / 2] & 0xf; }

} // namespace

bool is_digest(ByteView content) { return !content.empty() && content[0] == digest_byte; }

// ---- sending

Duration DigestSender::interval() const {
  return std::clamp<Duration>(options_.interval_per_member * static_cast<Duration::rep>(members_), options_.least_interval, options_.greatest_interval);
}

std::size_t DigestSender::digest_size() const {
  return 2 + salt_size + 1 + runs_.size() * run_header_size + (frames_ + runs_.size()) / 2 + options_.message_overhead;
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
  sent_bytes_ += size;
  if (++frames_ > max_frames) {
    frames_ -= runs_.front().hashes.size();
    runs_.pop_front();
  }
  if (!since_) since_ = now;
  if (!check_at_) check_at_ = now + interval();
  // Where epochs follow each other quickly, each brings new runs, and none may be given up.
  if (is_crowded(runs_.size(), frames_)) check_at_ = std::min(*check_at_, now);
}

std::optional<Bytes> DigestSender::take(TimePoint now, EpochKeys::EpochName epoch, RandomSource& random) {
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
  writer.u8(digest_byte);
  writer.u8(digest_version);
  std::array<std::uint8_t, salt_size> salt;
  random.fill(salt);
  writer.bytes(salt);
  crypto::HmacKey key(crypto::HashAlgorithm::sha256, salt);
  Bytes hashes;
  for (const Run& run : runs_) {
    // Of a group that is no more, or further back than anybody keeps keys.
    if (run.epoch.era != epoch.era || run.epoch.epoch > epoch.epoch || epoch.epoch - run.epoch.epoch > 0xff) continue;
    hashes.clear();
    for (const sframe::FrameHash& hash : run.hashes) hashes.insert(hashes.end(), hash.begin(), hash.end());
    writer.u8(static_cast<std::uint8_t>(epoch.epoch - run.epoch.epoch));
    writer.u8(static_cast<std::uint8_t>(run.context));
    writer.u32(static_cast<std::uint32_t>(run.first));
    writer.u16(static_cast<std::uint16_t>(run.hashes.size()));
    writer.bytes(root_of(hashes));
    for (std::size_t i = 0; i < run.hashes.size(); i += 2) {
      const std::uint8_t low = i + 1 < run.hashes.size() ? mark_of(key, run.hashes[i + 1]) : 0;
      writer.u8(static_cast<std::uint8_t>(mark_of(key, run.hashes[i]) << 4 | low));
    }
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
  const auto byte = reader.u8(), version = reader.u8();
  if (!byte || *byte != digest_byte || !version || *version != digest_version) return digest_malformed;
  const auto salt = reader.bytes(salt_size);
  if (!salt) return digest_malformed;
  std::vector<std::pair<StreamName, Run>> runs;
  while (!reader.empty()) {
    const auto back = reader.u8(), context = reader.u8();
    const auto first = reader.u32();
    const auto count = reader.u16();
    const auto root = reader.bytes(sizeof(sframe::FrameHash));
    if (!back || !context || !first || !count || !root) return digest_malformed;
    if (*context >= stream_contexts || *back > epoch.epoch || *count == 0 || *count > DigestSender::max_frames) return digest_malformed;
    const auto marks = reader.bytes((std::size_t{*count} + 1) / 2);
    if (!marks || runs.size() >= DigestSender::max_runs) return digest_malformed;
    Run run{*first, *count, {}, {}, to_bytes(*marks), now + options_.settle};
    std::ranges::copy(*salt, run.salt.begin());
    std::ranges::copy(*root, run.root.begin());
    runs.emplace_back(StreamName{leaf, static_cast<StreamContext>(*context), {epoch.era, epoch.epoch - *back}}, std::move(run));
  }
  for (auto& [name, run] : runs) {
    const auto found = streams_.find(name);
    // Of a stream that we do not receive, or of the leaf's former owner.
    if (found == streams_.end() || name.epoch.epoch < since) continue;
    Stream& stream = found->second;
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
  crypto::HmacKey salt(crypto::HashAlgorithm::sha256, run.salt);
  bool fits = true;
  Bytes hashes;
  for (auto frame = from; frame != to; ++frame) {
    fits = fits && mark_of(salt, frame->hash) == mark_at(run.marks, static_cast<std::size_t>(frame->counter - run.first));
    hashes.insert(hashes.end(), frame->hash.begin(), frame->hash.end());
  }
  const bool whole = count == run.count;
  if (whole) fits = root_of(hashes) == run.root;
  // What came only after the salt was known, and what no digest told of, proves nothing, whoever delays and withholds.
  const bool all_told = static_cast<std::size_t>(from - stream.frames.begin()) < enough_marks && stream.late < std::max<std::size_t>(enough_marks, run.count / 4);
  stream.late = 0;
  stream.judged = std::max(stream.judged, run.first + run.count);
  drop_front(stream, static_cast<std::size_t>(to - stream.frames.begin()));

  const SourceName source{name.leaf, name.context};
  if (!fits) {
    judge(source, StreamVerdict::forged);
  } else if (!all_told) {
    judge(source, StreamVerdict::unconfirmed);
  } else if (whole || count >= enough_marks) {
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
    if (untold >= enough_marks) judge({name.leaf, name.context}, StreamVerdict::unconfirmed);
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
