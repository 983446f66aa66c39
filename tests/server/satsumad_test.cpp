// The server as people start it: a process, its options, its WebSocket.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "io/random.h"
#include "mls/group/group.h"
#include "process.h"
#include "signaling/control_messages.h"
#include "signaling/delivery_messages.h"
#include "socket_client.h"

namespace satsuma {
namespace {

using test::Message;
using test::Process;
using test::SocketClient;
using namespace std::chrono_literals;

/// One incarnation with real MLS keys.
struct Person {
  explicit Person(std::uint8_t number) {
    const auto keys = mls::generate_signature_keys(mls::CipherSuite::x25519_chacha20poly1305_sha256_ed25519, random);
    mls::KeyPackageParams params;
    params.credential = mls::Credential::basic(as_bytes("secret name"));
    bundle = std::move(*mls::generate_key_package(params, *keys, random));
    resume_key.fill(number);
  }
  Bytes hello(const std::string& room, std::uint64_t cursor = 0) const {
    signaling::Hello hello;
    hello.room = room;
    hello.key_package = bundle.message();
    std::copy(resume_key.begin(), resume_key.end(), hello.resume_key.mutable_view().begin());
    hello.cursor = cursor;
    return signaling::write_client_message(std::move(hello));
  }
  Bytes genesis() {
    mls::GroupParams params;
    params.group_id = mls::GroupId{to_bytes(as_bytes("group"))};
    group.emplace(std::move(*mls::Group::create(params, bundle, random)));
    return signaling::write_client_message(signaling::Genesis{*group->group_info()});
  }

  io::SystemRandom random;
  mls::KeyPackageBundle bundle;
  std::array<std::uint8_t, 16> resume_key{};
  std::optional<mls::Group> group;
};

class SatsumadTest : public testing::Test {
 protected:
  SatsumadTest() {
    char name[] = "/tmp/satsumad-XXXXXX";
    folder_ = mkdtemp(name);
    std::filesystem::create_directories(folder_ + "/web");
    std::ofstream(folder_ + "/web/index.html") << "<!doctype html>";
  }
  ~SatsumadTest() override {
    process_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"--media-port", "0", "--public-address", "127.0.0.1", "--data", folder_ + "/data", "--web", folder_ + "/web"};
    if (std::ranges::find(more, "--listen") == more.end()) more.insert(more.end(), {"--listen", "127.0.0.1:" + std::to_string(port_)});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// Starts it and waits for the line with the link.
  void start(std::vector<std::string> more = {}) {
    process_ = std::make_unique<Process>(folder_, SATSUMAD, arguments(std::move(more)));
    for (int i = 0; i < 1500; ++i) {
      const std::string out = process_->out();
      if (const std::size_t at = out.find("Satsuma is ready: "); at != std::string::npos && out.find('\n', at) != std::string::npos) {
        link_ = out.substr(at + 18, out.find('\n', at) - at - 18);
        port_ = static_cast<std::uint16_t>(std::atoi(link_.substr(link_.rfind(':') + 1).c_str()));
        return;
      }
      std::this_thread::sleep_for(10ms);
    }
    FAIL() << process_->error();
  }
  /// Runs it to its end.
  int run(std::vector<std::string> all) {
    process_ = std::make_unique<Process>(folder_, SATSUMAD, std::move(all));
    return process_->wait();
  }
  static signaling::ServerMessage next(SocketClient& client) {
    const auto message = client.read_message();
    if (!message) throw std::runtime_error("nothing came");
    if (message->opcode != 2) throw std::runtime_error("not a binary frame: " + message->payload.substr(std::min<std::size_t>(2, message->payload.size())));
    auto parsed = signaling::parse_server_message(as_bytes(message->payload));
    if (!parsed) throw std::runtime_error("unreadable");
    return std::move(*parsed);
  }
  template <class T>
  static T next_as(SocketClient& client) {
    return std::get<T>(next(client));
  }

  std::string folder_;
  std::string link_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Process> process_;
};

TEST_F(SatsumadTest, HelpAndVersionAreOnStdoutAndEndWell) {
  EXPECT_EQ(run({"--help"}), 0);
  for (const char* option : {"--listen", "--public-address", "--media-port", "--data", "--web", "--tls-cert", "--tls-key", "--tls", "--store", "--log-level", "--grace-ms", "--config"})
    EXPECT_NE(process_->out().find(option), std::string::npos) << option;
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(process_->out().substr(0, 9), "satsumad ");
}

TEST_F(SatsumadTest, WrongOptionsAreExplained) {
  EXPECT_EQ(run({"--listne", "x"}), 2);
  EXPECT_EQ(run({"--listen", "example.org:80"}), 2);
  EXPECT_NE(process_->error().find("--listen"), std::string::npos);
  EXPECT_EQ(run({"--listen", "127.0.0.1:99999"}), 2);
  EXPECT_EQ(run({"--media-port", "70000"}), 2);
  EXPECT_NE(process_->error().find("65535"), std::string::npos) << process_->error();
  EXPECT_EQ(run({"--public-address", "meet.example.org"}), 2);
  std::vector<std::string> many;
  for (int i = 1; i <= 9; ++i) many.insert(many.end(), {"--public-address", "192.0.2." + std::to_string(i)});
  EXPECT_EQ(run(many), 2);
  EXPECT_NE(process_->error().find("--public-address"), std::string::npos);
  EXPECT_EQ(run({"--tls-cert", "/nonexistent"}), 2) << "without its key";
  EXPECT_EQ(run(arguments({"--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"})), 1);
  EXPECT_NE(process_->error().find("--tls-cert"), std::string::npos);
  EXPECT_EQ(run({"--web", "/nonexistent", "--data", folder_ + "/data", "--listen", "127.0.0.1:0"}), 1);
  EXPECT_NE(process_->error().find("--web"), std::string::npos);
}

TEST_F(SatsumadTest, APortInUseIsNamed) {
  start();
  Process second(folder_ + "/web", SATSUMAD, {"--listen", "127.0.0.1:" + std::to_string(port_), "--data", folder_ + "/other", "--media-port", "0"});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.error().find("127.0.0.1:" + std::to_string(port_) + " is in use"), std::string::npos) << second.error();
  EXPECT_NE(second.error().find("--listen"), std::string::npos);
}

TEST_F(SatsumadTest, AConfigurationFileIsReadAndTheCommandLineWins) {
  std::ofstream(folder_ + "/satsuma.toml") << "listen = \"127.0.0.2:0\"\nlog-level = \"debug\"\nmedia-port = 0\ngrace-ms = 1234\npublic-address = [\"127.0.0.1\"]\n";
  start({"--config", folder_ + "/satsuma.toml", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(link_.substr(0, 17), "http://127.0.0.1:");
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("room"));
  EXPECT_EQ(next_as<signaling::Ready>(client).grace_ms, 1234U);
  std::ofstream(folder_ + "/wrong.toml") << "lisen = 1\n";
  EXPECT_EQ(run({"--config", folder_ + "/wrong.toml"}), 2);
  EXPECT_NE(process_->error().find("does not exist: lisen"), std::string::npos) << process_->error();
  std::ofstream(folder_ + "/sections.toml") << "[server]\nlisten = \"127.0.0.1:0\"\n";
  EXPECT_EQ(run({"--config", folder_ + "/sections.toml"}), 2);
  EXPECT_NE(process_->error().find("no sections"), std::string::npos) << process_->error();
  std::ofstream(folder_ + "/broken.toml") << "listen = \n";
  EXPECT_EQ(run({"--config", folder_ + "/broken.toml"}), 2);
}

TEST_F(SatsumadTest, SignalsEndItCleanly) {
  for (const int signal : {SIGTERM, SIGINT}) {
    start();
    SocketClient client(port_);
    ASSERT_EQ(client.upgrade()->status, 101);
    std::this_thread::sleep_for(50ms);
    process_->signal(signal);
    const auto close = client.read_message();
    ASSERT_TRUE(close);
    EXPECT_EQ(close->close_code(), 1012);
    EXPECT_EQ(process_->wait(), 0);
  }
}

TEST_F(SatsumadTest, OtherAddressesGetHttpsWithACertificateThatIsKept) {
  const auto fingerprint = [this] {
    const std::string out = process_->out();
    const std::size_t at = out.find("\n  ");
    return out.substr(at + 3, 95);
  };
  start({"--listen", "0.0.0.0:0"});
  EXPECT_EQ(link_.substr(0, 8), "https://");
  const std::string first = fingerprint();
  EXPECT_EQ(SocketClient(port_, true).get("/healthz")->body, "ok\n");
  EXPECT_EQ(SocketClient(port_).get("/")->status, 308);
  struct stat info {};
  ASSERT_EQ(::stat((folder_ + "/data/key.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  start({"--listen", "0.0.0.0:0"});
  EXPECT_EQ(fingerprint(), first);
}

TEST_F(SatsumadTest, MetricsCountWhatHappens) {
  start();
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("room"));
  EXPECT_FALSE(next_as<signaling::Ready>(client).resumed);
  next_as<signaling::Entry>(client);
  const auto metrics = SocketClient(port_).get("/metrics");
  ASSERT_TRUE(metrics);
  for (const char* line : {"\nsatsuma_rooms 1\n", "\nsatsuma_participants 1\n", "\nsatsuma_websockets 1\n", "\nsatsuma_media_participants 1\n", "\nsatsuma_media_packets_forwarded_total 0\n"})
    EXPECT_NE(metrics->body.find(line), std::string::npos) << line << metrics->body;
}

TEST_F(SatsumadTest, AnOperatorCanDoWithoutMetrics) {
  start({"--no-metrics"});
  EXPECT_EQ(SocketClient(port_).get("/metrics")->status, 404);
  EXPECT_EQ(SocketClient(port_).get("/healthz")->status, 200);
  EXPECT_EQ(run({"--no-metrics", "--metrics-for-everyone"}), 2);
}

TEST_F(SatsumadTest, WithHttpsWhoEntersGetsCredentialsForTurnUnlessTheOperatorDoesWithout) {
  for (const std::string how : {"on", "off"}) {
    start({"--listen", "0.0.0.0:0", "--turn", how});
    Person ada(1);
    SocketClient client(port_, true);
    ASSERT_EQ(client.upgrade()->status, 101);
    client.send_binary(ada.hello("room"));
    next_as<signaling::Ready>(client);
    if (how == "on") {
      const auto text = client.read_message();
      ASSERT_TRUE(text);
      EXPECT_EQ(text->opcode, 1);
      const auto control = signaling::parse_server_control(text->payload);
      ASSERT_TRUE(control && std::holds_alternative<signaling::TurnServer>(*control)) << text->payload;
      EXPECT_NE(std::get<signaling::TurnServer>(*control).username.find(':'), std::string::npos);
    }
    next_as<signaling::Entry>(client);
    const auto metrics = SocketClient(port_, true).get("/metrics");
    ASSERT_TRUE(metrics);
    EXPECT_EQ(metrics->body.find("satsuma_turn_allocations 0") != std::string::npos, how == "on");
    process_->signal(SIGTERM);
    process_->wait();
    std::filesystem::remove_all(folder_ + "/data");
  }
}

TEST_F(SatsumadTest, MediaControlBeforeReadyIsAnErrorAndCloses) {
  start();
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text(R"({"type":"subscribe","id":1})");
  const auto error = client.read_message();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->opcode, 1);
  EXPECT_NE(error->payload.find("\"not_ready\""), std::string::npos);
  EXPECT_EQ(client.read_message()->close_code(), 4400);
}

TEST_F(SatsumadTest, HostileFramesGetAnErrorAndTheConnectionCloses) {
  start();
  Person ada(1);
  const auto refused_with = [&](bool joined, auto send) {
    SocketClient client(port_);
    EXPECT_EQ(client.upgrade()->status, 101);
    if (joined) {
      client.send_binary(Person(2).hello("hostile"));
      next_as<signaling::Ready>(client);
    }
    send(client);
    int errors = 0;
    for (;;) {
      const auto message = client.read_message();
      if (!message) return 0;
      if (message->opcode == 1) errors += message->payload.find("\"error\"") != std::string::npos;
      if (message->opcode == 2) errors += message->payload.size() > 0 && message->payload[0] == 69;
      if (message->opcode == 8) return errors > 0 ? message->close_code() : -1;
    }
  };
  const auto binary = [](Bytes bytes) { return [bytes](SocketClient& client) { client.send_binary(bytes); }; };
  const auto text = [](std::string content) { return [content](SocketClient& client) { client.send_text(content); }; };
  EXPECT_EQ(refused_with(false, binary({})), 4400);
  EXPECT_EQ(refused_with(false, binary({0xff, 1, 2})), 4400);
  EXPECT_EQ(refused_with(false, binary({2, 0, 0, 0, 0, 0, 0, 0, 0})), 4400) << "an acknowledgement before hello";
  EXPECT_EQ(refused_with(false, binary(Bytes(5000, 1))), 4413);
  Bytes cut = ada.hello("room");
  cut.resize(cut.size() / 2);
  EXPECT_EQ(refused_with(false, binary(cut)), 4400);
  EXPECT_EQ(refused_with(true, binary({4, 1, 2, 3})), 4400);
  EXPECT_EQ(refused_with(true, binary(Bytes(signaling::max_frame_size + 1, 4))), 4413);
  EXPECT_EQ(refused_with(true, text("not json")), 4400);
  EXPECT_EQ(refused_with(true, text(R"({"type":"unknown"})")), 4400);
  EXPECT_EQ(refused_with(true, text(R"({"type":"publish","id":0,"sdp":""})")), 4400);
  EXPECT_EQ(refused_with(true, text(std::string(30'000, '['))), 4400);
  EXPECT_EQ(SocketClient(port_).get("/healthz")->status, 200) << "and the server goes on";
}

TEST_F(SatsumadTest, ABadDescriptionIsAnsweredWithAnErrorOfItsRequest) {
  start();
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("room"));
  next_as<signaling::Ready>(client);
  next_as<signaling::Entry>(client);
  client.send_text(R"({"type":"publish","id":77,"sdp":"v=0 nonsense"})");
  const auto error = client.read_message();
  ASSERT_TRUE(error);
  EXPECT_NE(error->payload.find("\"id\":77"), std::string::npos) << error->payload;
  EXPECT_NE(error->payload.find("\"error\""), std::string::npos);
  client.send_text(R"({"type":"subscribe","id":78})");
  const auto offer = client.read_message();
  ASSERT_TRUE(offer);
  EXPECT_NE(offer->payload.find("\"type\":\"offer\""), std::string::npos) << offer->payload;
  EXPECT_NE(offer->payload.find("a=candidate:"), std::string::npos);
}

TEST_F(SatsumadTest, TooManyControlRequestsClose) {
  start();
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("room"));
  next_as<signaling::Ready>(client);
  for (int i = 0; i < 200; ++i) client.send_text(R"({"type":"key_frame","mid":"v0"})");
  std::optional<Message> message;
  while ((message = client.read_message()) && message->opcode != 8) {
  }
  ASSERT_TRUE(message);
  EXPECT_EQ(message->close_code(), 4429);
}

// Everybody who waits in a room sees the key packages of those who come.
TEST_F(SatsumadTest, AKeyPackageBroughtToAnotherRoomTakesNobodysPlace) {
  start({"--grace-ms", "100"});
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("room"));
  next_as<signaling::Ready>(client);
  next_as<signaling::Entry>(client);
  {
    ada.resume_key.fill(9); // the thief does not know hers
    SocketClient thief(port_);
    ASSERT_EQ(thief.upgrade()->status, 101);
    thief.send_binary(ada.hello("elsewhere"));
    next_as<signaling::Ready>(thief);
    const auto error = thief.read_message();
    ASSERT_TRUE(error);
    EXPECT_NE(error->payload.find("\"in_another_room\""), std::string::npos) << error->payload;
    EXPECT_EQ(thief.read_message()->close_code(), 4400);
  }
  std::this_thread::sleep_for(500ms); // long enough for the departure from the other room
  client.send_text(R"({"type":"subscribe","id":1})");
  const auto offer = client.read_message();
  ASSERT_TRUE(offer);
  EXPECT_NE(offer->payload.find("\"type\":\"offer\""), std::string::npos) << offer->payload;
}

TEST_F(SatsumadTest, RoomsOutliveAKillAndPeopleGoOnWhereTheyWere) {
  start();
  Person ada(1), bo(2);
  {
    SocketClient client(port_);
    ASSERT_EQ(client.upgrade()->status, 101);
    client.send_binary(ada.hello("kept"));
    const auto ready = next_as<signaling::Ready>(client);
    EXPECT_FALSE(ready.resumed);
    EXPECT_FALSE(ready.snapshot.has_group);
    EXPECT_EQ(next_as<signaling::Entry>(client).index, 0U);
    client.send_binary(ada.genesis());
    const auto entry = next_as<signaling::Entry>(client);
    EXPECT_EQ(entry.index, 1U);
    EXPECT_TRUE(std::holds_alternative<signaling::GenesisEntry>(entry.body));
    process_->signal(SIGKILL);
    EXPECT_EQ(process_->wait(), 128 + SIGKILL);
    EXPECT_TRUE(client.ends());
  }
  start();
  SocketClient back(port_);
  ASSERT_EQ(back.upgrade()->status, 101);
  back.send_binary(ada.hello("kept", 2));
  const auto resumed = next_as<signaling::Ready>(back);
  EXPECT_TRUE(resumed.resumed);
  EXPECT_EQ(resumed.head, 2U);
  SocketClient newcomer(port_);
  ASSERT_EQ(newcomer.upgrade()->status, 101);
  newcomer.send_binary(bo.hello("kept"));
  const auto ready = next_as<signaling::Ready>(newcomer);
  EXPECT_TRUE(ready.snapshot.has_group);
  EXPECT_EQ(ready.snapshot.members.size(), 1U);
  EXPECT_EQ(next_as<signaling::Entry>(back).index, 2U) << "the newcomer's join";
}

TEST_F(SatsumadTest, TheLogHoldsNoNameKeyOrAddress) {
  start({"--log-level", "debug"});
  Person ada(1);
  SocketClient client(port_);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_binary(ada.hello("private-room"));
  next_as<signaling::Ready>(client);
  client.send_text("nonsense");
  while (client.read_message()) {
  }
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  const std::string log = process_->error();
  EXPECT_NE(log.find("event=joined"), std::string::npos) << log;
  for (const char* secret : {"private-room", "secret name", "127.0.0.1", "nonsense"}) EXPECT_EQ(log.find(secret), std::string::npos) << secret;
  const std::string key = to_hex(ada.bundle.key_package.leaf_node.signature_key);
  EXPECT_EQ(log.find(key.substr(0, 16)), std::string::npos);
}

} // namespace
} // namespace satsuma
