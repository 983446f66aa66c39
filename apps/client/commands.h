#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "participant/participant.h"

/// The program's commands; each returns the exit code. Options come checked for their form only.
namespace satsuma::client {

struct ConnectOptions {
  std::string link;
  bool insecure = false;
  std::string pin;
  std::string media_via; ///< ADDRESS:PORT, or empty
  participant::MediaTransport transport = participant::MediaTransport::automatic;
};

struct JoinOptions {
  ConnectOptions connect;
  std::vector<std::string> publish; ///< files, or "test-pattern"
  std::string record;
  std::string name = "satsuma";
  double seconds = 0;      ///< leave after so long; 0: on Ctrl-C
  double start_after = 0;
  bool tell_levels = false;      ///< the server may know when we speak
  unsigned last_n = 0;           ///< cameras wanted, of who spoke last; 0: all
  bool speakers_by_server = false; ///< whom the server takes for the speakers; else those whom we hear
  double voice_from = 0, voice_to = 1e9; ///< seconds between which the test pattern's tone is heard
  bool fixed_rate = false;       ///< what is sent does not follow what the path carries
  bool decode = false;
  bool write = false; ///< to the chat, also what comes through a pipe
  bool json = false;
  bool quiet = false;
};
int join(const JoinOptions& options);

struct LoadOptions {
  ConnectOptions connect;
  // In place of a link: another forwarding unit.
  std::string janus;             ///< the URL of its HTTP interface
  std::string room;              ///< of it; empty: one is made
  std::string janus_admin_key;
  unsigned participants = 10;
  unsigned publishers = 2;
  unsigned rooms = 1;
  double join_rate = 20;         ///< a second
  double seconds = 30;           ///< of measuring, once all are in
  unsigned video_kbps = 300;
  unsigned video_fps = 15;
  unsigned packet_bytes = 0;     ///< if set: every frame is one packet of so many bytes on the wire
  double packets_per_second = 0; ///< with packet_bytes
  unsigned packets_per_frame = 1; ///< ... so many of them at a time
  unsigned layers = 1;           ///< sizes of each publisher's video, the largest of video_kbps
  bool adapt = false;            ///< video follows what the path carries, and is video_kbps at most
  bool audio = true, video = true;
  bool muted = false;            ///< publishers are connected for sending, and send nothing
  unsigned decrypt_every = 1;    ///< every so many-th participant decrypts what it gets; the others count packets
  double churn = 0;              ///< participants that leave and are replaced, a second
  unsigned threads = 1;
  unsigned server_pid = 0;       ///< a process on this machine whose memory and processor time to watch
  double ready_timeout = 60;
  unsigned others = 0;           ///< in each room, of another generator; all are in when everybody sees these too
  unsigned other_publishers = 0; ///< of them, with the same sources as ours
  bool json = false;
  std::string wait_file;         ///< when all are in it is made, for whoever measures from outside
};
int load(const LoadOptions& options);

struct RelayOptions {
  std::string listen, target; ///< ADDRESS:PORT
  std::vector<std::string> words; ///< a schedule
  std::uint64_t seed = 1;
  bool tcp = false;
  double report = 5; ///< seconds; 0: none
};
int relay(const RelayOptions& options);

} // namespace satsuma::client
