// satsuma load LINK: many participants in one process, from canned frames: real MLS, SFrame, DTLS and SRTP, and no encoding.

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "address.h"
#include "commands.h"
#include "io/clock.h"
#include "load_share.h"
#include "native_client.h"

namespace satsuma::client {
namespace {

using participant::Leg;
using signaling::Source;
using std::chrono::milliseconds;

constexpr double settling_seconds = 10; // before the end nobody leaves any more

void add_counters(Totals& to, participant::Participant& p) {
  const auto& f = p.frames();
  Totals one;
  one.frames_received = f.decrypted;
  one.duplicates = f.duplicates;
  one.before_entry = f.before_entry;
  one.undecryptable = f.undecryptable;
  one.refused = f.refused;
  one.sent = f.sent;
  one.unsent = f.unsent;
  if (auto* receiver = p.receiver()) one.add(received(receiver->counters()));
  if (const auto* sender = p.sender()) {
    one.feedback = sender->counters().feedback_received;
    one.packets_sent = sender->counters().packets;
  }
  to.add(one);
}

/// In rooms of our server.
class RoomShare final : public LoadShare, public NativeClient::Listener {
 public:
  RoomShare(const LoadOptions& options, unsigned number, std::vector<RoomLink> links, Server server, dtls::Context context, Course& course)
      : LoadShare(options, number, course), links_(std::move(links)), server_(std::move(server)), context_(std::move(context)) {}

 private:
  struct Member : Person {
    std::unique_ptr<NativeClient> client;
    bool saw_everybody = false; ///< in the list
    std::map<std::pair<IncarnationId, Source>, Heard> heard; ///< of those who are here
  };

  void add(TimePoint now, std::size_t room, bool publishes, bool newcomer) override {
    auto person = std::make_unique<Member>();
    begin(*person, now, room, publishes, newcomer);
    person->client = std::make_unique<NativeClient>(loop_, server_, context_, buffers_ ? &*buffers_ : nullptr, *this);
    person->client->number = person->number;
    participant::ParticipantConfig config;
    config.session.room = links_[room].room;
    config.session.secret = links_[room].secret.clone();
    config.session.suite = links_[room].suite;
    SecretBytes seed(32);
    random_.fill(seed.mutable_view());
    config.session.device_seed = std::move(seed);
    config.session.name = "load " + std::to_string(person->number * options_.threads + number_ + 1);
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
    Member& p = *person;
    people_[p.number] = std::move(person);
    if (const auto started = p.client->start(now, std::move(config)); !started) fail(started.error());
  }

  bool send(Person& person, TimePoint now, Source source) override {
    Member& p = static_cast<Member&>(person);
    const bool video = source == Source::camera;
    bool sent = false;
    for (unsigned layer = 0; layer < (video ? options_.layers : 1); ++layer)
      if (p.client->participant().wanted(source, layer)) sent = send(p, now, source, layer) || sent;
    return sent;
  }
  bool send(Member& p, TimePoint now, Source source, unsigned layer) {
    const bool video = source == Source::camera;
    const bool key = video && p.key_due[layer];
    const auto target = p.client->participant().target(source, layer);
    frame_.resize(video ? video_frame_size(key, target ? static_cast<double>(*target) : layer_rate(layer)) : audio_frame_bytes);
    SpanWriter out(frame_);
    write_canned_head(out, video ? p.videos : p.audios);
    const auto timestamp = static_cast<std::uint32_t>(now.time_since_epoch().count() * (video ? 90 : 48) / 1000);
    if (!p.client->send_frame(now, source, frame_, timestamp, key, std::nullopt, layer)) {
      if (options_.adapt && video) p.key_due[layer] = true; // it may be that one before was dropped
      return false;
    }
    if (key) p.key_due[layer] = false;
    return true;
  }

  // ---- what happens to them

  Member& of(NativeClient& client) { return *people_.at(client.number); }

  void on_session(NativeClient& client, TimePoint now, const call::SessionOutput& output) override {
    if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
      Member& p = of(client);
      entered(p, now);
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
    Member& p = of(client);
    if (connected && leg == Leg::publish) begin_sending(p, now);
    if (!connected && !p.leaving) ++results_.media_lost;
  }

  void on_key_frame_wanted(NativeClient& client, TimePoint, Source, std::size_t layer) override { of(client).key_due[layer] = true; }

  void on_frame(NativeClient& client, TimePoint now, const participant::Frame& frame) override {
    Member& p = of(client);
    const auto head = read_canned_head(frame.payload);
    if (!head) { // of somebody else in the room
      ++results_.strange;
      return;
    }
    const auto [heard, fresh] = p.heard.try_emplace({frame.who, frame.source});
    take(p, now, client.arrived(), signaling::is_audio(frame.source), *head, heard->second, fresh, p.heard.size());
  }

  void on_problem(NativeClient& client, TimePoint, const std::string& sentence) override {
    if (!of(client).leaving) problem(sentence);
  }

  void on_end(NativeClient& client, TimePoint now, const std::string& why) override {
    Member& p = of(client);
    if (p.entered) --results_.in;
    if (!p.leaving) {
      problem(why);
      ++results_.ended;
    }
    add_counters(of_those_gone_, client.participant());
    end_sending(p);
    // Its function stands on the stack.
    loop_.at(now, [this, number = client.number](TimePoint) { people_.erase(number); });
  }

  // ---- the course of things

  Totals totals() override {
    Totals sum = of_those_gone_;
    for (auto& [number, p] : people_) add_counters(sum, p->client->participant());
    return sum;
  }

  bool ready() override {
    return results_.in >= mine() && std::all_of(people_.begin(), people_.end(), [&](const auto& entry) {
             const Member& p = *entry.second;
             return p.client->participant().connected(Leg::subscribe) && (!p.publishes || p.client->participant().connected(Leg::publish)) && p.saw_everybody &&
                    (!p.decrypts || p.all_seen || expected_sources(p) == 0);
           });
  }

  void on_measuring(TimePoint now) override {
    // The threads take turns.
    if (options_.churn > 0) loop_.at(now + churn_interval() * number_ / options_.threads, [this](TimePoint at) { churn(at); });
  }

  Duration churn_interval() const { return Duration(static_cast<Duration::rep>(1e6 * options_.threads / options_.churn)); }

  // Somebody leaves, and somebody new comes: by turns the oldest, which is often the committer, and any other. At the end all are to come to rest.
  void churn(TimePoint now) {
    const double left = options_.seconds - since_measuring(now);
    if (left < std::min(settling_seconds, options_.seconds / 4)) return;
    std::vector<Member*> there;
    for (auto& [number, p] : people_)
      if (!p->leaving && p->entered) there.push_back(p.get());
    if (!there.empty()) {
      Member& p = *there[results_.churned % 2 == 0 ? 0 : random_.u64() % there.size()];
      p.leaving = true;
      ++results_.churned;
      p.client->leave(now);
      add(now, p.room, p.publishes, true);
    }
    loop_.at(now + churn_interval(), [this](TimePoint at) { churn(at); });
  }

  unsigned hear_all(TimePoint now) override {
    unsigned count = 0;
    for (const auto& [number, p] : people_) {
      const auto heard = std::ranges::count_if(p->heard, [&](const auto& entry) { return lately(now, entry.second); });
      if (p->entered && !p->leaving && static_cast<std::size_t>(heard) >= expected_sources(*p)) ++count;
    }
    return count;
  }

  // Without a goodbye whoever comes next would wait until the server finds us gone.
  void leave(TimePoint now) override {
    for (auto& [number, p] : people_) {
      p->leaving = true;
      p->client->leave(now);
    }
    loop_.run_for(milliseconds(300));
  }

  std::vector<RoomLink> links_;
  Server server_;
  dtls::Context context_;
  std::map<std::size_t, std::unique_ptr<Member>> people_;
  Totals of_those_gone_;
  std::map<std::size_t, std::pair<std::uint64_t, std::uint64_t>> newest_epoch_;
};

} // namespace

int load(const LoadOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "satsuma load: %s\n", sentence.c_str());
    return 2;
  };
  if (options.connect.link.empty() == options.janus.empty()) return fail("Give the link of a room (satsuma link makes one), or --janus and the address of Janus' HTTP interface.");
  if (options.janus.empty() && !(options.room.empty() && options.janus_admin_key.empty())) return fail("--room and --janus-admin-key go with --janus.");
  if (options.packet_bytes > 0 && options.packets_per_second <= 0) return fail("--packet-bytes needs --packets-per-second.");
  if (options.other_publishers > options.others) return fail("There are more publishers than participants among the others.");
  if (options.publishers > options.participants) return fail("There are more publishers than participants.");
  if (options.layers > 1 && options.packet_bytes > 0) return fail("--layers goes with --video-kbps, not with --packet-bytes.");
  if (options.threads > options.participants * options.rooms) return fail("There are more threads than participants.");
  if (options.server_pid != 0 && memory_kb(std::to_string(options.server_pid)) == 0) return fail("--server-pid: there is no such process on this machine.");
  // Three descriptors a participant.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (!options.janus.empty()) return load_peer(options);
  std::vector<RoomLink> links;
  for (unsigned room = 0; room < options.rooms; ++room) {
    auto link = parse_room_link(options.connect.link);
    if (!link) return fail(link.error());
    if (const auto problem = transport_problem(options.connect, *link)) return fail(*problem);
    if (options.rooms > 1) link->room += "-" + std::to_string(room + 1);
    if (!signaling::is_room_name(link->room)) return fail("The room's name is too long to get numbers.");
    links.push_back(std::move(*link));
  }
  Course course(options.threads);
  std::vector<std::unique_ptr<RoomShare>> shares;
  for (unsigned i = 0; i < options.threads; ++i) {
    auto server = find_server(links.front(), options.connect.insecure, options.connect.pin);
    if (!server) return fail(server.error());
    auto context = dtls::Context::create(io::unix_now());
    if (!context) return fail("OpenSSL could not make a certificate for media.");
    std::vector<RoomLink> own;
    for (const RoomLink& link : links) own.push_back({link.server, link.room, link.secret.clone(), link.suite});
    shares.push_back(std::make_unique<RoomShare>(options, i, std::move(own), std::move(*server), std::move(*context), course));
  }
  std::vector<Results> results(options.threads);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < options.threads; ++i) threads.emplace_back([&, i] { results[i] = shares[i]->run(); });
  results[0] = shares[0]->run();
  for (std::thread& thread : threads) thread.join();
  for (unsigned i = 1; i < options.threads; ++i) results[0].add(results[i]);
  return report(options, results[0], shares[0]->measured(), course.interrupted) ? 0 : 1;
}

} // namespace satsuma::client
