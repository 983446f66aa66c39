// The native client as people start it, against the server as they start it.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "crypto/kem.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/udp_socket.h"
#include "process.h"

namespace satsuma {
namespace {

using nlohmann::json;
using test::Process;
using namespace std::chrono_literals;

class NativeClientTest : public testing::Test {
 protected:
  NativeClientTest() {
    char name[] = "/tmp/satsuma-client-XXXXXX";
    folder_ = mkdtemp(name);
    std::filesystem::create_directories(folder_ + "/web");
    std::ofstream(folder_ + "/web/index.html") << "<!doctype html>";
    // A media port that is known, for the relay and the flood: one that is free at this moment.
    media_port_ = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0))->local().port;
    server_ = std::make_unique<Process>(folder_, SATSUMAD,
                                        std::vector<std::string>{"--media-port", std::to_string(media_port_), "--public-address", "127.0.0.1", "--data", folder_ + "/data", "--web", folder_ + "/web",
                                                                 "--listen", "127.0.0.1:0", "--store", "memory"});
    for (int i = 0; i < 1500; ++i) {
      const std::string out = server_->out();
      if (const std::size_t at = out.find("Satsuma is ready: "); at != std::string::npos && out.find('\n', at) != std::string::npos) {
        link_ = out.substr(at + 18, out.find('\n', at) - at - 18) + "r/orchard#AAECAwQFBgcICQoLDA0ODw";
        break;
      }
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_FALSE(link_.empty()) << server_->error();
  }
  ~NativeClientTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  /// A process has its files in a folder of its own.
  std::unique_ptr<Process> start(std::vector<std::string> arguments) {
    const std::string place = folder_ + "/" + std::to_string(++started_);
    std::filesystem::create_directories(place);
    return std::make_unique<Process>(place, SATSUMA, std::move(arguments));
  }

  /// Where a relay listens, once it says so.
  static std::string port_of(Process& relay) {
    for (int i = 0; i < 500; ++i) {
      const std::string out = relay.out();
      std::smatch match;
      if (std::regex_search(out, match, std::regex("port ([0-9]+) to"))) return match[1];
      std::this_thread::sleep_for(10ms);
    }
    return {};
  }

  std::string folder_, link_;
  std::uint16_t media_port_ = 0;
  std::unique_ptr<Process> server_;
  int started_ = 0;
};

TEST_F(NativeClientTest, ASuiteThatItsOpensslLacksIsNamed) {
  if (crypto::kem_available(crypto::KemAlgorithm::mlkem768_x25519)) GTEST_SKIP() << "this OpenSSL has ML-KEM";
  auto ada = start({"join", link_ + ".pq", "--seconds", "1"});
  EXPECT_NE(ada->wait(60s), 0);
  EXPECT_NE((ada->out() + ada->error()).find("ML-KEM, which the OpenSSL of this machine does not have"), std::string::npos) << ada->error();
}

TEST_F(NativeClientTest, TwoInARoomSeeTheSameNumberAndDecodeAndRecordEachOther) {
  auto ada = start({"join", link_, "--publish", "test-pattern", "--name", "Ada", "--seconds", "7"});
  auto bob = start({"join", link_, "--publish", "test-pattern", "--name", "Bob", "--json", "--decode", "--seconds", "6", "--record", folder_ + "/records"});
  ASSERT_EQ(bob->wait(60s), 0) << bob->error();
  ASSERT_EQ(ada->wait(60s), 0) << ada->error();
  // Every five seconds what goes and what comes, and of whom.
  EXPECT_TRUE(std::regex_search(ada->out(), std::regex("2 people; down [0-9]+ kbit/s.*, up [0-9]+ kbit/s.*[0-9]+ frames read"))) << ada->out();
  EXPECT_TRUE(std::regex_search(ada->out(), std::regex("Bob: microphone [0-9]+ kbit/s; camera [0-9]+ x [0-9]+, [0-9]+ a second"))) << ada->out();
  EXPECT_NE(ada->out().find("we send: the camera in "), std::string::npos) << ada->out();
  const json result = json::parse(bob->out());
  EXPECT_EQ(result["undecryptable"], 0);
  EXPECT_EQ(result["refused"], 0);
  ASSERT_EQ(result["layers_sent"].size(), 3U);
  EXPECT_GT(result["layers_sent"][0].get<int>() + result["layers_sent"][1].get<int>() + result["layers_sent"][2].get<int>(), 20);
  ASSERT_EQ(result["streams"].size(), 2U);
  for (const json& stream : result["streams"]) {
    EXPECT_EQ(stream["name"], "Ada");
    EXPECT_GT(stream["decoded"], 20);
    EXPECT_EQ(stream["undecodable"], 0);
    if (stream["source"] == "camera") {
      // Which of the three sizes comes, the path decides.
      EXPECT_TRUE(stream["width"] == 160 || stream["width"] == 320 || stream["width"] == 640) << stream;
      EXPECT_GT(stream["brightness"], 60);
    } else {
      EXPECT_GT(stream["loudness"], 0.01);
    }
  }
  // What was recorded can be published again, and is received as what it was.
  std::string camera, microphone;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/records")) (entry.path().extension() == ".ivf" ? camera : microphone) = entry.path();
  auto again = start({"join", link_, "--publish", camera, microphone, "--name", "Echo", "--json", "--seconds", "6"});
  auto eve = start({"join", link_, "--name", "Eve", "--json", "--decode", "--seconds", "5"});
  ASSERT_EQ(eve->wait(60s), 0) << eve->error();
  ASSERT_EQ(again->wait(60s), 0) << again->error();
  const json second = json::parse(eve->out());
  ASSERT_EQ(second["streams"].size(), 2U) << eve->out();
  for (const json& stream : second["streams"]) {
    EXPECT_GT(stream["decoded"], 10);
    EXPECT_EQ(stream["undecodable"], 0);
  }
}

TEST_F(NativeClientTest, WhatComesThroughAPipeIsWrittenToTheOthersIfThatIsAskedFor) {
  const auto bob = start({"join", link_, "--name", "Bob"});
  const auto reads = [&](const char* line) {
    for (int i = 0; i < 300 && bob->out().find(line) == std::string::npos; ++i) std::this_thread::sleep_for(100ms);
    return bob->out().find(line) != std::string::npos;
  };
  ASSERT_TRUE(reads("in the room: Bob"));
  const auto piped = [&](const std::string& name, const std::string& more) {
    std::filesystem::create_directories(folder_ + "/" + name);
    return Process(folder_ + "/" + name, "/bin/sh", {"-c", "printf 'a line of " + name + "\\nand its last' | '" SATSUMA "' join '" + link_ + "' --quiet --seconds 2 --name " + name + more}).wait(60s);
  };
  EXPECT_EQ(piped("Eve", ""), 0);
  EXPECT_EQ(piped("Ada", " --write"), 0);
  EXPECT_TRUE(reads("<Ada> a line of Ada"));
  EXPECT_TRUE(reads("<Ada> and its last"));
  EXPECT_EQ(bob->out().find("<Eve>"), std::string::npos) << "a script's input is nobody's message";
}

TEST_F(NativeClientTest, WhereUdpIsDroppedMediaComesOverTcp) {
  auto relay = start({"relay", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:" + std::to_string(media_port_), "--tcp", "loss=100%"});
  const std::string port = port_of(*relay);
  ASSERT_FALSE(port.empty()) << relay->error();
  auto ada = start({"join", link_, "--publish", "test-pattern", "--name", "Ada", "--json", "--seconds", "7", "--media-via", "127.0.0.1:" + port});
  auto udp = start({"join", link_, "--name", "Udp", "--json", "--seconds", "6", "--media-via", "127.0.0.1:" + port, "--transport", "udp"});
  auto bob = start({"join", link_, "--name", "Bob", "--json", "--decode", "--seconds", "6", "--transport", "tcp"});
  ASSERT_EQ(bob->wait(60s), 0) << bob->error();
  ASSERT_EQ(udp->wait(60s), 0) << udp->error();
  ASSERT_EQ(ada->wait(60s), 0) << ada->error();
  EXPECT_EQ(json::parse(ada->out())["transport"], "tcp");
  const json result = json::parse(bob->out());
  std::printf("UDP blocked: the first frame %.0f ms after the start (aim: 5000)\n", result.value("first_frame_ms", 0.0));
  EXPECT_EQ(result["transport"], "tcp");
  ASSERT_EQ(result["streams"].size(), 2U) << bob->out();
  for (const json& stream : result["streams"]) {
    EXPECT_GT(stream["decoded"], 20);
    EXPECT_EQ(stream["undecodable"], 0);
  }
  EXPECT_TRUE(json::parse(udp->out())["streams"].empty()); // otherwise this shows nothing
}

TEST_F(NativeClientTest, OfMorePeopleThanNTheSpeakersCameraIsSeenWithLevelsAndWithLevelsHidden) {
  // Whether Dora was seen, and last. On a busy machine who should see her may come too late: then it is tried once more, and everything takes longer.
  const auto sees_dora = [&](int times) {
    const auto seconds = [times](int n) { return std::to_string(n * times); };
    std::vector<std::unique_ptr<Process>> people;
    // The first three are silent; Dora, who comes last, speaks from the seventh second of hers on.
    for (const char* name : {"Ada", "Bob", "Carl"})
      people.push_back(start({"join", link_, "--publish", "test-pattern", "--name", name, "--tell-levels", "--voice-to", "0", "--seconds", seconds(16), "--quiet"}));
    std::this_thread::sleep_for(1s);
    people.push_back(start({"join", link_, "--publish", "test-pattern", "--name", "Dora", "--tell-levels", "--voice-from", seconds(7), "--seconds", seconds(15), "--quiet"}));
    std::this_thread::sleep_for(1s);
    std::vector<std::unique_ptr<Process>> viewers;
    for (const char* speakers : {"server", "ears"})
      viewers.push_back(start({"join", link_, "--name", speakers, "--json", "--last-n", "1", "--speakers", speakers, "--seconds", seconds(12)}));
    bool seen = true;
    for (auto& viewer : viewers) {
      EXPECT_EQ(viewer->wait(std::chrono::seconds(60 * times)), 0) << viewer->error();
      const json result = json::parse(viewer->out());
      std::map<std::string, double> last;
      for (const json& stream : result["streams"])
        if (stream["source"] == "camera") last[stream["name"]] = stream["last_ms"];
      seen = seen && last.contains("Dora") && std::ranges::all_of(last, [&](const auto& one) { return one.first == "Dora" || one.second + 1500 < last["Dora"]; });
      // Sound is everybody's: nobody has to be seen to be heard.
      EXPECT_EQ(std::ranges::count_if(result["streams"], [](const json& stream) { return stream["source"] == "microphone"; }), 4) << viewer->out();
      if (!seen) std::printf("seen: %s\n", viewer->out().c_str());
    }
    return seen;
  };
  EXPECT_TRUE(sees_dora(1) || sees_dora(3));
}

TEST_F(NativeClientTest, ThroughALossyRelayNothingIsUndecryptable) {
  auto relay = start({"relay", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:" + std::to_string(media_port_), "--seed", "5", "loss=5%", "delay=10ms", "jitter=3ms", "--at", "2s", "loss=10%"});
  const std::string port = port_of(*relay);
  ASSERT_FALSE(port.empty()) << relay->error();
  auto load = start({"load", link_, "--participants", "4", "--publishers", "2", "--seconds", "4", "--json", "--media-via", "127.0.0.1:" + port});
  EXPECT_EQ(load->wait(60s), 0) << load->out() << load->error();
  const json result = json::parse(load->out());
  EXPECT_EQ(result["undecryptable"], 0);
  EXPECT_GT(result["packets_lost"], 0);
  EXPECT_GT(result["retransmissions"], 0);
  EXPECT_GT(result["frames_decrypted"], 200);
}

TEST_F(NativeClientTest, TwelveInTwoRoomsAndTwoThreadsAllDecryptAllWhileOthersComeAndGo) {
  auto load = start({"load", link_, "--participants", "6", "--rooms", "2", "--publishers", "2", "--layers", "3", "--seconds", "5", "--churn", "2", "--threads", "2", "--server-pid", std::to_string(server_->pid()), "--json"});
  EXPECT_EQ(load->wait(60s), 0) << load->out() << load->error();
  const json result = json::parse(load->out());
  EXPECT_EQ(result["threads"], 2);
  EXPECT_GE(result["in"], 10) << "one may be on its way out and another on its way in, in each room";
  EXPECT_GE(result["receive_all_at_end"], 8) << result;
  EXPECT_EQ(result["undecryptable"], 0);
  EXPECT_EQ(result["refused"], 0);
  EXPECT_GE(result["churned"], 4);
  EXPECT_GE(result["newcomer_join_ms"]["count"], 2);
  EXPECT_GT(result["frames_decrypted"], 500);
  // When all were in, and at the end.
  ASSERT_EQ(result["memory"].size(), 2U);
  EXPECT_GT(result["memory"][0]["server_kb"], 1000);
  EXPECT_GT(result["memory"][1]["generator_kb"], 1000);
  EXPECT_GT(result["server_cpu_seconds"], 0.0);
}

// What of it reaches the server the kernel decides; the call is what counts.
TEST_F(NativeClientTest, AFloodOfStrangersLeavesTheCallAlive) {
  auto load = start({"load", link_, "--participants", "4", "--publishers", "2", "--seconds", "5", "--json", "--ready-file", folder_ + "/ready"});
  for (int i = 0; i < 6000 && !std::filesystem::exists(folder_ + "/ready"); ++i) std::this_thread::sleep_for(10ms);
  ASSERT_TRUE(std::filesystem::exists(folder_ + "/ready")) << load->error();
  io::SystemRandom random;
  std::vector<io::UdpSocket> sockets;
  for (int i = 0; i < 8; ++i) sockets.push_back(std::move(*io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0))));
  Bytes noise(300 * 64);
  random.fill(noise);
  const auto target = TransportAddress::v4({127, 0, 0, 1}, media_port_);
  std::vector<io::Datagram> datagrams;
  for (std::size_t i = 0; i < 64; ++i) {
    // STUN with its cookie, DTLS, RTP, RTCP.
    constexpr std::array<std::array<std::uint8_t, 8>, 4> heads{{{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, {22, 0xfe, 0xfd, 0, 0, 0, 0, 0}, {0x80, 96, 1, 2, 3, 4, 5, 6}, {0x81, 201, 0, 7, 1, 2, 3, 4}}};
    std::uint8_t* const at = noise.data() + 300 * i;
    std::copy(heads[i % 4].begin(), heads[i % 4].end(), at);
    datagrams.push_back({target, ByteView(at, i % 4 == 0 ? 28U : 300U)});
  }
  std::uint64_t sent = 0;
  const TimePoint begin = io::monotonic_now();
  constexpr double rate = 100'000;
  while (io::monotonic_now() - begin < Duration(3s)) {
    const double due = rate * std::chrono::duration<double>(io::monotonic_now() - begin).count();
    if (static_cast<double>(sent) > due) {
      std::this_thread::sleep_for(200us);
      continue;
    }
    sent += sockets[sent / 64 % sockets.size()].send(datagrams).datagrams;
  }
  const double per_second = static_cast<double>(sent) / std::chrono::duration<double>(io::monotonic_now() - begin).count();
  EXPECT_EQ(load->wait(60s), 0) << load->out() << load->error();
  const json result = json::parse(load->out());
  std::printf("%.0f datagrams of strangers a second; of the call %d frames missed, %d media connections lost\n", per_second, result["frames_missing"].get<int>(), result["media_lost"].get<int>());
  RecordProperty("datagrams_per_second", static_cast<int>(per_second));
  EXPECT_EQ(result["media_lost"], 0);
  EXPECT_EQ(result["undecryptable"], 0);
  EXPECT_EQ(result["ended"], 0);
  EXPECT_GT(result["frames_decrypted"], 200);
}

TEST_F(NativeClientTest, MistakesGetASentence) {
  const auto problem = [this](std::vector<std::string> arguments) {
    auto process = start(std::move(arguments));
    EXPECT_EQ(process->wait(60s), 2);
    return process->error();
  };
  EXPECT_NE(problem({"join", "https://h/r/a"}).find("#"), std::string::npos);
  EXPECT_NE(problem({"join", link_, "--publish", "/nonexistent.ivf"}).find("/nonexistent.ivf"), std::string::npos);
  std::ofstream(folder_ + "/text.ivf") << "no media";
  EXPECT_NE(problem({"join", link_, "--publish", folder_ + "/text.ivf"}).find("neither IVF"), std::string::npos);
  EXPECT_NE(problem({"relay", "--listen", "nowhere", "--to", "127.0.0.1:1"}).find("ADDRESS:PORT"), std::string::npos);
  EXPECT_NE(problem({"relay", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "lose=5%"}).find("lose=5%"), std::string::npos);
  EXPECT_NE(problem({"load", link_, "--participants", "2", "--publishers", "3"}).find("more publishers"), std::string::npos);
  EXPECT_NE(problem({"load", link_, "--participants", "2", "--threads", "3"}).find("more threads"), std::string::npos);
  EXPECT_NE(problem({"load", link_, "--server-pid", "4294967295"}).find("--server-pid"), std::string::npos);
  EXPECT_NE(problem({"join"}).find("looks like"), std::string::npos);
  EXPECT_NE(problem({"join", link_, "--publish", "test-pattern", "test-pattern"}).find("one camera"), std::string::npos);
  EXPECT_NE(problem({"join", link_, "--transport", "tls"}).find("--transport tls"), std::string::npos);
  EXPECT_NE(problem({"join", link_, "--pin", "AB"}).find("--pin"), std::string::npos);
  EXPECT_NE(problem({"join", link_, "--seconds", "-1"}).find("--seconds"), std::string::npos);
  EXPECT_NE(problem({"link", "meet.example.org"}).find("https://meet.example.org"), std::string::npos);
  EXPECT_NE(problem({"load"}).find("--janus"), std::string::npos);
  EXPECT_NE(problem({"load", link_, "--janus", "http://127.0.0.1:8088/janus"}).find("or --janus"), std::string::npos);
  EXPECT_NE(problem({"load", link_, "--room", "5"}).find("go with --janus"), std::string::npos);
  EXPECT_NE(problem({"load", "--janus", "127.0.0.1:8088/janus"}).find("http://127.0.0.1:8088/janus"), std::string::npos);
  EXPECT_NE(problem({"load", "--janus", "http://127.0.0.1:8088/janus", "--room", "a b"}).find("--room"), std::string::npos);
  EXPECT_NE(problem({"load", "--janus", "http://127.0.0.1:8088/janus", "--churn", "1"}).find("--churn"), std::string::npos);
  EXPECT_NE(problem({"load", "--janus", "http://127.0.0.1:8088/janus", "--publishers", "0"}).find("--publishers 1"), std::string::npos);
}

TEST_F(NativeClientTest, WhereNoServerAnswersThatIsSaidOnceAndTheExitCodeTells) {
  const std::string nowhere = "http://127.0.0.1:1/r/tea#AAAAAAAAAAAAAAAAAAAAAA";
  auto join = start({"join", nowhere, "--seconds", "2"});
  auto load = start({"load", nowhere, "--participants", "2", "--publishers", "1", "--ready-timeout", "1"});
  EXPECT_EQ(join->wait(60s), 1);
  EXPECT_EQ(join->error(), "satsuma join: The server cannot be reached: nothing answers at 127.0.0.1:1. Trying again.\n");
  EXPECT_EQ(load->wait(60s), 1);
  EXPECT_NE(load->error().find("Nobody came in within the time"), std::string::npos) << load->error();
  EXPECT_EQ(load->out(), "") << "there is nothing to measure";
}

TEST_F(NativeClientTest, WhereNoJanusAnswersLoadSaysSoAndWhatToDo) {
  const auto problem = [this](const std::string& url) {
    auto process = start({"load", "--janus", url});
    EXPECT_EQ(process->wait(60s), 1);
    return process->error();
  };
  EXPECT_NE(problem("http://127.0.0.1:1/janus").find("Nothing answers at http://127.0.0.1:1. Does Janus run"), std::string::npos);
  const std::string ours = link_.substr(0, link_.find("/r/"));
  EXPECT_NE(problem(ours + "/janus").find("not Janus' HTTP interface"), std::string::npos);
}

} // namespace
} // namespace satsuma
