#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench.h"

int main(int argc, char** argv) {
  using namespace satsuma::bench;
  CLI::App app{"the limit that scripts/bench sfu compares with: AES-GCM and UDP_SEGMENT, and no logic"};
  Shape shape;
  app.add_option("--participants", shape.participants);
  app.add_option("--publishers", shape.publishers);
  app.add_flag("--audio", shape.audio);
  app.add_option("--packet-bytes", shape.packet_bytes);
  app.add_option("--packets-per-second", shape.packets_per_second);
  app.add_option("--packets-per-frame", shape.packets_per_frame);
  app.add_option("--seconds", shape.seconds);
  CLI11_PARSE(app, argc, argv);
  try {
    return raw(shape);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "sfu_bench: %s\n", problem.what());
    return 1;
  }
}
