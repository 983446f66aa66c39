#include "load_share.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "io/clock.h"
#include "printable.h"

namespace satsuma::client {

using signaling::Source;
using std::chrono::milliseconds;

namespace {

constexpr Duration audio_interval = milliseconds(20);
constexpr std::uint64_t canned_mark = 0x5a7501a0ca22ed00;
constexpr Duration progress_interval = std::chrono::seconds(5);
constexpr double key_frame_factor = 6; // how much larger than the mean a key frame is

} // namespace

void write_canned_head(SpanWriter& out, std::uint64_t number) {
  out.u64(canned_mark);
  out.u64(number);
  out.u64(static_cast<std::uint64_t>(io::monotonic_now().time_since_epoch().count())); // what the loop calls now is as old as its turn
}

std::optional<CannedHead> read_canned_head(ByteView frame) {
  ByteReader in(frame);
  const auto mark = in.u64();
  const auto number = in.u64();
  const auto made = in.u64();
  if (!mark || *mark != canned_mark || !number || !made) return std::nullopt;
  return CannedHead{*number, static_cast<std::int64_t>(*made)};
}

Totals received(const participant::MediaReceiver::Counters& counters) {
  Totals t;
  t.packets_received = counters.packets;
  t.packets_lost = counters.lost_packets;
  t.bytes_received = counters.bytes;
  t.retransmissions = counters.retransmissions;
  t.nacks = counters.nacks_sent;
  t.key_frames_wanted = counters.key_frames_wanted;
  t.frames_lost = counters.frames_lost;
  return t;
}

LoadShare::LoadShare(const LoadOptions& options, unsigned number, Course& course) : options_(options), number_(number), course_(course) {
  auto buffers = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0));
  if (buffers) buffers_.emplace(std::move(*buffers));
}

Results LoadShare::run() {
  loop_.on_signal([this] { course_.interrupted = true; });
  started_at_ = io::monotonic_now();
  say_at_ = started_at_ + progress_interval;
  results_.first_began = started_at_;
  schedule_joins(started_at_);
  loop_.at(started_at_ + milliseconds(100), [this](TimePoint now) { watch(now); });
  loop_.run();
  finish();
  Results results = results_;
  leave(io::monotonic_now());
  return results;
}

void LoadShare::schedule_joins(TimePoint now) {
  const auto gap = Duration(static_cast<Duration::rep>(1e6 / options_.join_rate));
  for (unsigned i = number_; i < all_; i += options_.threads) {
    loop_.at(now + gap * i, [this, i](TimePoint at) {
      // Publishers first, so that who comes later sees them at once.
      add(at, i % options_.rooms, i / options_.rooms < options_.publishers, false);
    });
  }
}

void LoadShare::begin(Person& p, TimePoint now, std::size_t room, bool publishes, bool newcomer) {
  p.number = made_++;
  p.room = room;
  p.publishes = publishes;
  p.newcomer = newcomer;
  p.decrypts = p.number % std::max(1U, options_.decrypt_every) == 0;
  p.began = results_.last_began = now;
}

void LoadShare::entered(Person& p, TimePoint now) {
  if (p.entered) return;
  p.entered = now;
  (p.newcomer ? results_.newcomer_entered : results_.entered).add(static_cast<double>((now - p.began).count()) / 1000);
  ++results_.in;
}

// ---- what they send

double LoadShare::layer_rate(unsigned layer) const { return options_.video_kbps * 1000.0 / std::pow(3, options_.layers - 1 - layer); }

std::size_t LoadShare::video_frame_size(bool key, double bitrate) const {
  if (options_.packet_bytes > 0) {
    // SFrame and shell once for a frame; packets of the same size.
    const std::size_t payload = options_.packet_bytes - packet_overhead;
    return std::max<std::size_t>(32, payload * options_.packets_per_frame - frame_overhead);
  }
  const double mean = bitrate / 8 / options_.video_fps;
  return static_cast<std::size_t>(std::max(24.0, key ? mean * key_frame_factor : mean));
}

Duration LoadShare::video_interval() const {
  const double rate = options_.packet_bytes > 0 ? options_.packets_per_second / options_.packets_per_frame : options_.video_fps;
  return Duration(static_cast<Duration::rep>(1e6 / rate));
}

void LoadShare::begin_sending(Person& p, TimePoint now) {
  if (!p.publishes || options_.muted) return;
  // Spread over an interval, so that all do not send at once.
  for (const Source source : {Source::camera, Source::microphone}) {
    const bool video = source == Source::camera;
    auto& timer = video ? p.video_timer : p.audio_timer;
    if (timer || !(video ? options_.video : options_.audio)) continue;
    const TimePoint due = now + (video ? video_interval() : audio_interval) * static_cast<Duration::rep>(p.number % 16) / 16;
    timer = loop_.at(due, [this, &p, source, due](TimePoint at) { tick(p, source, due, at); });
  }
}

void LoadShare::end_sending(Person& p) {
  for (auto& timer : {p.video_timer, p.audio_timer})
    if (timer) loop_.cancel(*timer);
}

void LoadShare::tick(Person& p, Source source, TimePoint due, TimePoint now) {
  const bool video = source == Source::camera;
  if (send(p, now, source)) ++(video ? p.videos : p.audios);
  const Duration interval = video ? video_interval() : audio_interval;
  due += interval;
  if (due < now - milliseconds(200)) { // we cannot keep up: say so rather than send bursts
    if (video) results_.behind += static_cast<std::uint64_t>((now - due) / interval);
    due = now;
  }
  (video ? p.video_timer : p.audio_timer) = loop_.at(due, [this, &p, source, due](TimePoint at) { tick(p, source, due, at); });
}

// ---- what they receive

void LoadShare::take(Person& p, TimePoint now, TimePoint arrived, bool audio, const CannedHead& head, Heard& source, bool fresh, std::size_t heard) {
  if (fresh) {
    if (!p.all_seen && heard >= expected_sources(p)) {
      p.all_seen = now;
      if (!p.newcomer) results_.last_all_seen = now;
      (p.newcomer ? results_.newcomer_all_seen : results_.all_seen).add(static_cast<double>((now - p.began).count()) / 1000);
    }
    source = {head.number, now};
  } else {
    const std::uint64_t last = source.number;
    if (measuring_ && head.number > last + 1 && head.number - last < 100'000) results_.missing += head.number - last - 1;
    source = {std::max(last, head.number), now};
  }
  if (!measuring_) return;
  const auto since_made = [&](TimePoint at) { return static_cast<double>(at.time_since_epoch().count() - head.made) / 1000; };
  (audio ? results_.audio_latency : results_.video_latency).add(since_made(now));
  (audio ? results_.audio_arrival : results_.video_arrival).add(since_made(arrived));
}

std::size_t LoadShare::expected_sources(const Person& p) const {
  if (options_.muted) return 0;
  return (options_.publishers + options_.other_publishers - (p.publishes ? 1U : 0U)) * ((options_.audio ? 1U : 0U) + (options_.video ? 1U : 0U));
}

void LoadShare::problem(const std::string& sentence) {
  if (++results_.problems[sentence] == 1 && !options_.json) std::fprintf(stderr, "satsuma load: %s\n", printable(sentence).c_str());
}

void LoadShare::fail(const std::string& sentence) {
  problem(sentence);
  results_.failed = course_.failed = true;
}

// ---- the course of things

void LoadShare::watch(TimePoint now) {
  Course::Share& share = course_.shares[number_];
  if (course_.interrupted || course_.failed) return loop_.stop();
  share.in = results_.in;
  share.all_seen = results_.all_seen.count();
  if (now >= tell_at_) {
    tell_at_ = now + milliseconds(500);
    const Totals t = totals();
    share.decrypted = t.frames_received;
    share.undecryptable = t.undecryptable;
    share.churned = results_.churned;
    share.rejoins = results_.rejoins;
  }
  if (!measuring_) {
    if (!share.ready) share.ready = ready();
    const double waited = std::chrono::duration<double>(now - started_at_).count();
    const bool late = waited > options_.ready_timeout + all_ / options_.join_rate;
    if (late && course_.sum(&Course::Share::in) == 0) fail("Nobody came in within the time that --ready-timeout gives.");
    else if (course_.ready() || late) begin_measuring(now, waited);
    else if (number_ == 0 && !options_.json && now >= say_at_) say_who_is_in(now);
  } else {
    const double since = since_measuring(now);
    if (number_ == 0 && since >= static_cast<double>(measured_.memory.size()) * 60) look_at_memory(since);
    if (since >= options_.seconds) return loop_.stop();
  }
  loop_.at(now + milliseconds(50), [this](TimePoint at) { watch(at); });
}

void LoadShare::say_who_is_in(TimePoint now) {
  say_at_ = now + progress_interval;
  std::printf("%llu of %u are in, %llu have had frames of every publisher\n", static_cast<unsigned long long>(course_.sum(&Course::Share::in)), all_,
              static_cast<unsigned long long>(course_.sum(&Course::Share::all_seen)));
  std::fflush(stdout);
}

void LoadShare::begin_measuring(TimePoint now, double waited) {
  if (!course_.shares[number_].ready) {
    results_.failed = true;
    problem("Not all came in and saw all publishers in time: " + std::to_string(results_.in) + " are in, " + std::to_string(results_.all_seen.count()) + " saw all.");
  }
  measured_.ready_after = waited;
  measuring_ = true;
  measuring_since_ = now;
  results_.before = totals();
  if (number_ == 0) {
    measured_.cpu_before = cpu_seconds();
    server_cpu_before_ = server_cpu_now();
    if (!options_.wait_file.empty()) std::ofstream(options_.wait_file) << "ready\n";
    if (!options_.json) std::printf("%u in after %.1f s; measuring for %.0f s\n", static_cast<unsigned>(course_.sum(&Course::Share::in)), waited, options_.seconds);
    look_at_memory(0);
  }
  on_measuring(now);
}

void LoadShare::look_at_memory(double since) {
  auto& memory = measured_.memory;
  memory.push_back({since, options_.server_pid == 0 ? 0 : memory_kb(std::to_string(options_.server_pid)), memory_kb("self")});
  if (options_.json || since == 0 || since >= options_.seconds) return; // the report begins and ends it
  std::printf("%.0f s: %llu in, %llu frames decrypted, %llu undecryptable, %llu replaced, %llu rejoined; memory %.1f MB here", since,
              static_cast<unsigned long long>(course_.sum(&Course::Share::in)), static_cast<unsigned long long>(course_.sum(&Course::Share::decrypted)),
              static_cast<unsigned long long>(course_.sum(&Course::Share::undecryptable)), static_cast<unsigned long long>(course_.sum(&Course::Share::churned)),
              static_cast<unsigned long long>(course_.sum(&Course::Share::rejoins)), static_cast<double>(memory.back().own_kb) / 1024);
  if (options_.server_pid != 0) std::printf(", %.1f MB of the server", static_cast<double>(memory.back().server_kb) / 1024);
  std::printf("\n");
  std::fflush(stdout);
}

void LoadShare::finish() {
  const TimePoint now = io::monotonic_now();
  measured_.seconds = measuring_ ? since_measuring(now) : 0;
  results_.totals = totals();
  results_.hears_all = hear_all(now);
  if (number_ != 0 || !measuring_) return;
  look_at_memory(measured_.seconds);
  measured_.server_cpu = server_cpu_now() - server_cpu_before_;
}

} // namespace satsuma::client
