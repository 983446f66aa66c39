#include "load_results.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace satsuma::client {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::uint64_t memory_kb(const std::string& pid) {
  std::uint64_t size = 0, resident = 0;
  std::ifstream("/proc/" + pid + "/statm") >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;
}

double process_seconds(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const std::size_t name_ends = text.rfind(')');
  if (name_ends == std::string::npos) return 0;
  unsigned long user = 0, system = 0;
  if (std::sscanf(text.c_str() + name_ends + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

bool report(const LoadOptions& options, const Results& r, const Measured& measured, bool interrupted, const std::string& peer) {
  const double seconds = measured.seconds;
  const auto since = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
  const Totals& t = r.totals;
  const std::uint64_t packets = since(t.packets_received, r.before.packets_received), lost = since(t.packets_lost, r.before.packets_lost);
  const double cpu = cpu_seconds() - measured.cpu_before;
  const unsigned all = options.participants * options.rooms;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto clock = [](TimePoint at) { return static_cast<double>(at.time_since_epoch().count()) / 1e6; };
  const auto percentiles = [](const Percentiles& p) -> nlohmann::json {
    return {{"p50", p.at(0.5)}, {"p95", p.at(0.95)}, {"p99", p.at(0.99)}, {"max", p.highest()}, {"count", p.count()}};
  };
  nlohmann::json j;
  if (!peer.empty()) j["peer"] = peer;
  j["participants"] = all;
  j["rooms"] = options.rooms;
  j["publishers"] = options.publishers * options.rooms;
  j["threads"] = options.threads;
  j["in"] = r.in;
  j["receive_all_at_end"] = r.hears_all;
  j["all_in_seconds"] = measured.ready_after;
  j["join_ms"] = percentiles(r.entered);
  j["join_to_all_frames_ms"] = percentiles(r.all_seen);
  j["newcomer_join_ms"] = percentiles(r.newcomer_entered);
  j["newcomer_to_all_frames_ms"] = percentiles(r.newcomer_all_seen);
  // By the machine's clock, so that several generators' can be compared.
  j["clock"] = {{"first_began", clock(r.first_began)}, {"last_began", clock(r.last_began)}, {"last_saw_everybody", clock(r.last_saw_everybody)}, {"last_saw_all_frames", clock(r.last_all_seen)}};
  j["epoch_with_everybody"] = r.whole_epoch;
  j["cpu_seconds_until_ready"] = seconds > 0 ? measured.cpu_before : cpu;
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
  for (const Memory& at : measured.memory) {
    j["memory"].push_back({{"seconds", at.seconds}, {"generator_kb", at.own_kb}});
    if (options.server_pid != 0) j["memory"].back()["server_kb"] = at.server_kb;
  }
  if (options.server_pid != 0) j["server_cpu_seconds"] = measured.server_cpu;
  j["problems"] = r.problems;
  if (interrupted) j["interrupted"] = true;
  const bool good = !r.failed && t.undecryptable == 0 && t.refused == 0 && r.in > 0 && seconds > 0;
  j["good"] = good;
  if (options.json) {
    std::printf("%s\n", j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return good;
  }
  if (r.in == 0 && seconds == 0) return false; // there is nothing to tell but the problems, which were told
  const auto number = [&j](const char* name) { return static_cast<unsigned long long>(j[name].get<std::uint64_t>()); };
  std::printf("join: p50 %.0f ms, p95 %.0f ms, most %.0f ms; to the first frame of every publisher: p50 %.0f ms, most %.0f ms (%llu participants)\n", r.entered.at(0.5), r.entered.at(0.95),
              r.entered.highest(), r.all_seen.at(0.5), r.all_seen.highest(), static_cast<unsigned long long>(r.all_seen.count()));
  if (seconds == 0) {
    std::printf("%u of %u came in, and nothing was measured\n", r.in, all);
    return false;
  }
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
  if (peer.empty()) std::printf("epochs: %llu; rejoined: %llu; ", static_cast<unsigned long long>(r.epochs), static_cast<unsigned long long>(r.rejoins));
  std::printf("media connections lost: %llu; ended: %llu; at the end %u of %u are in, and %u have lately had frames of every publisher\n", static_cast<unsigned long long>(r.media_lost),
              static_cast<unsigned long long>(r.ended), r.in, all, r.hears_all);
  std::printf("this generator: %.2f s of CPU in %.1f s, %ld MB at most; frames not made in time: %llu\n", cpu, seconds, usage.ru_maxrss / 1024, static_cast<unsigned long long>(r.behind));
  if (options.server_pid != 0 && !measured.memory.empty())
    std::printf("the server: %.2f s of CPU; memory %.1f MB when all were in, %.1f MB at the end\n", measured.server_cpu, static_cast<double>(measured.memory.front().server_kb) / 1024,
                static_cast<double>(measured.memory.back().server_kb) / 1024);
  return good;
}

} // namespace satsuma::client
