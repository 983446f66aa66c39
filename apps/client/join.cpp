// satsuma join: a participant in the terminal.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <memory>
#include <nlohmann/json.hpp>

#include "address.h"
#include "commands.h"
#include "container/ivf.h"
#include "container/ogg_opus.h"
#include "event_loop.h"
#include "film.h"
#include "io/clock.h"
#include "native_client.h"
#include "printable.h"
#include "recording.h"
#include "rtp/active_speakers.h"
#include "test_media.h"

namespace satsuma::client {
namespace {

using participant::Leg;
using signaling::Source;
using std::chrono::milliseconds;

constexpr std::size_t max_input_file = 512U << 20;
constexpr std::uint32_t video_clock = 90000, audio_clock = 48000;
constexpr Duration max_without_key_frame = std::chrono::seconds(10);

std::expected<Bytes, std::string> read_file(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) return std::unexpected("The file " + path + " cannot be read.");
  if (size > max_input_file) return std::unexpected("The file " + path + " is larger than 512 MB.");
  Bytes bytes(static_cast<std::size_t>(size));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (static_cast<std::size_t>(in.gcount()) != bytes.size()) return std::unexpected("The file " + path + " cannot be read to its end.");
  return bytes;
}

/// What of a name may stand in a file's.
std::string file_name_of(std::string_view name) {
  std::string out;
  for (const char c : name) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return out.empty() ? "nameless" : out.substr(0, 40);
}

/// RFC 6464 s.3: -dBov, of a loudness where the loudest sine has the square root of a half.
std::uint8_t level_of(double loudness) {
  if (loudness <= 0) return 127;
  return static_cast<std::uint8_t>(std::clamp(-20 * std::log10(loudness), 0.0, 127.0));
}

class Join final : public NativeClient::Listener {
 public:
  Join(const JoinOptions& options, RoomLink link, Server server, dtls::Context context)
      : options_(options), link_(std::move(link)), server_(std::move(server)), context_(std::move(context)), client_(loop_, server_, context_, nullptr, *this) {}

  std::expected<void, std::string> prepare() {
    const std::string twice = "--publish: there is one camera and one microphone, and more than one thing to send by the ";
    for (const std::string& what : options_.publish) {
      if (what == "test-pattern") {
        if (pattern_ || film_ || ogg_) return std::unexpected(twice + (ogg_ ? "microphone." : "camera."));
        pattern_ = TestPattern::create(static_cast<std::uint8_t>(std::hash<std::string>()(options_.name)));
        tone_ = TestTone::create(220 + 20.0 * static_cast<double>(std::hash<std::string>()(options_.name) % 12));
        if (!pattern_ || !tone_) return std::unexpected("libvpx or libopus could not be set up.");
        continue;
      }
      auto bytes = read_file(what);
      if (!bytes) return std::unexpected(bytes.error());
      files_.push_back(std::make_unique<Bytes>(std::move(*bytes)));
      if (auto film = Film::open(*files_.back())) {
        if (pattern_ || film_) return std::unexpected(twice + "camera.");
        film_ = *film;
        if (film_->longest_without_key_frame() > max_without_key_frame) {
          std::fprintf(stderr, "satsuma join: %s has no key frame for up to %lld seconds. Whoever comes makes it go back to its last one, and where the way is narrow it stands still for as long. ffmpeg's -g 60 gives it more.\n",
                       what.c_str(), static_cast<long long>(film_->longest_without_key_frame() / std::chrono::seconds(1)));
        }
      } else if (film.error() == Error(film_begins_without_key_frame)) {
        return std::unexpected(what + " does not begin with a key frame.");
      } else if (film.error() == Error(container::ivf_not_vp8)) {
        return std::unexpected(what + " holds no VP8. ffmpeg -i INPUT -c:v libvpx -g 60 OUTPUT.ivf makes it so.");
      } else if (auto ogg = container::OggOpusReader::open(*files_.back())) {
        if (tone_ || ogg_) return std::unexpected(twice + "microphone.");
        ogg_ = std::move(*ogg);
        const auto first = ogg_->next();
        if (!first || !*first) return std::unexpected(what + " has no sound in it.");
        ogg_->rewind();
      } else {
        return std::unexpected(what + " is neither IVF with VP8 nor Ogg with Opus.");
      }
    }
    if (!options_.record.empty()) {
      std::error_code error;
      std::filesystem::create_directories(options_.record, error);
      if (error) return std::unexpected("The folder " + options_.record + " cannot be made.");
    }
    return {};
  }

  int run() {
    participant::ParticipantConfig config;
    config.session.room = link_.room;
    config.session.secret = link_.secret.clone();
    config.session.suite = link_.suite;
    SecretBytes seed(32);
    random_.fill(seed.mutable_view());
    config.session.device_seed = std::move(seed);
    config.session.name = options_.name;
    if (tone_ || ogg_) config.publish.push_back(Source::microphone);
    if (pattern_ || film_) config.publish.push_back(Source::camera);
    if (pattern_) config.camera_layers = TestPattern::layers.size();
    if (!options_.connect.media_via.empty()) config.media_via = parse_address(options_.connect.media_via);
    config.transport = options_.connect.transport;
    config.tell_levels = options_.tell_levels;
    config.adapt = !options_.fixed_rate;
    if (pattern_) {
      auto& rates = config.rates[Source::camera];
      rates.frames_per_second = TestPattern::fps;
      for (const TestPattern::Layer& layer : TestPattern::layers) rates.layers.push_back({layer.least_kbps * 1000, layer.kbps * 1000});
    }
    if (film_) config.as_it_is[Source::camera] = film_wire_rate_ = participant::on_the_wire(film_->bitrate(), film_->frames_per_second());
    config.adapt_sound = tone_ != nullptr;
    loop_.on_signal([this] { leave(); });
    const TimePoint now = io::monotonic_now();
    begun_ = now;
    if (const auto started = client_.start(now, std::move(config)); !started) {
      std::fprintf(stderr, "satsuma join: %s\n", started.error().c_str());
      return 1;
    }
    loop_.at(now + std::chrono::seconds(5), [this](TimePoint at) { statistics(at); });
    if (options_.last_n > 0) choose_whom_to_see(now);
    if (options_.seconds > 0) loop_.at(now + Duration(static_cast<Duration::rep>(options_.seconds * 1e6)), [this](TimePoint) { leave(); });
    loop_.run();
    recordings_.clear();
    summary();
    return failed_ ? 1 : 0;
  }

 private:
  /// What came of one source of one participant.
  struct Incoming {
    std::string name;
    std::uint64_t frames = 0, bytes = 0, decoded = 0, undecodable = 0;
    std::uint64_t told_frames = 0, told_bytes = 0; ///< by the last statistics
    std::optional<container::Vp8Size> size; ///< as its last key frame says
    unsigned width = 0, height = 0;
    double brightness = 0, loudness = 0;
    bool waits_for_key = true;
    TimePoint last{};
    std::unique_ptr<PictureCheck> picture;
    std::unique_ptr<SoundCheck> sound;
  };
  using Key = std::pair<IncarnationId, Source>;

  template <class... Parts>
  void say(const char* format, Parts... parts) {
    if (options_.quiet || options_.json) return;
    char clock[16];
    const std::time_t seconds = std::time(nullptr);
    std::tm parts_of_time{};
    localtime_r(&seconds, &parts_of_time);
    std::strftime(clock, sizeof clock, "%H:%M:%S", &parts_of_time);
    std::printf("%s  ", clock);
    std::printf(format, parts...);
    std::printf("\n");
    std::fflush(stdout);
  }

  void leave() {
    if (leaving_) {
      loop_.stop();
      return;
    }
    leaving_ = true;
    say("%s", "leaving");
    client_.leave(io::monotonic_now());
    loop_.at(io::monotonic_now() + std::chrono::seconds(2), [this](TimePoint) { loop_.stop(); });
  }

  // ---- events

  void warn_of(const call::RosterEntry& entry) {
    if (refuted_.insert(entry.who).second) say("careful: %s is not the device that it claims to be", printable(entry.profile.name).c_str());
  }

  void on_session(NativeClient&, TimePoint now, const call::SessionOutput& output) override {
    if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
      if (!std::exchange(entered_, true)) listen_to_keyboard();
      if (!entered_after_) entered_after_ = now - begun_;
      for (const std::string& name : epoch->joined)
        if (epoch->kind != call::ChangeKind::entered) say("%s came", printable(name).c_str());
      for (const std::string& name : epoch->left) say("%s left", printable(name).c_str());
      std::string people;
      for (const call::RosterEntry& entry : epoch->roster) {
        names_[entry.who] = entry.profile.name;
        if (entry.profile.proof == call::DeviceProof::refuted) warn_of(entry);
        people += (people.empty() ? "" : ", ") + (entry.profile.name.empty() ? "(no name)" : printable(entry.profile.name)) + (entry.leaf == epoch->self ? " (you)" : "");
      }
      others_.clear();
      for (std::size_t i = 0; i < heard_.size(); ++i) {
        if (std::ranges::find(epoch->roster, heard_[i], &call::RosterEntry::who) != epoch->roster.end()) continue;
        speakers_.remove(static_cast<std::uint32_t>(i));
        heard_[i] = {};
      }
      for (const call::RosterEntry& entry : epoch->roster)
        if (entry.leaf != epoch->self) others_.push_back(entry.who);
      safety_number_ = epoch->safety_number.digits;
      roster_size_ = epoch->roster.size();
      say("in the room: %s", people.c_str());
      say("safety number: %s", safety_number_.c_str());
    } else if (std::holds_alternative<call::ReadyEvent>(output)) {
      if (!std::exchange(problem_, {}).empty()) say("%s", "connected to the server");
    } else if (const auto* devices = std::get_if<call::DevicesEvent>(&output)) {
      for (const call::RosterEntry& entry : devices->checked)
        if (entry.profile.proof == call::DeviceProof::refuted) warn_of(entry);
    } else if (const auto* waiting = std::get_if<call::WaitingEvent>(&output)) {
      switch (waiting->reason) {
        case call::WaitingReason::no_secret: say("%s", "waiting: the link has no secret, so nobody admits us"); break;
        case call::WaitingReason::not_admitted: say("%s", "waiting for a member to let us in (is the link right and whole?)"); break;
        case call::WaitingReason::empty: say("%s", "nobody is there yet"); break;
      }
    } else if (const auto* departed = std::get_if<call::DepartedEvent>(&output)) {
      say("%s is gone%s", printable(departed->name).c_str(), departed->cause == signaling::GoneCause::goodbye ? "" : " (connection lost)");
    } else if (std::holds_alternative<call::RejoiningEvent>(output)) {
      say("%s", "entering again");
    } else if (const auto* error = std::get_if<call::ErrorEvent>(&output)) {
      std::fprintf(stderr, "satsuma join: %s\n", printable(error->text).c_str());
      if (error->fatal) failed_ = true;
    }
  }

  void on_media(NativeClient&, TimePoint now, Leg leg, bool connected) override {
    if (connected && client_.participant().path(leg)) {
      switch (participant::route_of(*client_.participant().path(leg))) {
        case participant::Route::udp: transport_ = "udp"; break;
        case participant::Route::tcp: transport_ = "tcp"; break;
        case participant::Route::tls: transport_ = "tls"; break;
      }
    }
    say("%s %s%s", leg == Leg::publish ? "sending:" : "receiving:", connected ? "connected over " : "connection lost", connected ? transport_.c_str() : "");
    if (!connected || leg != Leg::publish) return;
    if ((pattern_ || film_) && !video_running_) {
      video_running_ = true;
      video_begun_ = now;
      video_tick(now, now);
    }
    if ((tone_ || ogg_) && !audio_running_) {
      audio_running_ = true;
      audio_tick(now, now);
    }
  }

  void on_key_frame_wanted(NativeClient&, TimePoint, Source source, std::size_t layer) override {
    if (source == Source::camera) key_wanted_[layer] = true;
  }

  void on_frame(NativeClient&, TimePoint now, const participant::Frame& frame) override {
    if (!first_frame_after_) first_frame_after_ = now - begun_;
    const Key key{frame.who, frame.source};
    Incoming& in = incoming_[key];
    if (in.frames++ == 0) {
      in.name = names_.contains(frame.who) ? names_[frame.who] : frame.who.hex();
      say("receiving the %s of %s", std::string(signaling::source_name(frame.source)).c_str(), printable(in.name).c_str());
    }
    in.bytes += frame.payload.size();
    if (frame.key_frame) in.size = container::vp8_size(frame.payload);
    in.last = now;
    const bool audio = signaling::is_audio(frame.source);
    const bool listens = options_.last_n > 0 && !options_.speakers_by_server && frame.source == Source::microphone;
    const bool crowded = frame.source == Source::microphone && client_.participant().crowded();
    if ((options_.decode || listens || crowded) && audio) {
      if (!in.sound) in.sound = std::make_unique<SoundCheck>();
      const auto loudness = in.sound->decode(frame.payload);
      ++(loudness ? in.decoded : in.undecodable);
      if (loudness) in.loudness = std::max(in.loudness, *loudness);
      if (loudness && crowded) client_.participant().handle_level(now, frame.who, level_of(*loudness));
      if (loudness && listens) {
        auto place = std::find(heard_.begin(), heard_.end(), frame.who);
        if (place == heard_.end()) place = std::find(heard_.begin(), heard_.end(), IncarnationId{}); // somebody's who has left
        if (place == heard_.end() && heard_.size() < rtp::ActiveSpeakers::max_voices) place = heard_.insert(heard_.end(), frame.who);
        if (place != heard_.end()) speakers_.handle_level(now, static_cast<std::uint32_t>(place - heard_.begin()), level_of(*loudness));
      }
    } else if (options_.decode) {
      if (frame.after_gap && !frame.key_frame) in.waits_for_key = true;
      if (frame.key_frame) in.waits_for_key = false;
      if (!in.waits_for_key) {
        if (!in.picture) in.picture = std::make_unique<PictureCheck>();
        const auto picture = in.picture->decode(frame.payload);
        ++(picture ? in.decoded : in.undecodable);
        if (picture) {
          in.width = picture->width;
          in.height = picture->height;
          in.brightness = picture->brightness;
        }
      }
    }
    if (options_.record.empty()) return;
    auto& recording = recordings_[key];
    if (!recording) {
      const std::string path = options_.record + "/" + file_name_of(in.name) + "-" + frame.who.hex().substr(0, 8) + "-" + std::string(signaling::source_name(frame.source));
      recording = std::make_unique<Recording>(path, !audio, static_cast<std::uint32_t>(frame.leaf * 4 + static_cast<std::uint32_t>(frame.source)));
      say("recording to %s", recording->file().c_str());
    }
    const bool was_full = recording->full();
    recording->take(frame);
    if (recording->full() && !was_full) {
      std::fprintf(stderr, "satsuma join: %s is the last file of its source: the size of its pictures has changed too often\n", recording->file().c_str());
    }
    if (!recording->good() && !record_failed_) {
      record_failed_ = failed_ = true;
      std::fprintf(stderr, "satsuma join: recording failed; is the disk full?\n");
    }
  }

  void on_written(NativeClient&, TimePoint, const participant::Written& written) override {
    const auto name = names_.find(written.who);
    // No line of ours begins like that.
    say("<%s> %s", name == names_.end() || name->second.empty() ? "(no name)" : printable(name->second).c_str(), printable(written.text).c_str());
  }

  void on_problem(NativeClient&, TimePoint, const std::string& sentence) override {
    if (std::exchange(problem_, sentence) != sentence) std::fprintf(stderr, "satsuma join: %s\n", printable(sentence).c_str());
  }

  void on_end(NativeClient&, TimePoint, const std::string& why) override {
    if (!leaving_) {
      std::fprintf(stderr, "satsuma join: %s\n", why.c_str());
      failed_ = true;
    }
    loop_.stop();
  }

  // ---- what we write

  /// What comes through a pipe may be meant for somebody else: a script that calls us reads it. So only if that is asked for.
  void listen_to_keyboard() {
    struct stat input{};
    if (::isatty(STDIN_FILENO) != 1) {
      if (!options_.write) return;
      if (::fstat(STDIN_FILENO, &input) != 0 || !(S_ISFIFO(input.st_mode) || S_ISSOCK(input.st_mode))) {
        std::fprintf(stderr, "satsuma join: --write reads from a terminal or a pipe: PROGRAM | satsuma join LINK --write\n");
        return;
      }
    }
    loop_.watch(STDIN_FILENO, [this] { on_keyboard(io::monotonic_now()); });
  }

  void on_keyboard(TimePoint now) {
    // A program in the background that reads from the terminal is stopped by the system.
    const pid_t foreground = ::isatty(STDIN_FILENO) == 1 ? ::tcgetpgrp(STDIN_FILENO) : -1;
    if (foreground >= 0 && foreground != ::getpgrp()) {
      loop_.want(STDIN_FILENO, false, false);
      loop_.at(now + std::chrono::seconds(1), [this](TimePoint) { loop_.want(STDIN_FILENO, true, false); });
      return;
    }
    std::array<char, 4096> piece;
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
      loop_.forget(STDIN_FILENO);
      return write_line(now, std::exchange(line_, {}));
    }
    for (const char c : std::string_view(piece.data(), static_cast<std::size_t>(got))) {
      if (c == '\n') write_line(now, std::exchange(line_, {}));
      else if (line_.size() <= 3 * signaling::max_chat_length) line_ += c;
    }
  }

  void write_line(TimePoint now, const std::string& line) {
    const std::string text = printable(line);
    if (text.find_first_not_of(' ') == std::string::npos || leaving_) return;
    const auto written = client_.write(now, text);
    if (written) return;
    if (written.error() == Error(participant::participant_bad_message)) {
      std::fprintf(stderr, "satsuma join: not sent: a message is UTF-8 of at most %zu characters\n", signaling::max_chat_length);
    } else if (written.error() == Error(call::session_removal_overdue)) {
      std::fprintf(stderr, "satsuma join: not sent: somebody who left could still read it, since no new keys come\n");
    } else {
      std::fprintf(stderr, "satsuma join: not sent: we are not in the room at the moment\n");
    }
  }

  // ---- what we send

  void video_tick(TimePoint due, TimePoint now) {
    if (leaving_) return;
    const auto timestamp = static_cast<std::uint32_t>((due - video_begun_).count() * video_clock / 1'000'000);
    Duration step = std::chrono::microseconds(1'000'000 / TestPattern::fps);
    if (pattern_) {
      // Nothing is encoded that cannot leave.
      if (client_.participant().entered() && client_.participant().connected(Leg::publish)) {
        pattern_->advance();
        for (std::size_t layer = 0; layer < TestPattern::layers.size(); ++layer) {
          if (!client_.participant().wanted(Source::camera, layer)) continue;
          const std::int64_t most = TestPattern::layers[layer].kbps * 1000;
          const ByteView frame = pattern_->encode(layer, key_wanted_[layer], client_.participant().target(Source::camera, layer).value_or(most));
          if (frame.empty()) continue;
          key_wanted_[layer] = false;
          if (client_.send_frame(now, Source::camera, frame, timestamp, container::is_vp8_key_frame(frame), std::nullopt, layer)) ++layer_frames_[layer];
          else key_wanted_[layer] = true;
        }
      }
    } else {
      step = film_tick(now, timestamp);
    }
    due = std::max(due + step, now - milliseconds(100));
    loop_.at(due, [this, due](TimePoint at) { video_tick(due, at); });
  }

  Duration film_tick(TimePoint now, std::uint32_t timestamp) {
    const participant::Participant& p = client_.participant();
    if (!p.entered() || !p.connected(Leg::publish)) return milliseconds(20); // it waits, and loses nothing
    if (std::exchange(key_wanted_[0], false)) film_->handle_key_frame_wanted();
    const auto room = p.room();
    const bool busy = p.sender() && p.sender()->waiting_bytes() > 0;
    const Film::Way before = film_->way();
    const Film::Step step = film_->next(now, !room || *room >= film_wire_rate_, busy);
    if (film_->way() != before) {
      if (film_->way() == Film::Way::key_frames)
        say("the way there has no room for the whole film (%lld kbit/s): only its key frames are sent until it has", static_cast<long long>(film_wire_rate_ / 1000));
      else
        say("%s", "the whole film is sent again");
    }
    if (step.frame.empty()) return step.until_next;
    const auto sent = client_.send_frame(now, Source::camera, step.frame, timestamp, step.key);
    if (sent) return step.until_next;
    if (sent.error() == Error(participant::media_needs_key_frame)) film_->handle_unsent();
    else film_->handle_key_frame_wanted(); // it never left us: from the last one on
    return step.until_next;
  }

  void audio_tick(TimePoint due, TimePoint now) {
    if (leaving_) return;
    std::uint32_t samples = 960;
    if (tone_) {
      const double at = std::chrono::duration<double>(now - begun_).count();
      const participant::SoundFormat format = client_.participant().sound_format();
      samples = static_cast<std::uint32_t>(format.packet.count() * audio_clock / 1'000'000);
      send_sound(now, tone_->next(format, at < options_.voice_from || at >= options_.voice_to));
    } else {
      auto next = ogg_->next();
      if (!next || !*next) {
        ogg_->rewind();
        next = ogg_->next();
      }
      samples = container::opus_samples(**next);
      send_sound(now, **next);
    }
    audio_timestamp_ += samples;
    due = std::max(due + Duration(std::int64_t{samples} * 1'000'000 / audio_clock), now - milliseconds(100));
    loop_.at(due, [this, due](TimePoint at) { audio_tick(due, at); });
  }

  void send_sound(TimePoint now, ByteView packet) {
    std::optional<std::uint8_t> level;
    if (options_.tell_levels || client_.participant().crowded()) level = level_of(own_sound_.decode(packet).value_or(0));
    static_cast<void>(client_.send_frame(now, Source::microphone, packet, audio_timestamp_, false, level));
  }

  // ---- whom we see

  void choose_whom_to_see(TimePoint now) {
    constexpr std::uint32_t height = 360;
    signaling::View view;
    view.speakers = signaling::View::Speakers{options_.speakers_by_server ? options_.last_n : 0, height};
    if (!options_.speakers_by_server) {
      // Whom we hear, latest first; while too few have spoken, the others in the order of the list.
      speakers_.update(now);
      const auto take = [&](const IncarnationId& who) {
        const bool here = std::find(others_.begin(), others_.end(), who) != others_.end();
        const bool there = std::any_of(view.tiles.begin(), view.tiles.end(), [&](const auto& tile) { return tile.incarnation == who; });
        if (here && !there && view.tiles.size() < options_.last_n) view.tiles.push_back({"", who, Source::camera, height});
      };
      for (const rtp::ActiveSpeakers::Who number : speakers_.ranking()) take(heard_[number]);
      for (const IncarnationId& who : others_) take(who);
    }
    client_.participant().set_view(std::move(view));
    loop_.at(now + rtp::ActiveSpeakers::update_interval, [this](TimePoint at) {
      if (!leaving_ && !client_.ended()) choose_whom_to_see(at);
    });
  }

  // ---- what we tell

  static constexpr std::size_t max_told_people = 16;
  static constexpr std::int64_t statistics_seconds = 5;

  void statistics(TimePoint now) {
    if (client_.participant().entered() && !leaving_) tell_statistics();
    loop_.at(now + std::chrono::seconds(statistics_seconds), [this](TimePoint at) { statistics(at); });
  }

  void tell_statistics() {
    participant::Participant& p = client_.participant();
    const auto& f = p.frames();
    std::map<std::string, std::string> lines; ///< by name, and a number where two have the same
    std::uint64_t down = 0;
    for (auto& [key, in] : incoming_) {
      const std::uint64_t frames = in.frames - in.told_frames, bytes = in.bytes - in.told_bytes;
      in.told_frames = in.frames;
      in.told_bytes = in.bytes;
      down += bytes;
      if (std::find(others_.begin(), others_.end(), key.first) == others_.end()) continue;
      std::string& line = lines[printable(in.name) + "\n" + key.first.hex()];
      line += (line.empty() ? "" : "; ") + told(key, in, frames, bytes);
    }
    const std::string people_here = std::to_string(roster_size_) + (roster_size_ == 1 ? " person" : " people");
    const std::uint64_t sent = p.sender() ? p.sender()->counters().bytes : 0;
    const std::uint64_t up = sent >= sent_before_ ? sent - sent_before_ : sent; // another connection counts from the beginning
    sent_before_ = sent;
    std::string path;
    if (const auto& report = p.server_report()) {
      path = " (the way here carries " + std::to_string(report->bitrate_kbps) + ", " + std::to_string(report->loss_percent) + " % lost, " + std::to_string(report->round_trip_ms) + " ms there and back" +
             (report->limited_by.empty() ? "" : ", held down by " + report->limited_by) + ")";
    }
    const participant::SendingState sending = p.sending();
    const bool held_down = sending.limited_by == participant::RateControl::LimitedBy::network;
    std::string back;
    if (p.sender()) {
      char text[160];
      const double round_trip = p.sender()->round_trip() ? static_cast<double>(p.sender()->round_trip()->count()) / 1000 : 0;
      const std::string carries = sending.available ? "the way there carries " + std::to_string(*sending.available / 1000) + ", " : "";
      std::snprintf(text, sizeof text, " (%s%.1f %% lost, %.1f ms there and back%s)", carries.c_str(), 100 * p.sender()->reported_loss(), round_trip,
                    !held_down ? "" : sending.by_loss ? ", held down by loss" : ", held down by delay");
      back = text;
    }
    say("%s; down %llu kbit/s%s, up %llu kbit/s%s; %llu frames read, %llu gaps, %llu undecryptable", people_here.c_str(), kbps(down), path.c_str(), kbps(up), back.c_str(),
        static_cast<unsigned long long>(f.decrypted), static_cast<unsigned long long>(p.receiver() ? p.receiver()->counters().frames_lost : 0), static_cast<unsigned long long>(f.undecryptable));
    std::size_t people = 0;
    for (const auto& [who, line] : lines) {
      if (people++ < max_told_people) detail(who.substr(0, who.find('\n')) + ": " + line);
    }
    if (people > max_told_people) detail("and " + std::to_string(people - max_told_people) + " others");
    if (!pattern_) return;
    std::string sizes;
    for (std::size_t i = 0; i < TestPattern::layers.size(); ++i) {
      if (!p.wanted(Source::camera, i)) continue;
      sizes += (sizes.empty() ? "" : ", ") + std::to_string(TestPattern::layers[i].width) + " x " + std::to_string(TestPattern::layers[i].height);
      if (const auto target = p.target(Source::camera, i)) sizes += " (" + std::to_string(*target / 1000) + ")";
    }
    const std::string none = held_down ? "no picture, since there is no room for one" : "no picture, since nobody looks";
    detail("we send: " + (sizes.empty() ? none : "the camera in " + sizes + (held_down ? "; there is no room for more" : "")));
  }

  static std::string limit_name(const participant::SendingState& sending) {
    switch (sending.limited_by) {
      case participant::RateControl::LimitedBy::nothing: return "";
      case participant::RateControl::LimitedBy::network: return sending.by_loss ? "loss" : "delay";
      case participant::RateControl::LimitedBy::view: return "view";
    }
    return "";
  }

  static unsigned long long kbps(std::uint64_t bytes) { return bytes * 8 / (1000 * statistics_seconds); }

  /// One source of somebody, and what limits it as far as the server says.
  std::string told(const Key& key, const Incoming& in, std::uint64_t frames, std::uint64_t bytes) {
    std::string text(signaling::source_name(key.second));
    if (!signaling::is_audio(key.second) && in.size) text += " " + std::to_string(in.size->width) + " x " + std::to_string(in.size->height) + ", " + std::to_string(frames / statistics_seconds) + " a second,";
    text += " " + std::to_string(kbps(bytes)) + " kbit/s";
    const participant::Participant& p = client_.participant();
    if (!p.server_report() || signaling::is_audio(key.second)) return text;
    for (const signaling::Slot& slot : p.slots()) {
      if (slot.incarnation != key.first || slot.source != key.second) continue;
      const auto& slots = p.server_report()->slots;
      const auto at = std::ranges::find(slots, slot.mid, &signaling::Path::Slot::mid);
      if (at == slots.end()) continue;
      if (at->layers > 1) text += ", size " + std::to_string(at->layer + 1) + " of " + std::to_string(at->layers);
      if (at->paused) text += ", paused";
      if (at->limited_by == "bandwidth") text += ", held down by the network";
      else if (at->limited_by == "publisher") text += ", the sender has no larger one";
      else if (at->limited_by == "view") text += ", as large as is asked for";
    }
    return text;
  }

  void detail(const std::string& line) {
    if (!options_.quiet && !options_.json) std::printf("          %s\n", line.c_str());
  }

  void summary() {
    const auto& f = client_.participant().frames();
    if (!entered_) failed_ = true;
    if (!options_.json) return;
    nlohmann::json j;
    j["entered"] = entered_;
    if (entered_after_) j["entered_ms"] = static_cast<double>(entered_after_->count()) / 1000;
    if (first_frame_after_) j["first_frame_ms"] = static_cast<double>(first_frame_after_->count()) / 1000;
    j["safety_number"] = safety_number_;
    j["roster"] = roster_size_;
    j["sent"] = f.sent;
    j["decrypted"] = f.decrypted;
    j["undecryptable"] = f.undecryptable;
    j["misplaced"] = f.misplaced;
    j["passed_over"] = f.passed_over;
    j["refused"] = f.refused;
    j["transport"] = transport_;
    if (pattern_) j["layers_sent"] = layer_frames_;
    if (const auto& p = client_.participant(); p.sender() && !options_.fixed_rate) {
      const participant::SendingState sending = p.sending();
      j["sending"] = {{"estimate_kbps", sending.available.value_or(0) / 1000}, {"sound_kbps", sending.sound / 1000}, {"pictures_kbps", sending.pictures / 1000},
                      {"desired_kbps", sending.desired / 1000}, {"limited_by", limit_name(sending)}, {"frames_dropped", p.sender()->counters().frames_dropped},
                      {"probes", p.sender()->counters().probes}};
    }
    if (const auto& report = client_.participant().server_report())
      j["path"] = {{"bitrate_kbps", report->bitrate_kbps}, {"loss_percent", report->loss_percent}, {"round_trip_ms", report->round_trip_ms}, {"limited_by", report->limited_by}};
    j["streams"] = nlohmann::json::array();
    for (const auto& [key, in] : incoming_)
      j["streams"].push_back({{"name", in.name}, {"source", std::string(signaling::source_name(key.second))}, {"frames", in.frames}, {"bytes", in.bytes}, {"decoded", in.decoded},
                              {"undecodable", in.undecodable}, {"width", in.width}, {"height", in.height}, {"brightness", in.brightness}, {"loudness", in.loudness},
                              {"last_ms", std::chrono::duration<double, std::milli>(in.last - begun_).count()}});
    std::printf("%s\n", j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }

  JoinOptions options_;
  RoomLink link_;
  Server server_;
  dtls::Context context_;
  io::SystemRandom random_;
  EventLoop loop_;
  NativeClient client_;
  std::vector<std::unique_ptr<Bytes>> files_;
  std::unique_ptr<TestPattern> pattern_;
  std::unique_ptr<TestTone> tone_;
  std::optional<Film> film_;
  std::int64_t film_wire_rate_ = 0; ///< bits per second
  std::optional<container::OggOpusReader> ogg_;
  bool video_running_ = false, audio_running_ = false;
  std::array<bool, participant::max_camera_layers> key_wanted_{true, true, true};
  std::array<std::uint64_t, participant::max_camera_layers> layer_frames_{}; ///< of the test pattern, sent
  TimePoint video_begun_, begun_;
  std::uint32_t audio_timestamp_ = 0;
  std::string line_; ///< what is being typed
  bool entered_ = false, leaving_ = false, failed_ = false, record_failed_ = false;
  std::optional<Duration> entered_after_, first_frame_after_;
  std::string safety_number_, transport_;
  std::string problem_; ///< the last that was told, since the server took us
  std::vector<IncarnationId> others_, heard_; ///< who is here; whose sound came, a number each
  rtp::ActiveSpeakers speakers_;              ///< by the numbers in heard_
  SoundCheck own_sound_;
  std::size_t roster_size_ = 0;
  std::map<IncarnationId, std::string> names_;
  std::set<IncarnationId> refuted_; ///< of whom was warned
  std::map<Key, Incoming> incoming_;
  std::map<Key, std::unique_ptr<Recording>> recordings_;
  std::uint64_t sent_before_ = 0;
};

} // namespace

int join(const JoinOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "satsuma join: %s\n", sentence.c_str());
    return 2;
  };
  auto link = parse_room_link(options.connect.link);
  if (!link) return fail(link.error());
  if (const auto problem = transport_problem(options.connect, *link)) return fail(*problem);
  auto server = find_server(*link, options.connect.insecure, options.connect.pin);
  if (!server) return fail(server.error());
  auto context = dtls::Context::create(io::unix_now());
  if (!context) return fail("OpenSSL could not make a certificate for media.");
  Join join(options, std::move(*link), std::move(*server), std::move(*context));
  if (const auto prepared = join.prepare(); !prepared) return fail(prepared.error());
  if (options.start_after > 0) ::usleep(static_cast<useconds_t>(options.start_after * 1e6));
  return join.run();
}

} // namespace satsuma::client
