// satsuma load: many participants in one process, from canned frames: real MLS, SFrame, DTLS and SRTP, and no encoding.

#include <sys/resource.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "address.h"
#include "commands.h"
#include "event_loop.h"
#include "io/clock.h"
#include "native_client.h"
#include "statistics.h"

namespace satsuma::client {
namespace {

using participant::Leg;
using signaling::Source;
using std::chrono::milliseconds;

constexpr Duration audio_interval = milliseconds(20);
constexpr std::size_t audio_frame_bytes = 80; // 32 kbit/s
constexpr std::uint64_t canned_mark = 0x5a7501a0ca22ed00; // what a frame of ours begins with
constexpr double key_frame_factor = 6;         // how much larger than the mean a key frame is
constexpr std::size_t frame_overhead = 20;                  // SFrame and shell
constexpr std::size_t packet_overhead = 4 + 12 + 4 + 8 + 16; // the VP8 descriptor, RTP with its extensions, SRTP

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Totals {
  std::uint64_t frames_received = 0, duplicates = 0, before_entry = 0, undecryptable = 0, refused = 0, sent = 0, unsent = 0;
  std::uint64_t packets_received = 0, packets_lost = 0, bytes_received = 0, retransmissions = 0, nacks = 0, key_frames_wanted = 0, frames_lost = 0, feedback = 0, packets_sent = 0;

  void add(participant::Participant& p, int sign) {
    const auto put = [sign](std::uint64_t& to, std::uint64_t value) { to = sign > 0 ? to + value : to - value; };
    const auto& f = p.frames();
    put(frames_received, f.decrypted);
    put(duplicates, f.duplicates);
    put(before_entry, f.before_entry);
    put(undecryptable, f.undecryptable);
    put(refused, f.refused);
    put(sent, f.sent);
    put(unsent, f.unsent);
    if (auto* receiver = p.receiver()) {
      const auto& c = receiver->counters();
      put(packets_received, c.packets);
      put(packets_lost, c.lost_packets);
      put(bytes_received, c.bytes);
      put(retransmissions, c.retransmissions);
      put(nacks, c.nacks_sent);
      put(key_frames_wanted, c.key_frames_wanted);
      put(frames_lost, c.frames_lost);
    }
    if (const auto* sender = p.sender()) {
      put(feedback, sender->counters().feedback_received);
      put(packets_sent, sender->counters().packets);
    }
  }
};

class Load final : public NativeClient::Listener {
 public:
  Load(const LoadOptions& options, std::vector<RoomLink> links, Server server, dtls::Context context)
      : options_(options), links_(std::move(links)), server_(std::move(server)), context_(std::move(context)) {
    auto buffers = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0));
    if (buffers) buffers_.emplace(std::move(*buffers));
  }

  int run() {
    loop_.on_signal([this] {
      interrupted_ = true;
      loop_.stop();
    });
    started_at_ = io::monotonic_now();
    schedule_joins(started_at_);
    loop_.at(started_at_ + milliseconds(100), [this](TimePoint now) { watch(now); });
    loop_.run();
    finish();
    // Without a goodbye whoever comes next would wait until the server finds us gone.
    for (auto& [number, p] : people_) {
      p->leaving = true;
      p->client->leave(io::monotonic_now());
    }
    loop_.run_for(milliseconds(300));
    return failed_ ? 1 : 0;
  }

 private:
  struct Person {
    std::unique_ptr<NativeClient> client;
    std::size_t room = 0;
    bool publishes = false;
    bool decrypts = true;
    TimePoint began;
    std::optional<TimePoint> entered, all_seen;
    bool saw_everybody = false; ///< in the list
    std::map<std::pair<std::uint32_t, Source>, std::uint64_t> last_number; ///< by leaf, for what comes twice or never
    std::size_t sources_seen = 0;
    std::uint64_t videos = 0, audios = 0;
    bool key_due = true;
    std::optional<EventLoop::TimerId> video_timer, audio_timer;
    bool leaving = false;
  };

  void schedule_joins(TimePoint now) {
    const auto gap = Duration(static_cast<Duration::rep>(1e6 / options_.join_rate));
    for (unsigned i = 0; i < options_.participants * options_.rooms; ++i) {
      loop_.at(now + gap * i, [this, i](TimePoint at) {
        // Publishers first, so that who comes later sees them at once.
        add(at, i % options_.rooms, i / options_.rooms < options_.publishers);
      });
    }
  }

  void add(TimePoint now, std::size_t room, bool publishes) {
    auto person = std::make_unique<Person>();
    person->room = room;
    person->publishes = publishes;
    person->decrypts = made_ % std::max(1U, options_.decrypt_every) == 0;
    person->began = last_began_ = now;
    person->client = std::make_unique<NativeClient>(loop_, server_, context_, buffers_ ? &*buffers_ : nullptr, *this);
    person->client->number = made_++;
    participant::ParticipantConfig config;
    config.session.room = links_[room].room;
    config.session.secret = links_[room].secret.clone();
    config.session.suite = links_[room].suite;
    SecretBytes seed(32);
    random_.fill(seed.mutable_view());
    config.session.device_seed = std::move(seed);
    config.session.name = "load " + std::to_string(person->client->number + 1);
    if (publishes && options_.audio) config.publish.push_back(Source::microphone);
    if (publishes && options_.video) config.publish.push_back(Source::camera);
    config.receiver.history_packets = 128;
    config.receiver.audio_frames = config.receiver.video_frames = person->decrypts;
    if (options_.packet_bytes > 0) config.max_payload = options_.packet_bytes - packet_overhead + 4;
    if (!options_.connect.media_via.empty()) config.media_via = parse_address(options_.connect.media_via);
    config.transport = options_.connect.transport;
    Person& p = *person;
    people_[p.client->number] = std::move(person);
    if (const auto started = p.client->start(now, std::move(config)); !started) {
      problem(started.error());
      failed_ = true;
      loop_.stop();
    }
  }

  // ---- what they send

  std::size_t frame_size(bool key) const {
    if (options_.packet_bytes > 0) {
      // SFrame and shell once for a frame; packets of the same size.
      const std::size_t payload = options_.packet_bytes - packet_overhead;
      return std::max<std::size_t>(32, payload * options_.packets_per_frame - frame_overhead);
    }
    const double mean = options_.video_kbps * 1000.0 / 8 / options_.video_fps;
    return static_cast<std::size_t>(std::max(24.0, key ? mean * key_frame_factor : mean));
  }
  Duration video_interval() const {
    const double rate = options_.packet_bytes > 0 ? options_.packets_per_second / options_.packets_per_frame : options_.video_fps;
    return Duration(static_cast<Duration::rep>(1e6 / rate));
  }

  void send(Person& p, TimePoint now, Source source) {
    const bool video = source == Source::camera;
    frame_.resize(video ? frame_size(p.key_due) : audio_frame_bytes);
    SpanWriter out(frame_);
    out.u64(canned_mark);
    out.u64(video ? p.videos : p.audios);
    out.u64(static_cast<std::uint64_t>(now.time_since_epoch().count()));
    const auto timestamp = static_cast<std::uint32_t>(now.time_since_epoch().count() * (video ? 90 : 48) / 1000);
    const bool key = video && p.key_due;
    if (!p.client->send_frame(now, source, frame_, timestamp, key)) return;
    ++(video ? p.videos : p.audios);
    if (key) p.key_due = false;
  }

  void video_tick(Person& p, TimePoint due, TimePoint now) {
    send(p, now, Source::camera);
    due += video_interval();
    if (due < now - milliseconds(200)) { // we cannot keep up: say so rather than send bursts
      behind_ += static_cast<std::uint64_t>((now - due) / video_interval());
      due = now;
    }
    p.video_timer = loop_.at(due, [this, &p, due](TimePoint at) { video_tick(p, due, at); });
  }
  void audio_tick(Person& p, TimePoint due, TimePoint now) {
    send(p, now, Source::microphone);
    due += audio_interval;
    if (due < now - milliseconds(200)) due = now;
    p.audio_timer = loop_.at(due, [this, &p, due](TimePoint at) { audio_tick(p, due, at); });
  }

  // ---- what happens to them

  Person& of(NativeClient& client) { return *people_.at(client.number); }

  void on_session(NativeClient& client, TimePoint now, const call::SessionOutput& output) override {
    if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
      Person& p = of(client);
      if (!p.entered) {
        p.entered = now;
        entered_.add(static_cast<double>((now - p.began).count()) / 1000);
        ++in_;
      }
      if (std::pair(epoch->era, epoch->epoch) > newest_epoch_[p.room]) {
        newest_epoch_[p.room] = {epoch->era, epoch->epoch};
        ++epochs_;
      }
      if (!p.saw_everybody && epoch->roster.size() >= options_.participants + options_.others) {
        p.saw_everybody = true;
        last_saw_everybody_ = now;
        whole_epoch_ = epoch->epoch;
      }
    } else if (std::holds_alternative<call::RejoiningEvent>(output)) {
      ++rejoins_;
    } else if (const auto* error = std::get_if<call::ErrorEvent>(&output)) {
      problem(error->text);
    }
  }

  void on_media(NativeClient& client, TimePoint now, Leg leg, bool connected) override {
    Person& p = of(client);
    if (!connected) {
      if (!p.leaving) ++media_lost_;
      return;
    }
    if (leg != Leg::publish || !p.publishes) return;
    // Spread over an interval, so that all do not send at once.
    if (options_.video && !p.video_timer) {
      const TimePoint due = now + video_interval() * static_cast<Duration::rep>(client.number % 16) / 16;
      p.video_timer = loop_.at(due, [this, &p, due](TimePoint at) { video_tick(p, due, at); });
    }
    if (options_.audio && !p.audio_timer) {
      const TimePoint due = now + audio_interval * static_cast<Duration::rep>(client.number % 16) / 16;
      p.audio_timer = loop_.at(due, [this, &p, due](TimePoint at) { audio_tick(p, due, at); });
    }
  }

  void on_key_frame_wanted(NativeClient& client, TimePoint, Source) override { of(client).key_due = true; }

  void on_frame(NativeClient& client, TimePoint now, const participant::Frame& frame) override {
    Person& p = of(client);
    ByteReader in(frame.payload);
    const auto mark = in.u64();
    const auto number = in.u64();
    const auto made = in.u64();
    if (!mark || *mark != canned_mark || !number || !made) { // of somebody else in the room
      ++strange_;
      return;
    }
    const auto [last, fresh] = p.last_number.try_emplace({frame.leaf, frame.source}, *number);
    if (fresh) {
      ++p.sources_seen;
      const std::size_t expected = (options_.publishers + options_.other_publishers - (p.publishes ? 1U : 0U)) * ((options_.audio ? 1U : 0U) + (options_.video ? 1U : 0U));
      if (!p.all_seen && p.sources_seen >= expected) {
        p.all_seen = now;
        last_all_seen_ = now;
        all_seen_.add(static_cast<double>((now - p.began).count()) / 1000);
      }
    } else {
      if (measuring_ && *number > last->second + 1 && *number - last->second < 100'000) missing_ += *number - last->second - 1;
      if (*number > last->second) last->second = *number;
    }
    if (measuring_) {
      const auto latency = static_cast<double>(now.time_since_epoch().count() - static_cast<std::int64_t>(*made)) / 1000;
      (signaling::is_audio(frame.source) ? audio_latency_ : video_latency_).add(latency);
    }
  }

  void on_problem(NativeClient& client, TimePoint, const std::string& sentence) override {
    if (!of(client).leaving) problem(sentence);
  }

  void on_end(NativeClient& client, TimePoint now, const std::string& why) override {
    Person& p = of(client);
    if (p.entered) --in_;
    if (!p.leaving) {
      problem(why);
      ++ended_;
    }
    totals_.add(client.participant(), 1);
    for (auto& timer : {p.video_timer, p.audio_timer})
      if (timer) loop_.cancel(*timer);
    // Its function stands on the stack.
    loop_.at(now, [this, number = client.number](TimePoint) { people_.erase(number); });
  }

  void problem(const std::string& sentence) {
    if (++problems_[sentence] == 1 && !options_.json) std::fprintf(stderr, "satsuma load: %s\n", sentence.c_str());
  }

  // ---- the course of things

  Totals totals() {
    Totals sum = totals_;
    for (auto& [number, p] : people_) sum.add(p->client->participant(), 1);
    return sum;
  }

  void watch(TimePoint now) {
    const unsigned all = options_.participants * options_.rooms;
    if (!measuring_) {
      const bool ready = in_ >= all && std::all_of(people_.begin(), people_.end(), [&](const auto& entry) {
                           const Person& p = *entry.second;
                           return p.client->participant().connected(Leg::subscribe) && (!p.publishes || p.client->participant().connected(Leg::publish)) &&
                                  p.saw_everybody && (!p.decrypts || p.all_seen || publishers_ <= (p.publishes ? 1U : 0U));
                         });
      const double waited = std::chrono::duration<double>(now - started_at_).count();
      if (ready || waited > options_.ready_timeout + all / options_.join_rate) {
        if (!ready) {
          failed_ = true;
          problem("not all came in and saw all publishers in time: " + std::to_string(in_) + " of " + std::to_string(all) + " are in, " + std::to_string(all_seen_.count()) + " saw all.");
        }
        ready_after_ = waited;
        measuring_ = true;
        measuring_since_ = now;
        before_ = totals();
        cpu_before_ = cpu_seconds();
        epochs_before_ = epochs_;
        if (!options_.wait_file.empty()) std::ofstream(options_.wait_file) << "ready\n";
        if (!options_.json) {
          std::printf("%u in after %.1f s; measuring for %.0f s\n", in_, waited, options_.seconds);
          std::fflush(stdout);
        }
        if (options_.churn > 0) churn(now);
      }
    } else if (std::chrono::duration<double>(now - measuring_since_).count() >= options_.seconds) {
      loop_.stop();
      return;
    }
    loop_.at(now + milliseconds(50), [this](TimePoint at) { watch(at); });
  }

  void churn(TimePoint now) {
    // The oldest of those that publish nothing leaves, and somebody new comes.
    for (auto& [number, p] : people_) {
      if (p->publishes || p->leaving || !p->entered) continue;
      p->leaving = true;
      ++churned_;
      const std::size_t room = p->room;
      p->client->leave(now);
      add(now, room, false);
      break;
    }
    loop_.at(now + Duration(static_cast<Duration::rep>(1e6 / options_.churn)), [this](TimePoint at) { churn(at); });
  }

  void finish() {
    const TimePoint now = io::monotonic_now();
    const double seconds = measuring_ ? std::chrono::duration<double>(now - measuring_since_).count() : 0;
    Totals t = totals();
    const auto since = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
    const std::uint64_t packets = since(t.packets_received, before_.packets_received), lost = since(t.packets_lost, before_.packets_lost);
    const double cpu = measuring_ ? cpu_seconds() - cpu_before_ : cpu_seconds();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    nlohmann::json j;
    j["participants"] = options_.participants * options_.rooms;
    j["rooms"] = options_.rooms;
    j["publishers"] = options_.publishers * options_.rooms;
    j["in"] = in_;
    j["all_in_seconds"] = ready_after_;
    j["join_ms"] = {{"p50", entered_.at(0.5)}, {"p95", entered_.at(0.95)}, {"max", entered_.highest()}};
    j["join_to_all_frames_ms"] = {{"p50", all_seen_.at(0.5)}, {"p95", all_seen_.at(0.95)}, {"max", all_seen_.highest()}, {"count", all_seen_.count()}};
    // By the machine's clock, so that several generators' can be compared.
    const auto clock = [](TimePoint at) { return static_cast<double>(at.time_since_epoch().count()) / 1e6; };
    j["clock"] = {{"first_began", clock(started_at_)}, {"last_began", clock(last_began_)}, {"last_saw_everybody", clock(last_saw_everybody_)}, {"last_saw_all_frames", clock(last_all_seen_)}};
    j["epoch_with_everybody"] = whole_epoch_;
    j["cpu_seconds_until_ready"] = measuring_ ? cpu_before_ : cpu;
    j["measured_seconds"] = seconds;
    j["packets_sent"] = since(t.packets_sent, before_.packets_sent);
    j["packets_received"] = packets;
    j["packets_per_second"] = seconds > 0 ? static_cast<double>(packets) / seconds : 0;
    j["packets_lost"] = lost;
    j["bytes_received"] = since(t.bytes_received, before_.bytes_received);
    j["frames_decrypted"] = since(t.frames_received, before_.frames_received);
    j["frames_missing"] = missing_;
    j["frames_given_up"] = since(t.frames_lost, before_.frames_lost);
    j["undecryptable"] = t.undecryptable;
    j["refused"] = t.refused;
    j["before_entry"] = t.before_entry;
    j["duplicates"] = t.duplicates;
    j["strange_frames"] = strange_;
    j["frames_unsent"] = since(t.unsent, before_.unsent);
    j["frames_not_made_in_time"] = behind_;
    j["retransmissions"] = since(t.retransmissions, before_.retransmissions);
    j["nacks"] = since(t.nacks, before_.nacks);
    j["key_frames_wanted"] = since(t.key_frames_wanted, before_.key_frames_wanted);
    j["feedback_received"] = since(t.feedback, before_.feedback);
    j["video_latency_ms"] = {{"p50", video_latency_.at(0.5)}, {"p95", video_latency_.at(0.95)}, {"p99", video_latency_.at(0.99)}, {"max", video_latency_.highest()}, {"count", video_latency_.count()}};
    j["audio_latency_ms"] = {{"p50", audio_latency_.at(0.5)}, {"p95", audio_latency_.at(0.95)}, {"p99", audio_latency_.at(0.99)}, {"max", audio_latency_.highest()}, {"count", audio_latency_.count()}};
    j["epochs"] = since(epochs_, epochs_before_);
    j["churned"] = churned_;
    j["rejoins"] = rejoins_;
    j["media_lost"] = media_lost_;
    j["ended"] = ended_;
    j["generator_cpu_seconds"] = cpu;
    j["generator_memory_kb"] = usage.ru_maxrss;
    j["problems"] = problems_;
    if (interrupted_) j["interrupted"] = true;
    failed_ = failed_ || t.undecryptable > 0 || t.refused > 0 || in_ == 0;
    j["good"] = !failed_;
    if (options_.json) {
      std::printf("%s\n", j.dump(2).c_str());
      return;
    }
    std::printf("join: p50 %.0f ms, p95 %.0f ms, most %.0f ms; to the first frame of every publisher: p50 %.0f ms, most %.0f ms (%llu participants)\n", entered_.at(0.5), entered_.at(0.95),
                entered_.highest(), all_seen_.at(0.5), all_seen_.highest(), static_cast<unsigned long long>(all_seen_.count()));
    std::printf("received: %llu packets (%.0f a second), %llu lost, %llu retransmitted; %llu frames decrypted, %llu missing, %llu undecryptable, %llu refused, %llu from before an entry\n",
                static_cast<unsigned long long>(packets), j["packets_per_second"].get<double>(), static_cast<unsigned long long>(lost),
                static_cast<unsigned long long>(j["retransmissions"].get<std::uint64_t>()), static_cast<unsigned long long>(j["frames_decrypted"].get<std::uint64_t>()),
                static_cast<unsigned long long>(missing_), static_cast<unsigned long long>(t.undecryptable), static_cast<unsigned long long>(t.refused),
                static_cast<unsigned long long>(t.before_entry));
    std::printf("from encryption to decryption: video p50 %.2f ms, p99 %.2f ms, most %.1f ms; audio p50 %.2f ms, p99 %.2f ms, most %.1f ms\n", video_latency_.at(0.5), video_latency_.at(0.99),
                video_latency_.highest(), audio_latency_.at(0.5), audio_latency_.at(0.99), audio_latency_.highest());
    std::printf("epochs: %llu; left and replaced: %llu; rejoined: %llu; media connections lost: %llu; ended: %llu\n", static_cast<unsigned long long>(j["epochs"].get<std::uint64_t>()),
                static_cast<unsigned long long>(churned_), static_cast<unsigned long long>(rejoins_), static_cast<unsigned long long>(media_lost_), static_cast<unsigned long long>(ended_));
    std::printf("this generator: %.2f s of CPU in %.1f s, %ld MB at most; frames not made in time: %llu\n", cpu, seconds, usage.ru_maxrss / 1024, static_cast<unsigned long long>(behind_));
  }

  LoadOptions options_;
  std::vector<RoomLink> links_;
  Server server_;
  dtls::Context context_;
  io::SystemRandom random_;
  EventLoop loop_;
  std::optional<io::UdpSocket> buffers_;
  std::map<std::size_t, std::unique_ptr<Person>> people_;
  const unsigned publishers_ = (options_.audio || options_.video) ? options_.publishers + options_.other_publishers : 0;
  std::size_t made_ = 0;
  unsigned in_ = 0;
  Bytes frame_;
  TimePoint started_at_, measuring_since_, last_began_, last_saw_everybody_, last_all_seen_;
  std::uint64_t whole_epoch_ = 0;
  bool measuring_ = false, failed_ = false, interrupted_ = false;
  double ready_after_ = 0, cpu_before_ = 0;
  Totals totals_, before_;
  Percentiles entered_, all_seen_, video_latency_, audio_latency_;
  std::map<std::size_t, std::pair<std::uint64_t, std::uint64_t>> newest_epoch_;
  std::uint64_t epochs_ = 0, epochs_before_ = 0, rejoins_ = 0, media_lost_ = 0, ended_ = 0, churned_ = 0, missing_ = 0, strange_ = 0, behind_ = 0;
  std::map<std::string, std::uint64_t> problems_;
};

} // namespace

int load(const LoadOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "satsuma load: %s\n", sentence.c_str());
    return 2;
  };
  std::vector<RoomLink> links;
  for (unsigned room = 0; room < options.rooms; ++room) {
    auto link = parse_room_link(options.connect.link);
    if (!link) return fail(link.error());
    if (options.rooms > 1) link->room += "-" + std::to_string(room + 1);
    if (!signaling::is_room_name(link->room)) return fail("The room's name is too long to get numbers.");
    links.push_back(std::move(*link));
  }
  if (options.packet_bytes > 0 && options.packets_per_second <= 0) return fail("--packet-bytes needs --packets-per-second.");
  if (options.other_publishers > options.others) return fail("There are more publishers than participants among the others.");
  if (options.publishers > options.participants) return fail("There are more publishers than participants.");
  if (!options.connect.media_via.empty() && !parse_address(options.connect.media_via)) return fail("--media-via: \"" + options.connect.media_via + "\" is not ADDRESS:PORT.");
  auto server = find_server(links.front(), options.connect.insecure, options.connect.pin);
  if (!server) return fail(server.error());
  auto context = dtls::Context::create(io::unix_now());
  if (!context) return fail("OpenSSL could not make a certificate for media.");
  // Three descriptors a participant.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  Load load(options, std::move(links), std::move(*server), std::move(*context));
  return load.run();
}

} // namespace satsuma::client
