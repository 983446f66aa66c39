// satsuma: a participant without a browser, a load generator, and a bad network.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "commands.h"
#include "io/random.h"
#include "room_link.h"
#include "version.h"

namespace satsuma::client {
namespace {

void connect_options(CLI::App& app, ConnectOptions& options) {
  app.add_option("link", options.link, "the room's link, whole, in quotes: https://HOST/r/ROOM#SECRET");
  app.add_option("--pin", options.pin, "trust the server by its certificate's SHA-256 fingerprint, as it prints it for one that it made itself");
  app.add_flag("--insecure", options.insecure, "trust whoever answers. The server is not trusted with keys anyway, but it, or somebody between, learns who is there");
  app.add_option("--media-via", options.media_via, "ADDRESS:PORT to send media to in place of the server's own: a relay");
  app.add_option("--transport", options.transport, "of media: udp, tcp, tls, or auto, which is UDP, where nothing comes back from it TCP, and where only TLS passes TURN inside that")
      ->transform(CLI::CheckedTransformer(std::map<std::string, participant::MediaTransport>{{"auto", participant::MediaTransport::automatic},
                                                                                             {"udp", participant::MediaTransport::udp},
                                                                                             {"tcp", participant::MediaTransport::tcp},
                                                                                             {"tls", participant::MediaTransport::tls}})
                      .description("auto|udp|tcp|tls"))
      ->default_str(options.transport == participant::MediaTransport::udp ? "udp" : "auto");
}

constexpr double most_seconds = 366 * 86400.0;

int run(int argc, char** argv) {
  CLI::App app{"satsuma is a participant of encrypted meetings without a browser, with tools to try a server: load, and a bad network.", "satsuma"};
  app.set_version_flag("--version", std::string("satsuma ") + server::version);
  app.require_subcommand(1);

  JoinOptions join_options;
  CLI::App* const join_command = app.add_subcommand("join", "enter a room; a line that you type is written to the others; Ctrl-C leaves");
  connect_options(*join_command, join_options.connect);
  join_command->add_option("--publish", join_options.publish, "test-pattern (a moving picture and a tone), or a file: IVF with VP8, Ogg with Opus; may be given twice")->expected(1, 2);
  join_command->add_option("--record", join_options.record, "a folder for what is received, decrypted: a file for each participant and source");
  join_command->add_option("--name", join_options.name, "as the others see it")->capture_default_str();
  join_command->add_option("--seconds", join_options.seconds, "leave after so long")->check(CLI::Range(0.0, most_seconds));
  join_command->add_option("--start-after", join_options.start_after, "wait so many seconds first")->check(CLI::Range(0.0, 3600.0));
  join_command->add_flag("--tell-levels", join_options.tell_levels, "let the server, and who listens on the network, know how loud the microphone is: for meetings with more people than a screen holds");
  join_command->add_option("--last-n", join_options.last_n, "receive so many cameras: of those who spoke last; 0: all")->check(CLI::Range(0, 64))->capture_default_str();
  join_command->add_option("--speakers", join_options.speakers_by_server, "with --last-n: ears, those whom this client hears; server, those who tell the server (see --tell-levels)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, bool>{{"ears", false}, {"server", true}}).description("ears|server"))
      ->default_str("ears");
  join_command->add_option("--voice-from", join_options.voice_from, "the test pattern's tone is silent before so many seconds")->check(CLI::Range(0.0, most_seconds));
  join_command->add_option("--voice-to", join_options.voice_to, "... and from then on")->check(CLI::Range(0.0, most_seconds));
  join_command->add_flag("--fixed-rate", join_options.fixed_rate, "send at the same rate whatever the way to the server carries; else the test pattern's sizes and rates follow it, and films leave at its pace");
  join_command->add_flag("--write", join_options.write, "write to the others what comes on standard input, line by line, also if it is no terminal");
  join_command->add_flag("--decode", join_options.decode, "decode what is received, to know that it is pictures and sound");
  join_command->add_flag("--json", join_options.json, "at the end a summary as JSON, and nothing else");
  join_command->add_flag("--quiet", join_options.quiet, "say nothing but errors");

  LoadOptions load_options;
  CLI::App* const load_command = app.add_subcommand("load", "many participants from canned frames, in one process; what came of them as text or JSON");
  load_options.connect.transport = participant::MediaTransport::udp;
  connect_options(*load_command, load_options.connect);
  load_command->add_option("--janus", load_options.janus, "in place of a link: Janus' HTTP interface, http://HOST:8088/janus, whose VideoRoom gets the same load, without SFrame");
  load_command->add_option("--room", load_options.room, "with --janus: a room's number or name. If it is not there it is made, and ends with the measuring; without this option a new one is");
  load_command->add_option("--janus-admin-key", load_options.janus_admin_key, "with --janus: for making the room, where Janus wants a key for that");
  load_command->add_option("--participants", load_options.participants, "in each room, publishers included")->check(CLI::Range(1, 4000))->capture_default_str();
  load_command->add_option("--publishers", load_options.publishers, "of them, those who send")->check(CLI::Range(0, 4000))->capture_default_str();
  load_command->add_option("--rooms", load_options.rooms, "rooms; beyond one the link's name gets a number")->check(CLI::Range(1, 1000))->capture_default_str();
  load_command->add_option("--join-rate", load_options.join_rate, "joins a second")->check(CLI::Range(0.1, 10000.0))->capture_default_str();
  load_command->add_option("--seconds", load_options.seconds, "how long to measure once all are in")->check(CLI::Range(0.1, 86400.0))->capture_default_str();
  load_command->add_option("--video-kbps", load_options.video_kbps, "of each publisher's video")->check(CLI::Range(1, 50000))->capture_default_str();
  load_command->add_option("--video-fps", load_options.video_fps, "its frames a second")->check(CLI::Range(1, 1000))->capture_default_str();
  load_command->add_option("--layers", load_options.layers, "sizes that each publisher sends at once, each of a third of the next one's rate; those that nobody can use are not sent")->check(CLI::Range(1, 3))->capture_default_str();
  load_command->add_flag("--adapt", load_options.adapt, "video follows what the way to the server carries, with --video-kbps for its most; else rates are fixed");
  load_command->add_option("--packet-bytes", load_options.packet_bytes, "every video frame is one packet of so many bytes")->check(CLI::Range(100, 1400));
  load_command->add_option("--packets-per-second", load_options.packets_per_second, "with --packet-bytes")->check(CLI::Range(0.1, 100000.0));
  load_command->add_option("--packets-per-frame", load_options.packets_per_frame, "... so many at a time")->check(CLI::Range(1, 100))->capture_default_str();
  bool no_audio = false, no_video = false;
  load_command->add_flag("--no-audio", no_audio, "publishers send no sound");
  load_command->add_flag("--no-video", no_video, "publishers send no video");
  load_command->add_flag("--muted", load_options.muted, "publishers are connected for sending, with microphone and camera off");
  load_command->add_option("--decrypt-every", load_options.decrypt_every, "only each n-th participant decrypts frames, the others count packets: when the generator is the bottleneck")->check(CLI::Range(1, 100000))->capture_default_str();
  load_command->add_option("--churn", load_options.churn, "participants that leave and are replaced, a second; nobody leaves in the last ten seconds")->check(CLI::Range(0.0, 100.0));
  load_command->add_option("--threads", load_options.threads, "so many share the participants")->check(CLI::Range(1, 64))->capture_default_str();
  load_command->add_option("--server-pid", load_options.server_pid, "the server's process on this machine: its memory, when all are in, each minute and at the end, and its processor time are told too");
  load_command->add_option("--others", load_options.others, "participants of another generator in the same room, whom to wait for too")->check(CLI::Range(0, 4000));
  load_command->add_option("--other-publishers", load_options.other_publishers, "of them, those who send")->check(CLI::Range(0, 4000));
  load_command->add_option("--ready-timeout", load_options.ready_timeout, "seconds until all must be in, beside the time to join")->check(CLI::Range(1.0, 3600.0))->capture_default_str();
  load_command->add_option("--ready-file", load_options.wait_file, "a file to make when all are in and measuring begins");
  load_command->add_flag("--json", load_options.json, "the result as JSON");

  RelayOptions relay_options;
  CLI::App* const relay_command = app.add_subcommand("relay", "a bad network between clients and a server, by seed");
  relay_command->add_option("--listen", relay_options.listen, "ADDRESS:PORT that clients send to")->required();
  relay_command->add_option("--to", relay_options.target, "ADDRESS:PORT of the server")->required();
  relay_command->add_option("--seed", relay_options.seed, "the same seed, the same fate of the n-th datagram")->capture_default_str();
  relay_command->add_flag("--tcp", relay_options.tcp, "pass TCP through as well, with delay, rate and outages");
  relay_command->add_option("--report", relay_options.report, "seconds between two lines of counters; 0: none")->check(CLI::Range(0.0, most_seconds))->capture_default_str();
  relay_command->add_option("network", relay_options.words,
                            "loss=5% burst=3 delay=40ms jitter=10ms reorder=1% duplicate=1% rate=2M queue=200ms outage=on; up. or down. before a name is for that direction "
                            "alone; a time, 10s, begins what holds from then on");
  std::vector<std::string> later;
  relay_command->add_option("--at", later, "TIME and what changes then: --at 10s rate=300k. As if it stood behind the network's words")->expected(1, -1)->allow_extra_args();

  std::string room_server = "http://127.0.0.1:8080", room_name = "demo";
  CLI::App* const link_command = app.add_subcommand("link", "print the link of a new room");
  link_command->add_option("server", room_server, "https://HOST[:PORT]")->capture_default_str();
  link_command->add_option("--room", room_name, "its name")->capture_default_str();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : 2; // 0: help or the version was asked for
  }
  if (*join_command) return join(join_options);
  if (*load_command) {
    load_options.audio = !no_audio;
    load_options.video = !no_video;
    return load(load_options);
  }
  if (*link_command) {
    if (const auto server = parse_url(room_server); !server) {
      std::fprintf(stderr, "satsuma link: \"%s\" is no server's address: %s. Example: https://meet.example.org\n", room_server.c_str(), server.error().c_str());
      return 2;
    }
    Bytes secret(16);
    io::SystemRandom().fill(secret);
    const std::string link = make_room_link(room_server, secret, room_name);
    if (const auto parsed = parse_room_link(link); !parsed) {
      std::fprintf(stderr, "satsuma link: %s\n", parsed.error().c_str());
      return 2;
    }
    std::printf("%s\n", link.c_str());
    return 0;
  }
  relay_options.words.insert(relay_options.words.end(), later.begin(), later.end());
  return relay(relay_options);
}

} // namespace
} // namespace satsuma::client

int main(int argc, char** argv) {
  try {
    return satsuma::client::run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "satsuma: %s\n", problem.what());
    return 1;
  }
}
