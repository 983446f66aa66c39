// satsuma load: many participants in one process, from canned frames: real MLS, SFrame, DTLS and SRTP, and no encoding.

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

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
constexpr double settling_seconds = 10;        // before the end nobody leaves any more
constexpr double key_frame_factor = 6;         // how much larger than the mean a key frame is
constexpr std::size_t frame_overhead = 32;                  // SFrame and shell, at most
constexpr std::size_t packet_overhead = 4 + 12 + 4 + 8 + 16; // the VP8 descriptor, RTP with its extensions, SRTP

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Resident memory of a process; 0 when it is not there.
std::uint64_t memory_kb(const std::string& pid) {
  std::uint64_t size = 0, resident = 0;
  std::ifstream("/proc/" + pid + "/statm") >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;
}
/// Processor time that a process has had, in seconds.
double process_seconds(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const std::size_t name_ends = text.rfind(')');
  if (name_ends == std::string::npos) return 0;
  unsigned long user = 0, system = 0;
  if (std::sscanf(text.c_str() + name_ends + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Totals {
  std::uint64_t frames_received = 0, duplicates = 0, before_entry = 0, undecryptable = 0, refused = 0, sent = 0, unsent = 0;
  std::uint64_t packets_received = 0, packets_lost = 0, bytes_received = 0, retransmissions = 0, nacks = 0, key_frames_wanted = 0, frames_lost = 0, feedback = 0, packets_sent = 0;

  void add(const Totals& other, int sign = 1) {
    const auto put = [sign](std::uint64_t& to, std::uint64_t value) { to = sign > 0 ? to + value : to - std::min(to, value); };
    put(frames_received, other.frames_received);
    put(duplicates, other.duplicates);
    put(before_entry, other.before_entry);
    put(undecryptable, other.undecryptable);
    put(refused, other.refused);
    put(sent, other.sent);
    put(unsent, other.unsent);
    put(packets_received, other.packets_received);
    put(packets_lost, other.packets_lost);
    put(bytes_received, other.bytes_received);
    put(retransmissions, other.retransmissions);
    put(nacks, other.nacks);
    put(key_frames_wanted, other.key_frames_wanted);
    put(frames_lost, other.frames_lost);
    put(feedback, other.feedback);
    put(packets_sent, other.packets_sent);
  }
  void add(participant::Participant& p) {
    const auto& f = p.frames();
    Totals one;
    one.frames_received = f.decrypted;
    one.duplicates = f.duplicates;
    one.before_entry = f.before_entry;
    one.undecryptable = f.undecryptable;
    one.refused = f.refused;
    one.sent = f.sent;
    one.unsent = f.unsent;
    if (auto* receiver = p.receiver()) {
      const auto& c = receiver->counters();
      one.packets_received = c.packets;
      one.packets_lost = c.lost_packets;
      one.bytes_received = c.bytes;
      one.retransmissions = c.retransmissions;
      one.nacks = c.nacks_sent;
      one.key_frames_wanted = c.key_frames_wanted;
      one.frames_lost = c.frames_lost;
    }
    if (const auto* sender = p.sender()) {
      one.feedback = sender->counters().feedback_received;
      one.packets_sent = sender->counters().packets;
    }
    add(one);
  }
};

/// What one thread has to tell at the end; those of all add up.
struct Results {
  unsigned in = 0, hears_all = 0;
  Totals totals, before; ///< ... measuring began
  Percentiles entered, all_seen, newcomer_entered, newcomer_all_seen, video_latency, audio_latency,
      video_arrival, audio_arrival;
  std::uint64_t epochs = 0, rejoins = 0, media_lost = 0, ended = 0, churned = 0, missing = 0, strange = 0, behind = 0, whole_epoch = 0;
  TimePoint first_began = TimePoint::max(), last_began{}, last_saw_everybody{}, last_all_seen{};
  std::map<std::string, std::uint64_t> problems;
  bool failed = false;

  void add(const Results& other) {
    in += other.in;
    hears_all += other.hears_all;
    totals.add(other.totals);
    before.add(other.before);
    entered.add(other.entered);
    all_seen.add(other.all_seen);
    newcomer_entered.add(other.newcomer_entered);
    newcomer_all_seen.add(other.newcomer_all_seen);
    video_latency.add(other.video_latency);
    audio_latency.add(other.audio_latency);
    video_arrival.add(other.video_arrival);
    audio_arrival.add(other.audio_arrival);
    epochs = std::max(epochs, other.epochs); // they are in the same rooms
    rejoins += other.rejoins;
    media_lost += other.media_lost;
    ended += other.ended;
    churned += other.churned;
    missing += other.missing;
    strange += other.strange;
    behind += other.behind;
    whole_epoch = std::max(whole_epoch, other.whole_epoch);
    first_began = std::min(first_began, other.first_began);
    last_began = std::max(last_began, other.last_began);
    last_saw_everybody = std::max(last_saw_everybody, other.last_saw_everybody);
    last_all_seen = std::max(last_all_seen, other.last_all_seen);
    for (const auto& [sentence, count] : other.problems) problems[sentence] += count;
    failed = failed || other.failed;
  }
};

/// What the threads know of each other.
struct Course {
  explicit Course(unsigned threads) : shares(threads) {}
  struct Share {
    std::atomic<bool> ready = false;
    std::atomic<std::uint64_t> in = 0, decrypted = 0, undecryptable = 0, churned = 0, rejoins = 0;
  };
  std::vector<Share> shares;
  std::atomic<bool> interrupted = false, failed = false;

  bool ready() const {
    return std::all_of(shares.begin(), shares.end(), [](const Share& share) { return share.ready.load(); });
  }
  std::uint64_t sum(std::atomic<std::uint64_t> Share::*what) const {
    std::uint64_t sum = 0;
    for (const Share& share : shares) sum += (share.*what).load();
    return sum;
  }
};

/// Resident memory, so long after measuring began.
struct Memory {
  double seconds = 0;
  std::uint64_t server_kb = 0, own_kb = 0;
};

/// One thread's participants: each so many-th of all.
class Share final : public NativeClient::Listener {
 public:
  Share(const LoadOptions& options, unsigned number, std::vector<RoomLink> links, Server server, dtls::Context context, Course& course)
      : options_(options), number_(number), links_(std::move(links)), server_(std::move(server)), context_(std::move(context)), course_(course) {
    auto buffers = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0));
    if (buffers) buffers_.emplace(std::move(*buffers));
  }

  /// Until measuring is over. The first share prints how it goes.
  Results run() {
    loop_.on_signal([this] { course_.interrupted = true; });
    started_at_ = io::monotonic_now();
    results_.first_began = started_at_;
    schedule_joins(started_at_);
    loop_.at(started_at_ + milliseconds(100), [this](TimePoint now) { watch(now); });
    loop_.run();
    finish();
    Results results = results_;
    // Without a goodbye whoever comes next would wait until the server finds us gone.
    for (auto& [number, p] : people_) {
      p->leaving = true;
      p->client->leave(io::monotonic_now());
    }
    loop_.run_for(milliseconds(300));
    return results;
  }

  double ready_after() const { return ready_after_; }
  double measured_seconds() const { return measured_seconds_; }
  double cpu_before() const { return cpu_before_; }
  double server_cpu() const { return server_cpu_; }
  const std::vector<Memory>& memory() const { return memory_; }

 private:
  struct Person {
    std::unique_ptr<NativeClient> client;
    std::size_t room = 0;
    bool publishes = false;
    bool decrypts = true;
    bool newcomer = false; ///< came for somebody who left
    TimePoint began;
    std::optional<TimePoint> entered, all_seen;
    bool saw_everybody = false; ///< in the list
    struct Heard {
      std::uint64_t number = 0; ///< of the latest frame
      TimePoint at;
    };
    std::map<std::pair<IncarnationId, Source>, Heard> heard; ///< of those who are here
    std::uint64_t videos = 0, audios = 0;
    std::array<bool, participant::max_camera_layers> key_due{true, true, true};
    std::optional<EventLoop::TimerId> video_timer, audio_timer;
    bool leaving = false;
  };

  void schedule_joins(TimePoint now) {
    const auto gap = Duration(static_cast<Duration::rep>(1e6 / options_.join_rate));
    for (unsigned i = number_; i < all_; i += options_.threads) {
      loop_.at(now + gap * i, [this, i](TimePoint at) {
        // Publishers first, so that who comes later sees them at once.
        add(at, i % options_.rooms, i / options_.rooms < options_.publishers);
      });
    }
  }

  void add(TimePoint now, std::size_t room, bool publishes, bool newcomer = false) {
    auto person = std::make_unique<Person>();
    person->room = room;
    person->publishes = publishes;
    person->newcomer = newcomer;
    person->decrypts = made_ % std::max(1U, options_.decrypt_every) == 0;
    person->began = results_.last_began = now;
    person->client = std::make_unique<NativeClient>(loop_, server_, context_, buffers_ ? &*buffers_ : nullptr, *this);
    person->client->number = made_++;
    participant::ParticipantConfig config;
    config.session.room = links_[room].room;
    config.session.secret = links_[room].secret.clone();
    config.session.suite = links_[room].suite;
    SecretBytes seed(32);
    random_.fill(seed.mutable_view());
    config.session.device_seed = std::move(seed);
    config.session.name = "load " + std::to_string(person->client->number * options_.threads + number_ + 1);
    if (publishes && options_.audio) config.publish.push_back(Source::microphone);
    if (publishes && options_.video) config.publish.push_back(Source::camera);
    config.camera_layers = options_.layers;
    config.muted = options_.muted;
    config.adapt = options_.adapt;
    if (options_.adapt) {
      auto& rates = config.rates[Source::camera];
      rates.frames_per_second = options_.video_fps;
      for (unsigned layer = 0; layer < options_.layers; ++layer) {
        const auto most = static_cast<std::int64_t>(layer_rate(layer));
        rates.layers.push_back({most / 3, most});
      }
    }
    config.receiver.history_packets = 128;
    config.receiver.audio_frames = config.receiver.video_frames = person->decrypts;
    if (options_.packet_bytes > 0) config.max_payload = options_.packet_bytes - packet_overhead + 4;
    if (!options_.connect.media_via.empty()) config.media_via = parse_address(options_.connect.media_via);
    config.transport = options_.connect.transport;
    Person& p = *person;
    people_[p.client->number] = std::move(person);
    if (const auto started = p.client->start(now, std::move(config)); !started) {
      problem(started.error());
      results_.failed = course_.failed = true;
    }
  }

  // ---- what they send

  double layer_rate(unsigned layer) const { return options_.video_kbps * 1000.0 / std::pow(3, options_.layers - 1 - layer); }
  std::size_t frame_size(const Person& p, bool key, unsigned layer) const {
    if (options_.packet_bytes > 0) {
      // SFrame and shell once for a frame; packets of the same size.
      const std::size_t payload = options_.packet_bytes - packet_overhead;
      return std::max<std::size_t>(32, payload * options_.packets_per_frame - frame_overhead);
    }
    const auto target = p.client->participant().target(Source::camera, layer);
    const double mean = (target ? static_cast<double>(*target) : layer_rate(layer)) / 8 / options_.video_fps;
    return static_cast<std::size_t>(std::max(24.0, key ? mean * key_frame_factor : mean));
  }
  Duration video_interval() const {
    const double rate = options_.packet_bytes > 0 ? options_.packets_per_second / options_.packets_per_frame : options_.video_fps;
    return Duration(static_cast<Duration::rep>(1e6 / rate));
  }

  void send(Person& p, TimePoint now, Source source) {
    const bool video = source == Source::camera;
    bool sent = false;
    for (unsigned layer = 0; layer < (video ? options_.layers : 1); ++layer)
      if (p.client->participant().wanted(source, layer)) sent = send(p, now, source, layer) || sent;
    if (sent) ++(video ? p.videos : p.audios);
  }
  bool send(Person& p, TimePoint now, Source source, unsigned layer) {
    const bool video = source == Source::camera;
    const bool key = video && p.key_due[layer];
    frame_.resize(video ? frame_size(p, key, layer) : audio_frame_bytes);
    SpanWriter out(frame_);
    out.u64(canned_mark);
    out.u64(video ? p.videos : p.audios);
    out.u64(static_cast<std::uint64_t>(io::monotonic_now().time_since_epoch().count())); // `now` is as old as this turn of the loop
    const auto timestamp = static_cast<std::uint32_t>(now.time_since_epoch().count() * (video ? 90 : 48) / 1000);
    if (!p.client->send_frame(now, source, frame_, timestamp, key, std::nullopt, layer)) {
      if (options_.adapt && video) p.key_due[layer] = true; // it may be that one before was dropped
      return false;
    }
    if (key) p.key_due[layer] = false;
    return true;
  }

  void video_tick(Person& p, TimePoint due, TimePoint now) {
    send(p, now, Source::camera);
    due += video_interval();
    if (due < now - milliseconds(200)) { // we cannot keep up: say so rather than send bursts
      results_.behind += static_cast<std::uint64_t>((now - due) / video_interval());
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
        (p.newcomer ? results_.newcomer_entered : results_.entered).add(static_cast<double>((now - p.began).count()) / 1000);
        ++results_.in;
      }
      if (std::pair(epoch->era, epoch->epoch) > newest_epoch_[p.room]) {
        newest_epoch_[p.room] = {epoch->era, epoch->epoch};
        if (measuring_) ++results_.epochs;
      }
      if (!epoch->left.empty())
        std::erase_if(p.heard, [&](const auto& entry) { return std::ranges::find(epoch->roster, entry.first.first, &call::RosterEntry::who) == epoch->roster.end(); });
      if (!p.saw_everybody && epoch->roster.size() >= options_.participants + options_.others) {
        p.saw_everybody = true;
        if (!p.newcomer) {
          results_.last_saw_everybody = now;
          results_.whole_epoch = std::max(results_.whole_epoch, epoch->epoch);
        }
      }
    } else if (std::holds_alternative<call::RejoiningEvent>(output)) {
      ++results_.rejoins;
    } else if (const auto* error = std::get_if<call::ErrorEvent>(&output)) {
      problem(error->text);
    }
  }

  void on_media(NativeClient& client, TimePoint now, Leg leg, bool connected) override {
    Person& p = of(client);
    if (!connected) {
      if (!p.leaving) ++results_.media_lost;
      return;
    }
    if (leg != Leg::publish || !p.publishes || options_.muted) return;
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

  void on_key_frame_wanted(NativeClient& client, TimePoint, Source, std::size_t layer) override { of(client).key_due[layer] = true; }

  void on_frame(NativeClient& client, TimePoint now, const participant::Frame& frame) override {
    Person& p = of(client);
    ByteReader in(frame.payload);
    const auto mark = in.u64();
    const auto number = in.u64();
    const auto made = in.u64();
    if (!mark || *mark != canned_mark || !number || !made) { // of somebody else in the room
      ++results_.strange;
      return;
    }
    const auto [heard, fresh] = p.heard.try_emplace({frame.who, frame.source}, Person::Heard{*number, now});
    if (fresh) {
      if (!p.all_seen && p.heard.size() >= expected_sources(p)) {
        p.all_seen = now;
        if (!p.newcomer) results_.last_all_seen = now;
        (p.newcomer ? results_.newcomer_all_seen : results_.all_seen).add(static_cast<double>((now - p.began).count()) / 1000);
      }
    } else {
      const std::uint64_t last = heard->second.number;
      if (measuring_ && *number > last + 1 && *number - last < 100'000) results_.missing += *number - last - 1;
      heard->second = {std::max(last, *number), now};
    }
    if (measuring_) {
      const bool audio = signaling::is_audio(frame.source);
      const auto since_made = [&](TimePoint at) { return static_cast<double>(at.time_since_epoch().count() - static_cast<std::int64_t>(*made)) / 1000; };
      (audio ? results_.audio_latency : results_.video_latency).add(since_made(now));
      (audio ? results_.audio_arrival : results_.video_arrival).add(since_made(client.arrived()));
    }
  }

  void on_problem(NativeClient& client, TimePoint, const std::string& sentence) override {
    if (!of(client).leaving) problem(sentence);
  }

  void on_end(NativeClient& client, TimePoint now, const std::string& why) override {
    Person& p = of(client);
    if (p.entered) --results_.in;
    if (!p.leaving) {
      problem(why);
      ++results_.ended;
    }
    of_those_gone_.add(client.participant());
    for (auto& timer : {p.video_timer, p.audio_timer})
      if (timer) loop_.cancel(*timer);
    // Its function stands on the stack.
    loop_.at(now, [this, number = client.number](TimePoint) { people_.erase(number); });
  }

  void problem(const std::string& sentence) {
    if (++results_.problems[sentence] == 1 && !options_.json) std::fprintf(stderr, "satsuma load: %s\n", sentence.c_str());
  }

  // ---- the course of things

  std::size_t expected_sources(const Person& p) const {
    if (options_.muted) return 0;
    return (options_.publishers + options_.other_publishers - (p.publishes ? 1U : 0U)) * ((options_.audio ? 1U : 0U) + (options_.video ? 1U : 0U));
  }

  Totals totals() {
    Totals sum = of_those_gone_;
    for (auto& [number, p] : people_) sum.add(p->client->participant());
    return sum;
  }

  bool ready() {
    const unsigned mine = all_ / options_.threads + (number_ < all_ % options_.threads ? 1U : 0U);
    return results_.in >= mine && std::all_of(people_.begin(), people_.end(), [&](const auto& entry) {
             const Person& p = *entry.second;
             return p.client->participant().connected(Leg::subscribe) && (!p.publishes || p.client->participant().connected(Leg::publish)) && p.saw_everybody &&
                    (!p.decrypts || p.all_seen || expected_sources(p) == 0);
           });
  }

  void watch(TimePoint now) {
    Course::Share& mine = course_.shares[number_];
    if (course_.interrupted || course_.failed) return loop_.stop();
    if (now >= tell_at_) {
      tell_at_ = now + milliseconds(500);
      const Totals t = totals();
      mine.in = results_.in;
      mine.decrypted = t.frames_received;
      mine.undecryptable = t.undecryptable;
      mine.churned = results_.churned;
      mine.rejoins = results_.rejoins;
    }
    if (!measuring_) {
      if (!mine.ready) mine.ready = ready();
      const double waited = std::chrono::duration<double>(now - started_at_).count();
      const bool late = waited > options_.ready_timeout + all_ / options_.join_rate;
      if (course_.ready() || late) begin_measuring(now, waited);
    } else {
      const double since = std::chrono::duration<double>(now - measuring_since_).count();
      if (number_ == 0 && since >= static_cast<double>(memory_.size()) * 60) look_at_memory(since);
      if (since >= options_.seconds) return loop_.stop();
    }
    loop_.at(now + milliseconds(50), [this](TimePoint at) { watch(at); });
  }

  void begin_measuring(TimePoint now, double waited) {
    if (!course_.shares[number_].ready) {
      results_.failed = true;
      problem("not all came in and saw all publishers in time: " + std::to_string(results_.in) + " are in, " + std::to_string(results_.all_seen.count()) + " saw all.");
    }
    ready_after_ = waited;
    measuring_ = true;
    measuring_since_ = now;
    results_.before = totals();
    if (number_ == 0) {
      cpu_before_ = cpu_seconds();
      server_cpu_before_ = server_cpu_now();
      if (!options_.wait_file.empty()) std::ofstream(options_.wait_file) << "ready\n";
      if (!options_.json) std::printf("%u in after %.1f s; measuring for %.0f s\n", static_cast<unsigned>(course_.sum(&Course::Share::in)), waited, options_.seconds);
      look_at_memory(0);
    }
    // The threads take turns.
    if (options_.churn > 0) loop_.at(now + churn_interval() * number_ / options_.threads, [this](TimePoint at) { churn(at); });
  }

  void look_at_memory(double since) {
    memory_.push_back({since, options_.server_pid == 0 ? 0 : memory_kb(std::to_string(options_.server_pid)), memory_kb("self")});
    if (options_.json || since == 0 || since >= options_.seconds) return; // the report begins and ends it
    std::printf("%.0f s: %llu in, %llu frames decrypted, %llu undecryptable, %llu replaced, %llu rejoined; memory %.1f MB here", since,
                static_cast<unsigned long long>(course_.sum(&Course::Share::in)), static_cast<unsigned long long>(course_.sum(&Course::Share::decrypted)),
                static_cast<unsigned long long>(course_.sum(&Course::Share::undecryptable)), static_cast<unsigned long long>(course_.sum(&Course::Share::churned)),
                static_cast<unsigned long long>(course_.sum(&Course::Share::rejoins)), static_cast<double>(memory_.back().own_kb) / 1024);
    if (options_.server_pid != 0) std::printf(", %.1f MB of the server", static_cast<double>(memory_.back().server_kb) / 1024);
    std::printf("\n");
    std::fflush(stdout);
  }
  double server_cpu_now() const { return options_.server_pid == 0 ? 0 : process_seconds(std::to_string(options_.server_pid)); }

  Duration churn_interval() const { return Duration(static_cast<Duration::rep>(1e6 * options_.threads / options_.churn)); }

  // Somebody leaves, and somebody new comes: by turns the oldest, which is often the committer, and any other. At the end all are to come to rest.
  void churn(TimePoint now) {
    const double left = options_.seconds - std::chrono::duration<double>(now - measuring_since_).count();
    if (left < std::min(settling_seconds, options_.seconds / 4)) return;
    std::vector<Person*> there;
    for (auto& [number, p] : people_)
      if (!p->leaving && p->entered) there.push_back(p.get());
    if (!there.empty()) {
      Person& p = *there[results_.churned % 2 == 0 ? 0 : random_.u64() % there.size()];
      p.leaving = true;
      ++results_.churned;
      p.client->leave(now);
      add(now, p.room, p.publishes, true);
    }
    loop_.at(now + churn_interval(), [this](TimePoint at) { churn(at); });
  }

  void finish() {
    const TimePoint now = io::monotonic_now();
    measured_seconds_ = measuring_ ? std::chrono::duration<double>(now - measuring_since_).count() : 0;
    results_.totals = totals();
    for (const auto& [number, p] : people_) {
      const auto lately = std::ranges::count_if(p->heard, [&](const auto& entry) { return now - entry.second.at < std::chrono::seconds(5); });
      if (p->entered && !p->leaving && static_cast<std::size_t>(lately) >= expected_sources(*p)) ++results_.hears_all;
    }
    if (number_ != 0 || !measuring_) return;
    look_at_memory(measured_seconds_);
    server_cpu_ = server_cpu_now() - server_cpu_before_;
  }

  const LoadOptions& options_;
  const unsigned number_; ///< of the thread
  const unsigned all_ = options_.participants * options_.rooms;
  std::vector<RoomLink> links_;
  Server server_;
  dtls::Context context_;
  Course& course_;
  io::SystemRandom random_;
  EventLoop loop_;
  std::optional<io::UdpSocket> buffers_;
  std::map<std::size_t, std::unique_ptr<Person>> people_;
  std::size_t made_ = 0;
  Bytes frame_;
  TimePoint started_at_, measuring_since_, tell_at_;
  bool measuring_ = false;
  double ready_after_ = 0, measured_seconds_ = 0, cpu_before_ = 0, server_cpu_before_ = 0, server_cpu_ = 0;
  Totals of_those_gone_;
  Results results_;
  std::map<std::size_t, std::pair<std::uint64_t, std::uint64_t>> newest_epoch_;
  std::vector<Memory> memory_;
};

/// Tells what came out, and whether it is as it should be.
bool report(const LoadOptions& options, const Results& r, const Share& first, bool interrupted) {
  const double seconds = first.measured_seconds();
  const auto since = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
  const Totals& t = r.totals;
  const std::uint64_t packets = since(t.packets_received, r.before.packets_received), lost = since(t.packets_lost, r.before.packets_lost);
  const double cpu = cpu_seconds() - first.cpu_before();
  const unsigned all = options.participants * options.rooms;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto clock = [](TimePoint at) { return static_cast<double>(at.time_since_epoch().count()) / 1e6; };
  const auto percentiles = [](const Percentiles& p) -> nlohmann::json {
    return {{"p50", p.at(0.5)}, {"p95", p.at(0.95)}, {"p99", p.at(0.99)}, {"max", p.highest()}, {"count", p.count()}};
  };
  nlohmann::json j;
  j["participants"] = all;
  j["rooms"] = options.rooms;
  j["publishers"] = options.publishers * options.rooms;
  j["threads"] = options.threads;
  j["in"] = r.in;
  j["receive_all_at_end"] = r.hears_all;
  j["all_in_seconds"] = first.ready_after();
  j["join_ms"] = percentiles(r.entered);
  j["join_to_all_frames_ms"] = percentiles(r.all_seen);
  j["newcomer_join_ms"] = percentiles(r.newcomer_entered);
  j["newcomer_to_all_frames_ms"] = percentiles(r.newcomer_all_seen);
  // By the machine's clock, so that several generators' can be compared.
  j["clock"] = {{"first_began", clock(r.first_began)}, {"last_began", clock(r.last_began)}, {"last_saw_everybody", clock(r.last_saw_everybody)}, {"last_saw_all_frames", clock(r.last_all_seen)}};
  j["epoch_with_everybody"] = r.whole_epoch;
  j["cpu_seconds_until_ready"] = seconds > 0 ? first.cpu_before() : cpu;
  j["measured_seconds"] = seconds;
  j["packets_sent"] = since(t.packets_sent, r.before.packets_sent);
  j["packets_received"] = packets;
  j["packets_per_second"] = seconds > 0 ? static_cast<double>(packets) / seconds : 0;
  j["packets_lost"] = lost;
  j["bytes_received"] = since(t.bytes_received, r.before.bytes_received);
  j["frames_decrypted"] = since(t.frames_received, r.before.frames_received);
  j["frames_missing"] = r.missing;
  j["frames_given_up"] = since(t.frames_lost, r.before.frames_lost);
  j["undecryptable"] = t.undecryptable;
  j["refused"] = t.refused;
  j["before_entry"] = t.before_entry;
  j["duplicates"] = t.duplicates;
  j["strange_frames"] = r.strange;
  j["frames_unsent"] = since(t.unsent, r.before.unsent);
  j["frames_not_made_in_time"] = r.behind;
  j["retransmissions"] = since(t.retransmissions, r.before.retransmissions);
  j["nacks"] = since(t.nacks, r.before.nacks);
  j["key_frames_wanted"] = since(t.key_frames_wanted, r.before.key_frames_wanted);
  j["feedback_received"] = since(t.feedback, r.before.feedback);
  j["video_latency_ms"] = percentiles(r.video_latency);
  j["audio_latency_ms"] = percentiles(r.audio_latency);
  // Until the kernel had the last of the frame: without what this generator took to look at it.
  j["video_arrival_ms"] = percentiles(r.video_arrival);
  j["audio_arrival_ms"] = percentiles(r.audio_arrival);
  j["epochs"] = r.epochs;
  j["churned"] = r.churned;
  j["rejoins"] = r.rejoins;
  j["media_lost"] = r.media_lost;
  j["ended"] = r.ended;
  j["generator_cpu_seconds"] = cpu;
  j["generator_memory_kb"] = usage.ru_maxrss;
  j["memory"] = nlohmann::json::array();
  for (const Memory& at : first.memory()) {
    j["memory"].push_back({{"seconds", at.seconds}, {"generator_kb", at.own_kb}});
    if (options.server_pid != 0) j["memory"].back()["server_kb"] = at.server_kb;
  }
  if (options.server_pid != 0) j["server_cpu_seconds"] = first.server_cpu();
  j["problems"] = r.problems;
  if (interrupted) j["interrupted"] = true;
  const bool good = !r.failed && t.undecryptable == 0 && t.refused == 0 && r.in > 0;
  j["good"] = good;
  if (options.json) {
    std::printf("%s\n", j.dump(2).c_str());
    return good;
  }
  const auto number = [&j](const char* name) { return static_cast<unsigned long long>(j[name].get<std::uint64_t>()); };
  std::printf("join: p50 %.0f ms, p95 %.0f ms, most %.0f ms; to the first frame of every publisher: p50 %.0f ms, most %.0f ms (%llu participants)\n", r.entered.at(0.5), r.entered.at(0.95),
              r.entered.highest(), r.all_seen.at(0.5), r.all_seen.highest(), static_cast<unsigned long long>(r.all_seen.count()));
  if (r.churned > 0)
    std::printf("left and replaced: %llu; newcomers are in after p50 %.0f ms, p95 %.0f ms, most %.0f ms, and have a frame of every publisher after p50 %.0f ms, most %.0f ms\n",
                static_cast<unsigned long long>(r.churned), r.newcomer_entered.at(0.5), r.newcomer_entered.at(0.95), r.newcomer_entered.highest(), r.newcomer_all_seen.at(0.5),
                r.newcomer_all_seen.highest());
  std::printf("received: %llu packets (%.0f a second), %llu lost, %llu retransmitted; %llu frames decrypted, %llu missing, %llu undecryptable, %llu refused, %llu from before an entry\n",
              static_cast<unsigned long long>(packets), j["packets_per_second"].get<double>(), static_cast<unsigned long long>(lost), number("retransmissions"), number("frames_decrypted"),
              static_cast<unsigned long long>(r.missing), static_cast<unsigned long long>(t.undecryptable), static_cast<unsigned long long>(t.refused),
              static_cast<unsigned long long>(t.before_entry));
  std::printf("from encryption to decryption: video p50 %.2f ms, p99 %.2f ms, most %.1f ms; audio p50 %.2f ms, p99 %.2f ms, most %.1f ms\n", r.video_latency.at(0.5), r.video_latency.at(0.99),
              r.video_latency.highest(), r.audio_latency.at(0.5), r.audio_latency.at(0.99), r.audio_latency.highest());
  std::printf("epochs: %llu; rejoined: %llu; media connections lost: %llu; ended: %llu; at the end %u of %u are in, and %u have lately had frames of every publisher\n",
              static_cast<unsigned long long>(r.epochs), static_cast<unsigned long long>(r.rejoins), static_cast<unsigned long long>(r.media_lost), static_cast<unsigned long long>(r.ended), r.in, all,
              r.hears_all);
  std::printf("this generator: %.2f s of CPU in %.1f s, %ld MB at most; frames not made in time: %llu\n", cpu, seconds, usage.ru_maxrss / 1024, static_cast<unsigned long long>(r.behind));
  if (options.server_pid != 0 && !first.memory().empty())
    std::printf("the server: %.2f s of CPU; memory %.1f MB when all were in, %.1f MB at the end\n", first.server_cpu(), static_cast<double>(first.memory().front().server_kb) / 1024,
                static_cast<double>(first.memory().back().server_kb) / 1024);
  return good;
}

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
  if (options.layers > 1 && options.packet_bytes > 0) return fail("--layers goes with --video-kbps, not with --packet-bytes.");
  if (options.threads > options.participants * options.rooms) return fail("There are more threads than participants.");
  if (options.server_pid != 0 && memory_kb(std::to_string(options.server_pid)) == 0) return fail("--server-pid: there is no such process on this machine.");
  // Three descriptors a participant.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  Course course(options.threads);
  std::vector<std::unique_ptr<Share>> shares;
  for (unsigned i = 0; i < options.threads; ++i) {
    auto server = find_server(links.front(), options.connect.insecure, options.connect.pin);
    if (!server) return fail(server.error());
    auto context = dtls::Context::create(io::unix_now());
    if (!context) return fail("OpenSSL could not make a certificate for media.");
    std::vector<RoomLink> own;
    for (const RoomLink& link : links) own.push_back({link.tls, link.host, link.port, link.room, link.secret.clone(), link.suite});
    shares.push_back(std::make_unique<Share>(options, i, std::move(own), std::move(*server), std::move(*context), course));
  }
  std::vector<Results> results(options.threads);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < options.threads; ++i) threads.emplace_back([&, i] { results[i] = shares[i]->run(); });
  results[0] = shares[0]->run();
  for (std::thread& thread : threads) thread.join();
  for (unsigned i = 1; i < options.threads; ++i) results[0].add(results[i]);
  return report(options, results[0], *shares[0], course.interrupted) ? 0 : 1;
}

} // namespace satsuma::client
