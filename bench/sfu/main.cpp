#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench.h"

int main(int argc, char** argv) {
  using namespace satsuma::bench;
  CLI::App app{"parts of scripts/bench sfu"};
  app.require_subcommand(1);
  Shape shape;
  unsigned port = 8088;
  CLI::App* const janus_command = app.add_subcommand("janus", "publish to and subscribe from a Janus VideoRoom");
  CLI::App* const raw_command = app.add_subcommand("raw", "AES-GCM and UDP_SEGMENT, and no logic");
  for (CLI::App* const command : {janus_command, raw_command}) {
    command->add_option("--participants", shape.participants);
    command->add_option("--publishers", shape.publishers);
    command->add_flag("--audio", shape.audio);
    command->add_option("--packet-bytes", shape.packet_bytes);
    command->add_option("--packets-per-second", shape.packets_per_second);
    command->add_option("--packets-per-frame", shape.packets_per_frame);
    command->add_option("--seconds", shape.seconds);
    command->add_option("--ready-file", shape.ready_file);
  }
  std::string address = "127.0.0.1";
  janus_command->add_option("--port", port);
  janus_command->add_option("--address", address);
  CLI11_PARSE(app, argc, argv);
  try {
    return *janus_command ? janus(shape, port, address) : raw(shape);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "sfu_bench: %s\n", problem.what());
    return 1;
  }
}
