// One room on two media threads: the server as people start it, under load by native participants who decrypt everything.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "process.h"
#include "socket_client.h"

namespace satsuma {
namespace {

using test::Process;
using namespace std::chrono_literals;

TEST(TwoMediaThreads, ShareARoomWhosePeopleAllDecryptAllWhileOthersComeAndGo) {
  char name[] = "/tmp/satsuma-shards-XXXXXX";
  const std::string folder = mkdtemp(name);
  for (const char* part : {"/web", "/server", "/load"}) std::filesystem::create_directories(folder + part);
  std::ofstream(folder + "/web/index.html") << "<!doctype html>";
  Process server(folder + "/server", SATSUMAD,
                 {"--media-port", "0", "--public-address", "127.0.0.1", "--data", folder + "/data", "--web", folder + "/web", "--listen", "127.0.0.1:0", "--store", "memory",
                  "--media-threads", "2", "--media-room-people", "4"});
  std::smatch ready;
  std::string out;
  for (int i = 0; i < 1500 && !std::regex_search(out, ready, std::regex("(http://127.0.0.1:([0-9]+)/)\n")); ++i) {
    std::this_thread::sleep_for(10ms);
    out = server.out();
  }
  ASSERT_FALSE(ready.empty()) << server.error();
  const auto port = static_cast<std::uint16_t>(std::stoi(ready[2]));
  Process load(folder + "/load", SATSUMA,
               {"load", std::string(ready[1]) + "r/orchard#AAECAwQFBgcICQoLDA0ODw", "--participants", "10", "--publishers", "6", "--seconds", "4", "--churn", "1", "--json"});
  EXPECT_EQ(load.wait(60s), 0) << load.out() << load.error();
  const auto result = nlohmann::json::parse(load.out());
  EXPECT_EQ(result["undecryptable"], 0);
  EXPECT_EQ(result["refused"], 0);
  EXPECT_GT(result["frames_decrypted"], 500);
  const auto metrics = test::SocketClient(port).get("/metrics");
  ASSERT_TRUE(metrics);
  for (const char* counter : {"packets_forwarded", "relayed_in", "relayed_out"})
    for (const char* shard : {"0", "1"}) {
      std::smatch value;
      const std::string metric = "satsuma_media_shard_" + std::string(counter) + "_total\\{shard=\"" + shard + "\"\\} ([0-9]+)";
      ASSERT_TRUE(std::regex_search(metrics->body, value, std::regex(metric))) << metric;
      EXPECT_GT(std::stoll(value[1]), 100) << metric;
    }
  std::filesystem::remove_all(folder);
}

} // namespace
} // namespace satsuma
