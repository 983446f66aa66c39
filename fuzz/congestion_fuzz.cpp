// What a receiver's feedback may do to an estimate, the pace that follows it and the sizes of pictures that follow that: feedback of any bytes between what a path of any
// rate makes of honest packets, in virtual time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <vector>

#include "congestion/bandwidth_estimator.h"
#include "congestion/pacing_budget.h"
#include "participant/rate_control.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"

using namespace satsuma;
using congestion::BandwidthEstimator;

namespace {

using std::chrono::milliseconds;

void demand(bool holds) {
  if (!holds) std::abort();
}

const std::vector<participant::LayerRates> sizes{{30'000, 100'000}, {100'000, 300'000}, {250'000, 1'200'000}};

/// Whoever sends over one path to one receiver.
class World {
 public:
  void send(std::size_t size, std::uint16_t probe, bool repeated) {
    estimator_.on_sent(now_, sequence_, size, probe, repeated);
    budget_.count(now_, size);
    // A bottleneck with a queue of 300 ms.
    free_at_ = std::max(free_at_, now_) + Duration(static_cast<std::int64_t>(size) * 8'000'000 / rate_);
    if (free_at_ - now_ <= milliseconds(300)) {
      arrivals_.push_back({free_at_ + milliseconds(20), sequence_});
    } else {
      free_at_ = now_ + milliseconds(300);
    }
    ++sequence_;
    ++sent_;
    if (arrivals_.size() > 4096) arrivals_.pop_front();
  }
  void wait(Duration time) {
    now_ += time;
    estimator_.handle_timeout(now_);
    set_pace();
    check();
  }
  /// What the receiver tells, in its own words.
  void feed_honestly() {
    while (!arrivals_.empty() && arrivals_.front().first <= now_) {
      recorder_.on_packet(arrivals_.front().first, arrivals_.front().second);
      arrivals_.pop_front();
    }
    for (int i = 0; i < 8 && recorder_.pending(); ++i) {
      std::array<std::uint8_t, 1200> out;
      const auto written = recorder_.write(1, 2, out);
      if (!written) break;
      rtp::RtcpReader reader(*written);
      const auto packet = reader.next();
      demand(packet && *packet);
      const auto feedback = rtp::parse_feedback(**packet);
      demand(feedback.has_value());
      feed(feedback->control);
    }
  }
  void feed(ByteView control) {
    const auto parsed = rtp::parse_transport_feedback(control, statuses_);
    if (!parsed) return;
    estimator_.on_feedback(now_, parsed->statuses);
    fed_since_probe_ = true;
    set_pace();
    check();
  }
  /// Numbers of packets that were sent a moment ago, and what somebody says became of them.
  void feed(std::span<const std::uint8_t> fates, std::int64_t clock) {
    std::vector<rtp::PacketStatus> told;
    for (std::size_t i = 0; i < fates.size(); ++i)
      told.push_back({static_cast<std::uint16_t>(sequence_ - fates.size() + i), (fates[i] & 1) != 0, clock + (fates[i] >> 1) * 1000});
    estimator_.on_feedback(now_, told);
    fed_since_probe_ = true;
    set_pace();
    check();
  }
  void probe(std::int64_t wanted) {
    const auto probe = estimator_.poll_probe(now_, wanted);
    if (!probe) return;
    demand(probe->cluster != 0);
    demand(probe->bitrate > estimator_.bitrate() && probe->bitrate <= BandwidthEstimator::max_bitrate && probe->bitrate <= wanted + wanted / 10);
    demand(probe->bytes > 0 && probe->bytes <= static_cast<std::size_t>(BandwidthEstimator::max_bitrate / 8 / 10));
    // Whatever was said, one that nobody has answered is not followed by another within a second.
    demand(!probed_at_ || fed_since_probe_ || now_ - *probed_at_ >= milliseconds(1000));
    probed_at_ = now_;
    fed_since_probe_ = false;
    for (std::size_t sent = 0; sent < probe->bytes; sent += 310) send(310, probe->cluster, false);
  }
  void share(std::int64_t available, std::uint8_t wanted) {
    const bool asked[] = {(wanted & 1) != 0, (wanted & 2) != 0, (wanted & 4) != 0};
    const bool nothing_known = (wanted & 8) != 0;
    const bool before = control_.target(0) > 0;
    control_.update(now_, nothing_known ? std::nullopt : std::optional(available), asked);
    std::int64_t sent = 0;
    for (std::size_t layer = 0; layer < sizes.size(); ++layer) {
      const std::int64_t target = control_.target(layer);
      demand(target == 0 || (target >= sizes[layer].least && target <= sizes[layer].most));
      sent += target > 0;
    }
    demand(control_.used() >= 0 && control_.desired() >= 0);
    demand((control_.used() == 0) == (sent == 0));
    if (nothing_known) demand(control_.used() <= control_.desired());
    // No more than there is, but for the last one for a moment.
    else if (control_.used() > std::max<std::int64_t>(available, 0)) demand(sent == 1 && (before || control_.target(0) == 0));
    if (!asked[0] && !asked[1] && !asked[2]) demand(sent == 0);
  }
  void share_estimate(std::uint8_t wanted) { share(estimator_.bitrate(), wanted); }
  void send_pace(Duration time) {
    for (const TimePoint end = now_ + time; now_ < end; now_ += milliseconds(5)) {
      for (int i = 0; i < 100 && budget_.ready(now_); ++i) send(1228, 0, false);
      if ((now_.time_since_epoch() / milliseconds(5)) % 10 == 0) feed_honestly();
      estimator_.handle_timeout(now_);
    }
    check();
  }
  void set_rate(std::int64_t rate) { rate_ = rate; }
  std::size_t sent() const { return sent_; }
  void leap(std::uint16_t numbers) { sequence_ = static_cast<std::uint16_t>(sequence_ + numbers); }
  void hold(Duration time) {
    budget_.hold(now_, time);
    check();
  }
  void reset() {
    estimator_.reset();
    demand(!estimator_.started());
  }

 private:
  void set_pace() { budget_.set_rate(estimator_.started() && estimator_.acknowledged_bitrate() > 0 ? estimator_.bitrate() * 5 / 4 : 0); }
  void check() {
    const std::int64_t bitrate = estimator_.bitrate();
    demand(bitrate >= BandwidthEstimator::min_bitrate && bitrate <= BandwidthEstimator::max_bitrate);
    demand(estimator_.loss() >= 0 && estimator_.loss() <= 1);
    demand(estimator_.round_trip() > Duration{} && estimator_.round_trip() <= milliseconds(3000));
    demand(estimator_.queue() >= Duration{});
    demand(estimator_.acknowledged_bitrate() >= 0);
    // What waits for the pace does not wait for ever.
    demand(budget_.ready_at() <= now_ + milliseconds(501));
  }

  TimePoint now_{std::chrono::seconds(100)};
  BandwidthEstimator estimator_;
  congestion::PacingBudget budget_;
  participant::RateControl control_{sizes, 30};
  rtp::TransportFeedbackRecorder recorder_;
  std::vector<rtp::PacketStatus> statuses_{rtp::max_feedback_statuses};
  std::deque<std::pair<TimePoint, std::uint16_t>> arrivals_;
  TimePoint free_at_{};
  std::int64_t rate_ = 1'000'000;
  std::uint16_t sequence_ = 65'000; // wraps soon
  std::size_t sent_ = 0;
  std::optional<TimePoint> probed_at_;
  bool fed_since_probe_ = false;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  ByteReader in(ByteView(data, size));
  const auto byte = [&]() -> std::uint8_t {
    const auto next = in.u8();
    return next ? *next : 0;
  };
  while (!in.empty() && world.sent() < 10'000) { // longer ones find no more, and take their time
    const std::uint8_t op = byte();
    switch (op % 12) {
      case 0:
      case 1: {
        const std::uint8_t count = byte();
        for (int i = 0; i <= count % 32; ++i) world.send(100 + 8U * count, (op & 0x80) != 0 ? byte() : 0, (op & 0x40) != 0);
        break;
      }
      case 2: world.wait(milliseconds(byte() * ((op & 0x80) != 0 ? 50 : 1))); break;
      case 3: world.feed_honestly(); break;
      case 4: {
        const auto length = std::min<std::size_t>(byte(), in.rest().size());
        world.feed(*in.bytes(length));
        break;
      }
      case 5: {
        const auto clock = static_cast<std::int64_t>(byte()) << (op >> 4) * 3;
        const auto length = std::min<std::size_t>(byte() % 64, in.rest().size());
        world.feed(*in.bytes(length), clock);
        break;
      }
      case 6: world.probe((static_cast<std::int64_t>(byte()) << 18) - ((op & 0x80) != 0 ? 1'000'000 : 0)); break;
      case 7: world.share((static_cast<std::int64_t>(byte()) << 14) - ((op & 0x80) != 0 ? 1'000'000 : 0), byte()); break;
      case 8: world.share_estimate(byte()); break;
      case 9: world.send_pace(milliseconds(20) * (byte() % 32)); break;
      case 10: world.set_rate((byte() + 1) * ((op & 0x80) != 0 ? 200'000 : 4'000)); break;
      default:
        switch (byte() % 4) {
          case 0: world.leap(static_cast<std::uint16_t>(byte() << 8)); break;
          case 1: world.hold(milliseconds(4) * byte()); break;
          case 2: world.reset(); break;
          default: break;
        }
    }
  }
  return 0;
}
