#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "commands.h"
#include "statistics.h"

/// What `satsuma load` counts, and how it tells it.
namespace satsuma::client {

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
    std::atomic<std::uint64_t> in = 0, all_seen = 0, decrypted = 0, undecryptable = 0, churned = 0, rejoins = 0;
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

/// What the first thread measured besides.
struct Measured {
  double ready_after = 0, seconds = 0;     ///< until all were in; of measuring
  double cpu_before = 0, server_cpu = 0;   ///< seconds: ours until measuring began, the server's meanwhile
  std::vector<Memory> memory;
};

/// Processor time that this process has had, in seconds.
double cpu_seconds();
/// Resident memory of a process; 0 when it is not there.
std::uint64_t memory_kb(const std::string& pid);
/// Processor time that a process has had, in seconds.
double process_seconds(const std::string& pid);

/// Tells what came out, and whether it is as it should be. `peer`: whose forwarding unit it was, if not ours.
bool report(const LoadOptions& options, const Results& results, const Measured& measured, bool interrupted, const std::string& peer = {});

} // namespace satsuma::client
