#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "event_loop.h"
#include "io/random.h"
#include "io/udp_socket.h"
#include "load_results.h"
#include "participant/participant.h"

namespace satsuma::client {

// What is sent is canned: of the right sizes at the right times, and no pictures.

constexpr std::size_t audio_frame_bytes = 80; // 32 kbit/s
constexpr std::size_t frame_overhead = 32;                  // SFrame and shell, at most
constexpr std::size_t packet_overhead = 4 + 12 + 4 + 8 + 16; // the VP8 descriptor, RTP with its extensions, SRTP

/// What a canned frame begins with.
struct CannedHead {
  std::uint64_t number = 0;
  std::int64_t made = 0; ///< by the clock of monotonic_now(), microseconds
};
void write_canned_head(SpanWriter& out, std::uint64_t number);
/// Nothing if it is no frame of ours.
std::optional<CannedHead> read_canned_head(ByteView frame);

/// What a connection received, but for frames: whose count is right depends on who looks into them.
Totals received(const participant::MediaReceiver::Counters& counters);

/// One thread's participants, each so many-th of all: they come at a rate, send canned frames, and are measured when all threads' are in. How they come in and
/// what carries their frames is the deriving class's.
class LoadShare {
 public:
  /// `options` and `course` outlive it.
  LoadShare(const LoadOptions& options, unsigned number, Course& course);
  LoadShare(const LoadShare&) = delete;
  virtual ~LoadShare() = default;

  /// Until measuring is over. The first share prints how it goes.
  Results run();
  const Measured& measured() const { return measured_; }

 protected:
  struct Person {
    std::size_t number = 0; ///< in this thread, by order of coming
    std::size_t room = 0;
    bool publishes = false;
    bool decrypts = true;
    bool newcomer = false; ///< came for somebody who left
    TimePoint began;
    std::optional<TimePoint> entered, all_seen;
    std::uint64_t videos = 0, audios = 0;
    std::array<bool, participant::max_camera_layers> key_due{true, true, true};
    std::optional<EventLoop::TimerId> video_timer, audio_timer;
    bool leaving = false;
  };
  /// The latest frame of one source, as one participant has it.
  struct Heard {
    std::uint64_t number = 0;
    TimePoint at;
  };

  // ---- what derives

  virtual void add(TimePoint now, std::size_t room, bool publishes, bool newcomer) = 0;
  /// One of a publisher's frames. False if it could not be sent.
  virtual bool send(Person& p, TimePoint now, signaling::Source source) = 0;
  virtual Totals totals() = 0;
  /// All of this thread's are in, and those who look have had a frame of every publisher.
  virtual bool ready() = 0;
  virtual void on_measuring(TimePoint) {}
  /// How many at the end have had frames of every publisher lately.
  virtual unsigned hear_all(TimePoint now) = 0;
  /// All leave; the loop runs on until stop() or for a moment.
  virtual void leave(TimePoint now) = 0;

  // ---- for those

  void begin(Person& p, TimePoint now, std::size_t room, bool publishes, bool newcomer);
  void entered(Person& p, TimePoint now);
  /// It can send now.
  void begin_sending(Person& p, TimePoint now);
  void end_sending(Person& p);
  double layer_rate(unsigned layer) const;
  /// Without the head's place: what a frame of a mean rate has.
  std::size_t video_frame_size(bool key, double bitrate) const;
  /// Reckons with a frame from one of a participant's sources: `heard` has so many, of which `source` is that frame's, just made if `fresh`.
  void take(Person& p, TimePoint now, TimePoint arrived, bool audio, const CannedHead& head, Heard& source, bool fresh, std::size_t heard);
  static bool lately(TimePoint now, const Heard& heard) { return now - heard.at < std::chrono::seconds(5); }
  std::size_t expected_sources(const Person& p) const;
  void problem(const std::string& sentence);
  /// Nothing more comes of it.
  void fail(const std::string& sentence);
  unsigned mine() const { return all_ / options_.threads + (number_ < all_ % options_.threads ? 1U : 0U); }
  double since_measuring(TimePoint now) const { return std::chrono::duration<double>(now - measuring_since_).count(); }

  const LoadOptions& options_;
  const unsigned number_; ///< of the thread
  Course& course_;
  io::SystemRandom random_;
  EventLoop loop_;
  std::optional<io::UdpSocket> buffers_;
  std::size_t made_ = 0;
  Bytes frame_;
  bool measuring_ = false;
  Results results_;

 private:
  void schedule_joins(TimePoint now);
  Duration video_interval() const;
  void tick(Person& p, signaling::Source source, TimePoint due, TimePoint now);
  void watch(TimePoint now);
  void say_who_is_in(TimePoint now);
  void begin_measuring(TimePoint now, double waited);
  void look_at_memory(double since);
  double server_cpu_now() const { return options_.server_pid == 0 ? 0 : process_seconds(std::to_string(options_.server_pid)); }
  void finish();

  const unsigned all_ = options_.participants * options_.rooms;
  TimePoint started_at_, measuring_since_, tell_at_, say_at_;
  double server_cpu_before_ = 0;
  Measured measured_;
};

/// load() with --janus.
int load_peer(const LoadOptions& options);

} // namespace satsuma::client
