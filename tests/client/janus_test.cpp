// satsuma load --janus against Janus itself, where Debian's package of it is installed, in a network of its own: Janus does not take the loopback interface.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "process.h"

namespace satsuma {
namespace {

using nlohmann::json;
using test::Process;
using namespace std::chrono_literals;

/// Janus runs while all that is wanted of it is done, one after the other; each leaves a file of what it printed, of its errors and of its exit code.
constexpr const char* script = R"(
set -u
setpriv --pdeathsig KILL "$BENCH_SFU/janus" "$FOLDER/janus" 8088 "$SATSUMA_BENCH_ADDRESS" secret >"$FOLDER/janus.log" 2>&1 &
janus=$!
for ((i = 0; i < 300; i++)); do (exec 3<>/dev/tcp/127.0.0.1/8088) 2>/dev/null && break; sleep 0.1; done
load() {
  local name=$1
  shift
  "$SATSUMA" load --janus http://127.0.0.1:8088/janus "$@" >"$FOLDER/$name.out" 2>"$FOLDER/$name.error"
  echo $? >"$FOLDER/$name.code"
}
key=(--janus-admin-key secret)
load all "${key[@]}" --participants 6 --publishers 2 --seconds 2 --join-rate 50 --decrypt-every 2 --json
load rooms "${key[@]}" --room 77 --rooms 2 --participants 3 --publishers 1 --no-video --seconds 1 --join-rate 50
load no-key --room 78 --participants 2 --publishers 1 --json
load wrong-key --room 78 --participants 2 --publishers 1 --janus-admin-key guess
"$SATSUMA" load --janus http://127.0.0.1:8088/janus "${key[@]}" --participants 2 --publishers 1 --seconds 600 --ready-file "$FOLDER/ready" >"$FOLDER/killed.out" 2>"$FOLDER/killed.error" &
killed=$!
for ((i = 0; i < 300; i++)); do [[ -e $FOLDER/ready ]] && break; sleep 0.1; done
kill -KILL $janus
wait $killed
echo $? >"$FOLDER/killed.code"
)";

class JanusTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    char name[] = "/tmp/satsuma-janus-XXXXXX";
    folder_ = mkdtemp(name);
    const std::string own_network = std::string(BENCH_SFU) + "/own-network";
    if (!std::filesystem::exists("/usr/bin/janus")) {
      left_out_ = "Janus is not installed: scripts/install-packages bench";
      return;
    }
    if (Process(folder_, own_network, {"true"}).wait(30s) != 0) {
      left_out_ = "a network of its own cannot be had here: it takes root, or user namespaces";
      return;
    }
    ::setenv("FOLDER", folder_.c_str(), 1);
    ::setenv("BENCH_SFU", BENCH_SFU, 1);
    ::setenv("SATSUMA", SATSUMA, 1);
    Process all(folder_, own_network, {"bash", "-c", script});
    code_ = all.wait(230s);
    error_ = all.error();
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder_); }
  void SetUp() override {
    if (!left_out_.empty()) GTEST_SKIP() << left_out_;
    ASSERT_EQ(code_, 0) << error_ << read("janus.log");
  }

  static std::string read(const std::string& name) {
    std::ifstream file(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  static inline std::string folder_, left_out_, error_;
  static inline int code_ = -1;
};

TEST_F(JanusTest, ManyPublishToAndSubscribeFromARoomOfJanusAndAreMeasuredAsInOneOfOurs) {
  ASSERT_EQ(read("all.code"), "0\n") << read("all.error") << read("all.out");
  const json result = json::parse(read("all.out"));
  EXPECT_EQ(result["peer"], "janus");
  EXPECT_EQ(result["in"], 6);
  EXPECT_EQ(result["good"], true);
  EXPECT_EQ(result["join_ms"]["count"], 6);
  EXPECT_EQ(result["join_to_all_frames_ms"]["count"], 3) << "each second looks into frames";
  EXPECT_EQ(result["receive_all_at_end"], 3);
  // Of ten streams with sound and picture each.
  EXPECT_GT(result["packets_received"], 500);
  EXPECT_GT(result["packets_sent"], 100);
  EXPECT_GT(result["frames_decrypted"], 200);
  for (const char* latency : {"video_latency_ms", "audio_latency_ms", "video_arrival_ms", "audio_arrival_ms"}) {
    EXPECT_GT(result[latency]["count"], 50) << latency;
    EXPECT_GT(result[latency]["p50"], 0.0) << latency;
    EXPECT_GE(result[latency]["p99"], result[latency]["p50"]) << latency;
  }
  EXPECT_TRUE(result["problems"].empty()) << result["problems"];
}

TEST_F(JanusTest, RoomsThatAreNotThereAreMadeAndTheResultIsTextToo) {
  EXPECT_EQ(read("rooms.code"), "0\n") << read("rooms.error");
  const std::string out = read("rooms.out");
  EXPECT_NE(out.find("6 in after "), std::string::npos) << out;
  EXPECT_NE(out.find("at the end 6 of 6 are in, and 6 have lately had frames of every publisher"), std::string::npos) << out;
}

TEST_F(JanusTest, WhereJanusMakesNoRoomsWithoutItsKeyThatIsSaid) {
  EXPECT_EQ(read("no-key.code"), "1\n");
  const json result = json::parse(read("no-key.out"));
  EXPECT_EQ(result["good"], false);
  ASSERT_EQ(result["problems"].size(), 1U) << result["problems"];
  EXPECT_NE(result["problems"].begin().key().find("--janus-admin-key"), std::string::npos) << result["problems"];
  EXPECT_EQ(read("wrong-key.code"), "1\n");
  EXPECT_NE(read("wrong-key.error").find("its admin key, which is another"), std::string::npos) << read("wrong-key.error");
  EXPECT_EQ(read("wrong-key.out"), "") << "nothing was measured";
}

TEST_F(JanusTest, WhenJanusIsKilledLoadEndsAndSaysWhy) {
  EXPECT_EQ(read("killed.code"), "1\n");
  EXPECT_NE(read("killed.error").find("Janus is gone"), std::string::npos) << read("killed.error");
  EXPECT_NE(read("killed.out").find("received: "), std::string::npos) << "what was measured until then is told";
}

/// Who answers as Janus does, up to a point.
class Impostor {
 public:
  /// What it says to each request, by a word in it; `{"janus":"ack"}` to others.
  explicit Impostor(std::vector<std::pair<std::string, std::string>> answers) : answers_(std::move(answers)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/janus";
    thread_ = std::thread([this] { run(); });
  }
  ~Impostor() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  const std::string& url() const { return url_; }

 private:
  void run() {
    for (int connection; (connection = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(connection)) {
      std::string request;
      std::array<char, 4096> part;
      // A request's body is one JSON object, a poll has none.
      while (!request.ends_with('}') && !(request.starts_with("GET") && request.ends_with("\r\n\r\n"))) {
        const ssize_t got = ::recv(connection, part.data(), part.size(), 0);
        if (got <= 0) break;
        request.append(part.data(), static_cast<std::size_t>(got));
      }
      std::string answer = R"({"janus":"ack"})";
      for (const auto& [word, says] : answers_)
        if (request.find(word) != std::string::npos) answer = says;
      if (request.starts_with("GET")) std::this_thread::sleep_for(20ms);
      const std::string response = answer.starts_with("HTTP") ? answer : "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(answer.size()) + "\r\n\r\n" + answer;
      (void)::send(connection, response.data(), response.size(), MSG_NOSIGNAL);
    }
  }

  std::vector<std::pair<std::string, std::string>> answers_;
  int listener_;
  std::string url_;
  std::thread thread_;
};

TEST(JanusThatMisbehaves, IsToldInASentenceAndEndsTheLoad) {
  char name[] = "/tmp/satsuma-impostor-XXXXXX";
  const std::string folder = mkdtemp(name);
  const std::vector<std::pair<std::string, std::string>> until_joined{{"\"create\"", R"({"janus":"success","data":{"id":1}})"},
                                                                      {"\"attach\"", R"({"janus":"success","data":{"id":2}})"},
                                                                      {"\"exists\"", R"({"janus":"success","plugindata":{"data":{"exists":true}}})"}};
  const auto problem = [&](std::vector<std::pair<std::string, std::string>> answers, bool joins = true) {
    if (joins) answers.insert(answers.begin(), until_joined.begin(), until_joined.end());
    const Impostor janus(std::move(answers));
    Process load(folder, SATSUMA, {"load", "--janus", janus.url(), "--participants", "2", "--publishers", "1"});
    EXPECT_EQ(load.wait(60s), 1);
    EXPECT_EQ(load.out(), "");
    const std::string error = load.error();
    std::filesystem::remove(folder + "/stderr");
    return error;
  };
  EXPECT_NE(problem({{"POST", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"}}, false).find("no HTTP that can be read (http_too_large)"), std::string::npos);
  EXPECT_NE(problem({{"POST", "HTTP/1.1 403 Forbidden\r\n\r\n"}}, false).find("(HTTP 403)"), std::string::npos);
  EXPECT_NE(problem({{"POST", "[[[["}}, false).find("its answer is no message of Janus"), std::string::npos);
  EXPECT_NE(problem({{"\"create\"", R"({"janus":"success"})"}}).find("has made no session"), std::string::npos);
  EXPECT_NE(problem({{"\"create\"", R"({"janus":"error","error":{"code":403,"reason":"Unauthorized"}})"}}).find("Unauthorized (403). See api_secret"), std::string::npos);
  EXPECT_NE(problem({{"\"attach\"", R"({"janus":"error","error":{"code":460,"reason":"No such plugin"}})"}}).find("This Janus has no VideoRoom"), std::string::npos);
  // Its answers proper come by the poll: the fifth request is to join.
  const auto event = [](const std::string& data, const std::string& sdp) {
    return R"([{"janus":"event","transaction":"t5","plugindata":{"data":)" + data + R"(},"jsep":{"type":"answer","sdp":")" + sdp + R"("}}])";
  };
  EXPECT_NE(problem({{"GET", event("{}", "")}}).find("did not answer our offer"), std::string::npos);
  EXPECT_NE(problem({{"GET", event(R"({"id":3})", "nonsense")}}).find("answer cannot be read (sdp_"), std::string::npos);
  EXPECT_NE(problem({{"GET", event(R"({"id":3})", R"(v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n)")}}).find("answer does not fit our offer (sdp_media_mismatch)"), std::string::npos);
  EXPECT_NE(problem({{"GET", "nonsense"}}).find("messages cannot be read (janus_not_json)"), std::string::npos);
  EXPECT_NE(problem({{"GET", R"({"janus":"timeout"})"}}).find("has ended the session"), std::string::npos);
  std::filesystem::remove_all(folder);
}

} // namespace
} // namespace satsuma
