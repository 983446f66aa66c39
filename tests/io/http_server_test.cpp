#include "io/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "io/certificate.h"
#include "io/clock.h"
#include "../base/seeded_random.h"
#include "../turn/requests.h"
#include "socket_client.h"

namespace satsuma::io {
namespace {

using test::SocketClient;
using namespace std::chrono_literals;

/// Answers with what it gets; "ready", "flood" and "close" do what they say.
class EchoHandler final : public HttpServer::Handler {
 public:
  HttpServer* server = nullptr;
  std::atomic<int> opened{0}, closed{0}, oversized{0}, stops{0}, deadlines{0};

  void on_open(ConnectionId) override { ++opened; }
  void on_text(ConnectionId id, std::string_view text) override {
    if (text == "ready") server->set_ready(id);
    if (text == "close") return server->close(id, CloseCode::gone, "as you wish");
    if (text == "flood") {
      for (int i = 0; i < 200; ++i) server->send_binary(id, Bytes(60'000));
      return;
    }
    server->send_text(id, std::string(text));
  }
  void on_binary(ConnectionId id, ByteView bytes) override { server->send_binary(id, to_bytes(bytes)); }
  void on_oversized(ConnectionId id) override {
    ++oversized;
    server->send_text(id, "too large");
  }
  void on_close(ConnectionId) override { ++closed; }
  void on_deadline(TimePoint) override { ++deadlines; }
  void on_stop() override { ++stops; }
  void on_media_stream(int descriptor, const TransportAddress& remote, Bytes begun) override {
    const std::string answer = remote.ip_text() + " sent " + to_hex(begun);
    static_cast<void>(::send(descriptor, answer.data(), answer.size(), MSG_NOSIGNAL));
    ::close(descriptor);
  }
  /// Sends back what came, and later whatever comes.
  void on_relayed_stream(int descriptor, const TransportAddress& relayed, const TransportAddress& client, Bytes begun) override {
    if (relayed_end >= 0) ::close(relayed_end);
    relayed_end = descriptor;
    relayed_address = relayed;
    relayed_client = client;
    static_cast<void>(::send(descriptor, begun.data(), begun.size(), MSG_NOSIGNAL));
  }
  ~EchoHandler() override {
    if (relayed_end >= 0) ::close(relayed_end);
  }
  std::atomic<int> relayed_end{-1};
  TransportAddress relayed_address, relayed_client;
  std::string metrics() override { return "satsuma_test_metric 7\n"; }
};

void write_file(const std::string& path, std::string_view content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    char name[] = "/tmp/satsuma-http-XXXXXX";
    folder_ = mkdtemp(name);
    const std::string web = folder_ + "/web";
    write_file(folder_ + "/secret.txt", "not for you");
    write_file(web + "/index.html", "<!doctype html><title>Satsuma</title>");
    write_file(web + "/assets/app-1a2b.js", std::string(5000, 'x'));
    write_file(web + "/assets/app-1a2b.js.br", "compressed");
    write_file(web + "/engine.wasm", std::string("\0asm", 4));
    write_file(web + "/.hidden", "hidden");
    write_file(web + "/large.bin", std::string(300'000, 'L'));
    std::filesystem::create_symlink(folder_ + "/secret.txt", web + "/link.txt");
    options_.port = 0;
    options_.web_folder = web;
  }
  ~HttpServerTest() override {
    stop();
    std::filesystem::remove_all(folder_);
  }

  void start(turn::Server* turn = nullptr) {
    auto created = HttpServer::create(options_, handler_);
    ASSERT_TRUE(created) << created.error();
    server_ = std::move(*created);
    if (turn != nullptr) server_->set_turn(*turn);
    handler_.server = server_.get();
    thread_ = std::thread([this] { server_->run(); });
  }
  void stop() {
    if (thread_.joinable()) {
      server_->stop();
      thread_.join();
    }
  }
  std::uint16_t port() const { return server_->port(); }
  HttpStatistics statistics() {
    std::promise<HttpStatistics> promise;
    server_->post([&] { promise.set_value(server_->statistics()); });
    return promise.get_future().get();
  }
  template <class Condition>
  bool eventually(Condition condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  void use_tls() {
    const auto certificate = own_certificate(folder_ + "/tls", {"localhost", "127.0.0.1"}, unix_now());
    ASSERT_TRUE(certificate);
    options_.certificate_pem = certificate->chain_pem;
    options_.key_pem = certificate->key_pem;
  }

  std::string folder_;
  HttpOptions options_;
  EchoHandler handler_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

/// A client of TURN inside TLS at the page's port.
class TurnClient {
 public:
  TurnClient(std::uint16_t port, turn::Server& server) : socket(port, true), credentials_(server.credentials(monotonic_now(), "ada")) {
    key_ = to_bytes(turn::long_term_key(credentials_.username, turn::Server::realm, credentials_.password.view())->view());
  }
  /// With the credentials, once it has a nonce.
  Bytes written(turn::test::Request request) const {
    if (!nonce_.empty()) {
      request.username = credentials_.username;
      request.realm = std::string(turn::Server::realm);
      request.nonce = nonce_;
      request.key = key_;
    }
    return turn::test::write(request);
  }
  /// The answer to it; empty when there is none.
  Bytes ask(turn::test::Request request) {
    const Bytes answer = put(written(std::move(request)));
    if (const auto message = turn::parse(answer); message && message->nonce) nonce_ = *message->nonce;
    return answer;
  }
  Bytes put(const Bytes& bytes) { return socket.send(as_text(bytes)) ? next() : Bytes(); }
  /// Of what came, one frame with its padding.
  Bytes next() {
    if (!socket.fill(4)) return {};
    const std::string& got = socket.received();
    const auto first = static_cast<std::uint8_t>(got[0]);
    std::size_t size = static_cast<std::size_t>(static_cast<std::uint8_t>(got[2])) << 8 | static_cast<std::uint8_t>(got[3]);
    size = turn::is_channel_data(first) ? (size + 7) / 4 * 4 : size + stun::header_size;
    if (!socket.fill(size)) return {};
    return to_bytes(as_bytes(socket.take(size)));
  }
  static std::uint16_t code(const Bytes& answer) {
    const auto message = turn::parse(answer);
    return message ? message->error_code.value_or(200) : std::uint16_t{0};
  }

  SocketClient socket;

 private:
  turn::Credentials credentials_;
  Bytes key_;
  std::string nonce_;
};

TEST_F(HttpServerTest, AConnectionInsideTlsThatBeginsAsTurnReachesOurMediaAndNothingElse) {
  use_tls();
  const TransportAddress media = TransportAddress::v4({192, 0, 2, 1}, 8443);
  SeededRandom random(1);
  turn::Server turn({media}, random);
  start(&turn);
  {
    TurnClient client(port(), turn);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 401);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 200);
    EXPECT_EQ(TurnClient::code(client.ask({.method = turn::create_permission, .peers = {TransportAddress::v4({127, 0, 0, 1}, 8443)}})), 403);
    EXPECT_EQ(TurnClient::code(client.ask({.method = turn::channel_bind, .channel = 0x4000, .peers = {media}})), 200);
    // A check begins it; the handler's end answers with the same.
    std::uint8_t buffer[stun::max_written_size];
    stun::BindingRequest check;
    check.username = "serv:peer";
    const Bytes datagram = to_bytes(*stun::write_binding_request(check, as_bytes("password"), buffer));
    EXPECT_EQ(client.put(turn::test::channel_data(0x4000, datagram)), turn::test::channel_data(0x4000, datagram));
    EXPECT_EQ(handler_.relayed_address.ip, media.ip);
    EXPECT_EQ(handler_.relayed_client.ip_text(), "127.0.0.1");
    // Media there, of every size, and back.
    for (const std::size_t size : {1U, 2U, 3U, 4U, 1200U}) {
      const Bytes packet(size, 0x80);
      ASSERT_TRUE(client.socket.send(as_text(turn::test::channel_data(0x4000, packet))));
      Bytes got(size + 2);
      std::size_t have = 0;
      ASSERT_TRUE(eventually([&] {
        const auto more = ::recv(handler_.relayed_end, got.data() + have, got.size() - have, MSG_DONTWAIT);
        if (more > 0) have += static_cast<std::size_t>(more);
        return have == got.size();
      }));
      EXPECT_EQ(Bytes(got.begin() + 2, got.end()), packet);
      ASSERT_EQ(::send(handler_.relayed_end, got.data(), got.size(), MSG_NOSIGNAL), static_cast<ssize_t>(got.size()));
      EXPECT_EQ(client.next(), turn::test::channel_data(0x4000, packet));
    }
    // Media ends it there; a later check begins anew.
    ::close(handler_.relayed_end.exchange(-1));
    EXPECT_TRUE(eventually([&] {
      client.socket.send(as_text(turn::test::channel_data(0x4000, datagram)));
      return handler_.relayed_end >= 0;
    }));
    EXPECT_EQ(SocketClient(port(), true).get("/")->status, 200) << "the page is served meanwhile";
    std::promise<std::size_t> allocations;
    server_->post([&] { allocations.set_value(turn.allocations()); });
    EXPECT_EQ(allocations.get_future().get(), 1U);
  }
  EXPECT_TRUE(eventually([this] { return statistics().connections == 0; }));
  EXPECT_EQ(statistics().turn_connections, 1U);
  stop();
  EXPECT_EQ(turn.allocations(), 0U);
  server_.reset();
}

TEST_F(HttpServerTest, WhoDoesNotReadWhatComesByTurnLosesMediaAndCostsLittleMemory) {
  use_tls();
  const TransportAddress media = TransportAddress::v4({192, 0, 2, 1}, 8443);
  SeededRandom random(1);
  turn::Server turn({media}, random);
  start(&turn);
  {
    TurnClient client(port(), turn);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 401);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 200);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::channel_bind, .channel = 0x4000, .peers = {media}})), 200);
    std::uint8_t buffer[stun::max_written_size];
    stun::BindingRequest check;
    check.username = "serv:peer";
    const Bytes datagram = to_bytes(*stun::write_binding_request(check, as_bytes("password"), buffer));
    ASSERT_FALSE(client.put(turn::test::channel_data(0x4000, datagram)).empty());
    Bytes framed(1202, 1);
    framed[0] = 1200 >> 8;
    framed[1] = 1200 & 0xff;
    // Beyond every buffer on the way; the sender never waits for the reader.
    EXPECT_TRUE(eventually([&] {
      for (int i = 0; i < 2000; ++i) {
        pollfd writable{handler_.relayed_end, POLLOUT, 0};
        if (::poll(&writable, 1, 100) != 1) break;
        static_cast<void>(::send(handler_.relayed_end, framed.data(), framed.size(), MSG_NOSIGNAL));
      }
      return statistics().turn_dropped_slow > 1000;
    }));
    Bytes first = client.next();
    EXPECT_EQ(first.size(), 1204U);
  }
  stop();
  server_.reset();
}

TEST_F(HttpServerTest, WhoDoesNotReadTheAnswersOfTurnIsNotReadOnEither) {
  use_tls();
  SeededRandom random(1);
  turn::Server turn({TransportAddress::v4({192, 0, 2, 1}, 8443)}, random);
  start(&turn);
  {
    TurnClient client(port(), turn);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 401);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 200);
    const Bytes one = client.written({.method = turn::refresh});
    Bytes many;
    while (many.size() < 16'000) many.insert(many.end(), one.begin(), one.end());
    const timeval patience{1, 0};
    ASSERT_EQ(::setsockopt(client.socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    std::size_t sent = 0;
    while (sent < 64'000'000 && client.socket.send(as_text(many))) sent += many.size();
    EXPECT_LT(sent, 64'000'000U) << "all was taken, so the answers wait somewhere";
  }
  stop();
  server_.reset();
}

TEST_F(HttpServerTest, AnAllocationThatEndsInOneBreathWithACheckEndsItsConnection) {
  use_tls();
  const TransportAddress media = TransportAddress::v4({192, 0, 2, 1}, 8443);
  SeededRandom random(1);
  turn::Server turn({media}, random);
  start(&turn);
  {
    TurnClient client(port(), turn);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 401);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::allocate, .transport = 17})), 200);
    ASSERT_EQ(TurnClient::code(client.ask({.method = turn::channel_bind, .channel = 0x4000, .peers = {media}})), 200);
    std::uint8_t buffer[stun::max_written_size];
    stun::BindingRequest check;
    check.username = "serv:peer";
    Bytes both = turn::test::channel_data(0x4000, *stun::write_binding_request(check, as_bytes("password"), buffer));
    const Bytes end = client.written({.method = turn::refresh, .lifetime_seconds = 0});
    both.insert(both.end(), end.begin(), end.end());
    EXPECT_EQ(TurnClient::code(client.put(both)), 200);
    EXPECT_TRUE(eventually([this] { return statistics().connections == 0; })) << "the client keeps its end open";
  }
  stop();
  EXPECT_EQ(turn.allocations(), 0U);
  server_.reset();
}

TEST_F(HttpServerTest, WithoutATurnServerTurnIsNotSpoken) {
  use_tls();
  start();
  SocketClient client(port(), true);
  ASSERT_TRUE(client.send(as_text(turn::test::write({.method = turn::allocate, .transport = 17}))));
  client.fill(1);
  EXPECT_FALSE(client.received().starts_with(std::string("\x01\x13", 2))) << "no Allocate error";
  EXPECT_EQ(statistics().turn_connections, 0U);
}

// One port for HTTPS and for ICE over TCP (RFC 6544), told apart by the first byte.
TEST_F(HttpServerTest, AConnectionThatBeginsAsMediaDoesIsGivenAwayAndTheOthersAreServed) {
  for (const bool tls : {false, true}) {
    if (tls) use_tls();
    options_.media_streams = true;
    start();
    SocketClient media(port());
    ASSERT_TRUE(media.send(std::string("\0", 1)));
    std::this_thread::sleep_for(20ms); // in pieces
    ASSERT_TRUE(media.send(std::string("\x05" "ab", 3)));
    std::this_thread::sleep_for(20ms);
    ASSERT_TRUE(media.send("cdeXY")); // what comes behind the first datagram stays in the socket
    const std::string expected = "127.0.0.1 sent 00056162636465";
    ASSERT_TRUE(media.fill(expected.size()));
    EXPECT_EQ(media.received(), expected);
    EXPECT_EQ(SocketClient(port(), tls).get("/")->status, 200);
    EXPECT_TRUE(eventually([this] { return statistics().connections == 0; }));
    EXPECT_EQ(statistics().media_streams, 1u);
    stop();
  }
}

TEST_F(HttpServerTest, AConnectionThatBeginsAsMediaAndGoesNoFurtherIsClosed) {
  options_.media_streams = true;
  options_.limits.tls_handshake = 100ms;
  start();
  SocketClient media(port());
  ASSERT_TRUE(media.send(std::string("\0\x50 begun", 8)));
  EXPECT_TRUE(media.ends());
  EXPECT_EQ(statistics().media_streams, 0u);
}

TEST_F(HttpServerTest, WhoSaysNothingYetIsWaitedForHoweverManyOthersComeAndGo) {
  options_.media_streams = true;
  options_.limits.new_connection_burst = 100'000;
  options_.limits.connections_per_address = 1000;
  start();
  std::atomic<int> unanswered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        auto others = std::make_unique<std::array<std::optional<SocketClient>, 3>>();
        for (auto& other : *others) other.emplace(port());
        for (auto& other : *others) other->send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
        others.reset();
        SocketClient late(port());
        std::this_thread::sleep_for(2ms);
        const auto reply = late.get("/healthz");
        unanswered += !reply || reply->status != 200;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(unanswered, 0);
}

TEST_F(HttpServerTest, WithoutMediaOverTcpSuchAConnectionIsNoneOfOurs) {
  start();
  SocketClient media(port());
  ASSERT_TRUE(media.send(std::string("\0\x05" "abcde", 7)));
  media.fill(1, 500);
  EXPECT_EQ(statistics().media_streams, 0u);
}

TEST_F(HttpServerTest, ThePageIsServedForTheRootAndForRooms) {
  start();
  SocketClient client(port());
  for (const char* path : {"/", "/r/my-room", "/r/my-room?x=1", "/index.html"}) {
    const auto reply = client.get(path);
    ASSERT_TRUE(reply) << path;
    EXPECT_EQ(reply->status, 200) << path;
    EXPECT_EQ(reply->body, "<!doctype html><title>Satsuma</title>");
    EXPECT_EQ(reply->fields.at("content-type"), "text/html; charset=utf-8");
    EXPECT_EQ(reply->fields.at("cache-control"), "no-cache");
  }
}

TEST_F(HttpServerTest, EveryAnswerCarriesTheSecurityFields) {
  start();
  SocketClient client(port());
  for (const char* path : {"/", "/missing", "/healthz", "/assets/app-1a2b.js"}) {
    const auto reply = client.get(path);
    ASSERT_TRUE(reply);
    const auto& fields = reply->fields;
    const std::string& policy = fields.at("content-security-policy");
    EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
    EXPECT_NE(policy.find("script-src 'self' 'wasm-unsafe-eval';"), std::string::npos);
    EXPECT_NE(policy.find("worker-src 'self'"), std::string::npos);
    EXPECT_NE(policy.find("connect-src 'self' wss://127.0.0.1 ws://127.0.0.1;"), std::string::npos);
    EXPECT_EQ(policy.find("script-src 'self' 'unsafe"), std::string::npos);
    EXPECT_EQ(fields.at("cross-origin-opener-policy"), "same-origin");
    EXPECT_EQ(fields.at("cross-origin-embedder-policy"), "require-corp");
    EXPECT_EQ(fields.at("cross-origin-resource-policy"), "same-origin");
    EXPECT_EQ(fields.at("x-content-type-options"), "nosniff");
    EXPECT_EQ(fields.at("referrer-policy"), "no-referrer");
    EXPECT_NE(fields.at("permissions-policy").find("camera=(self)"), std::string::npos);
    EXPECT_FALSE(fields.contains("strict-transport-security")) << "there is no TLS";
  }
}

TEST_F(HttpServerTest, CompressedFilesGoToThoseWhoTakeThem) {
  start();
  SocketClient client(port());
  const auto compressed = client.get("/assets/app-1a2b.js", "Accept-Encoding: gzip, br\r\n");
  ASSERT_TRUE(compressed);
  EXPECT_EQ(compressed->body, "compressed");
  EXPECT_EQ(compressed->fields.at("content-encoding"), "br");
  EXPECT_EQ(compressed->fields.at("vary"), "Accept-Encoding");
  EXPECT_EQ(compressed->fields.at("content-type"), "text/javascript; charset=utf-8");
  EXPECT_NE(compressed->fields.at("cache-control").find("immutable"), std::string::npos);
  const auto whole = client.get("/assets/app-1a2b.js");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->body.size(), 5000U);
  EXPECT_FALSE(whole->fields.contains("content-encoding"));
  EXPECT_NE(whole->fields.at("etag"), compressed->fields.at("etag"));
}

TEST_F(HttpServerTest, WhatTheClientHasIsNotSentAgain) {
  start();
  SocketClient client(port());
  const auto first = client.get("/engine.wasm");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->fields.at("content-type"), "application/wasm");
  const auto second = client.get("/engine.wasm", "If-None-Match: \"other\", " + first->fields.at("etag") + "\r\n");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->status, 304);
  const auto head = client.get("/engine.wasm", "", "HEAD");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->fields.at("content-length"), "4");
  EXPECT_EQ(client.get("/healthz")->body, "ok\n") << "nothing of a body came before";
}

TEST_F(HttpServerTest, NothingOutsideTheFolderCanBeReached) {
  start();
  for (const char* path : {"/../secret.txt", "/assets/../../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//../secret.txt", "/r/../../secret.txt", "/link.txt", "/.hidden",
                           "/assets", "/assets/", "/r/a/b", "/\\..\\secret.txt", "/etc/passwd"}) {
    SocketClient client(port());
    const auto reply = client.get(path);
    ASSERT_TRUE(reply) << path;
    EXPECT_EQ(reply->status, 404) << path;
    EXPECT_EQ(reply->body.find("not for you"), std::string::npos);
  }
}

TEST_F(HttpServerTest, OtherMethodsBodiesAndNonsenseAreRefused) {
  start();
  EXPECT_EQ(SocketClient(port()).get("/", "", "DELETE")->status, 405);
  EXPECT_EQ(SocketClient(port()).get("/", "Content-Length: 5\r\n", "POST")->status, 413);
  EXPECT_EQ(SocketClient(port()).get("/", "Transfer-Encoding: chunked\r\n", "POST")->status, 413);
  SocketClient nonsense(port());
  nonsense.send("\x01\x02 what is this\r\n\r\n");
  EXPECT_EQ(nonsense.read_reply()->status, 400);
  EXPECT_TRUE(nonsense.ends());
  SocketClient endless(port());
  endless.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + std::string(20'000, 'x'));
  EXPECT_EQ(endless.read_reply()->status, 431);
  SocketClient hostless(port());
  hostless.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(hostless.read_reply()->status, 400);
  SocketClient injected(port());
  injected.send("GET / HTTP/1.1\r\nHost: a; script-src *\r\n\r\n");
  const auto reply = injected.read_reply();
  EXPECT_EQ(reply->status, 400);
  EXPECT_EQ(reply->fields.at("content-security-policy").find("script-src *"), std::string::npos);
}

TEST_F(HttpServerTest, MetricsAnswerLoopbackWithoutAProxyOnly) {
  start();
  SocketClient client(port());
  const auto reply = client.get("/metrics");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200);
  EXPECT_NE(reply->body.find("satsuma_http_connections 1"), std::string::npos);
  EXPECT_NE(reply->body.find("satsuma_test_metric 7"), std::string::npos);
  EXPECT_EQ(client.get("/metrics", "X-Forwarded-For: 192.0.2.9\r\n")->status, 404);
}

TEST_F(HttpServerTest, MetricsForEverybodyAnswerThroughAProxyToo) {
  options_.metrics = MetricsFor::everyone;
  start();
  EXPECT_EQ(SocketClient(port()).get("/metrics", "X-Forwarded-For: 192.0.2.9\r\n")->status, 200);
}

TEST_F(HttpServerTest, MetricsThatAreOffAnswerNotEvenLoopback) {
  options_.metrics = MetricsFor::nobody;
  start();
  EXPECT_EQ(SocketClient(port()).get("/metrics")->status, 404);
}

TEST_F(HttpServerTest, AServerWithoutThePageSaysHowToGetIt) {
  options_.web_folder.clear();
  start();
  const auto reply = SocketClient(port()).get("/");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 503);
  EXPECT_NE(reply->body.find("--web"), std::string::npos);
}

TEST_F(HttpServerTest, APortInUseIsNamedWithTheWayOut) {
  start();
  HttpOptions second = options_;
  second.port = port();
  EchoHandler other;
  const auto failed = HttpServer::create(second, other);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().find("127.0.0.1:" + std::to_string(port())), std::string::npos);
  EXPECT_NE(failed.error().find("--listen"), std::string::npos);
  second.address = "meet.example.org";
  EXPECT_FALSE(HttpServer::create(second, other));
}

TEST_F(HttpServerTest, ASlowRequestIsCutOff) {
  options_.limits.request_head = 300ms;
  start();
  SocketClient client(port());
  client.send("GET / HTTP/1.1\r\nHost: ");
  EXPECT_TRUE(client.ends(3000));
}

TEST_F(HttpServerTest, ConnectionsBeyondTheLimitAreRefusedAndRoomComesBack) {
  options_.limits.connections_per_address = 2;
  start();
  auto first = std::make_unique<SocketClient>(port());
  ASSERT_EQ(first->get("/healthz")->status, 200);
  SocketClient second(port());
  ASSERT_EQ(second.get("/healthz")->status, 200);
  SocketClient third(port());
  const auto refused = third.read_reply();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  first.reset();
  EXPECT_TRUE(eventually([&] { return statistics().connections == 1; }));
  EXPECT_EQ(SocketClient(port()).get("/healthz")->status, 200);
}

TEST_F(HttpServerTest, NewConnectionsOfOneAddressAreRefusedWhenTheyComeTooFast) {
  options_.limits.new_connection_burst = 3;
  options_.limits.new_connections_per_second = 2;
  start();
  // Each has ended before the next begins: it is their rate that counts, not their number.
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(SocketClient(port()).get("/healthz")->status, 200);
    ASSERT_TRUE(eventually([&] { return statistics().connections == 0; }));
  }
  const auto refused = SocketClient(port()).read_reply();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(statistics().refused, 1u);
  EXPECT_EQ(statistics().refused_too_fast, 1u);
  std::this_thread::sleep_for(600ms);
  EXPECT_EQ(SocketClient(port()).get("/healthz")->status, 200);
}

TEST_F(HttpServerTest, AddressesThatAreNotHereAreForgottenWhenThereAreTooMany) {
  options_.limits.new_connection_burst = 1;
  options_.limits.new_connections_per_second = 0;
  options_.limits.remembered_addresses = 1; // so the one address is forgotten each time that it comes
  start();
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(SocketClient(port()).get("/healthz")->status, 200);
    ASSERT_TRUE(eventually([&] { return statistics().connections == 0; }));
  }
  SocketClient stays(port());
  ASSERT_EQ(stays.get("/healthz")->status, 200);
  EXPECT_EQ(SocketClient(port()).read_reply()->status, 503) << "who is here is not forgotten";
}

TEST_F(HttpServerTest, AWebSocketNeedsItsPlaceItsSubprotocolAndItsOrigin) {
  start();
  const std::string protocol = "Sec-WebSocket-Protocol: satsuma.1\r\n";
  EXPECT_EQ(SocketClient(port()).upgrade(protocol, "/other")->status, 404);
  EXPECT_EQ(SocketClient(port()).upgrade("")->status, 400);
  EXPECT_EQ(SocketClient(port()).upgrade("Sec-WebSocket-Protocol: satsuma.2\r\n")->status, 400);
  EXPECT_EQ(SocketClient(port()).upgrade(protocol + "Origin: http://evil.example\r\n")->status, 403);
  EXPECT_EQ(SocketClient(port()).upgrade(protocol + "Origin: http://127.0.0.1:81\r\n")->status, 403);
  EXPECT_EQ(SocketClient(port()).upgrade(protocol + "Origin: http://127.0.0.1.evil.example\r\n")->status, 403);
  EXPECT_EQ(SocketClient(port()).upgrade(protocol + "Origin: null\r\n")->status, 403);
  EXPECT_EQ(SocketClient(port()).get("/ws")->status, 426);
  EXPECT_EQ(handler_.opened, 0);
  const auto accepted = SocketClient(port()).upgrade("Sec-WebSocket-Protocol: other, satsuma.1\r\nOrigin: http://127.0.0.1\r\n");
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->status, 101);
  EXPECT_EQ(SocketClient(port()).upgrade(protocol + "Origin: https://127.0.0.1\r\n")->status, 101) << "a proxy may do the TLS";
  EXPECT_EQ(accepted->fields.at("sec-websocket-protocol"), "satsuma.1");
}

TEST_F(HttpServerTest, MessagesPassInOrderWhateverTheirFragments) {
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text("one");
  client.send_binary(Bytes{1, 2, 3});
  client.send(SocketClient::frame(1, "fo", false) + SocketClient::frame(9, "ping") + SocketClient::frame(0, "ur", true));
  EXPECT_EQ(client.read_message()->payload, "one");
  const auto binary = client.read_message();
  EXPECT_EQ(binary->opcode, 2);
  EXPECT_EQ(binary->payload, "\x01\x02\x03");
  EXPECT_EQ(client.read_message()->payload, "four");
}

TEST_F(HttpServerTest, AMessageBeyondItsBoundClosesWith4413) {
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text(std::string(4096, 'a'));
  EXPECT_EQ(client.read_message()->payload.size(), 4096U);
  client.send_text(std::string(4097, 'a'));
  EXPECT_EQ(client.read_message()->payload, "too large");
  const auto close = client.read_message();
  ASSERT_TRUE(close);
  EXPECT_EQ(close->opcode, 8);
  EXPECT_EQ(close->close_code(), 4413);
  EXPECT_TRUE(eventually([&] { return handler_.closed == 1; }));
  EXPECT_EQ(handler_.oversized, 1);
}

TEST_F(HttpServerTest, ABoundedMessageCannotBeEvadedByFragmentsOrByItsStatedSize) {
  start();
  SocketClient fragments(port());
  ASSERT_EQ(fragments.upgrade()->status, 101);
  fragments.send(SocketClient::frame(2, std::string(3000, 'a'), false) + SocketClient::frame(0, std::string(3000, 'a'), false));
  EXPECT_EQ(fragments.read_message()->payload, "too large");
  EXPECT_EQ(fragments.read_message()->close_code(), 4413);
  SocketClient huge(port());
  ASSERT_EQ(huge.upgrade()->status, 101);
  huge.send(std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14) + std::string(5000, 'a')); // 2^63 - 1 bytes are announced
  EXPECT_EQ(huge.read_message()->payload, "too large");
  EXPECT_EQ(huge.read_message()->close_code(), 4413);
}

TEST_F(HttpServerTest, OnceReadyTheLargerBoundApplies) {
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text("ready");
  EXPECT_EQ(client.read_message()->payload, "ready");
  const std::size_t largest = options_.limits.frame_after_ready;
  client.send_binary(Bytes(largest, 7));
  EXPECT_EQ(client.read_message()->payload.size(), largest);
  client.send_binary(Bytes(largest + 1, 7));
  EXPECT_EQ(client.read_message()->payload, "too large");
  EXPECT_EQ(client.read_message()->close_code(), 4413);
}

TEST_F(HttpServerTest, BrokenFramesCloseTheConnection) {
  start();
  for (const std::string& bytes : {std::string("\x83\x80\0\0\0\0", 6), std::string("\x81\x02hi"), SocketClient::frame(1, "\xff\xfe"), std::string("\xf1\x80\0\0\0\0", 6)}) {
    SocketClient client(port());
    ASSERT_EQ(client.upgrade()->status, 101);
    client.send(bytes);
    const auto close = client.read_message();
    ASSERT_TRUE(close);
    EXPECT_EQ(close->opcode, 8);
    EXPECT_TRUE(client.ends());
  }
  EXPECT_TRUE(eventually([&] { return handler_.closed == 4; }));
}

TEST_F(HttpServerTest, AReaderThatDoesNotReadIsClosed) {
  options_.limits.close_handshake = 300ms;
  start();
  SocketClient client(port());
  const int small = 4096;
  ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text("flood"); // 12 MB
  EXPECT_TRUE(eventually([&] { return handler_.closed == 1; }));
  EXPECT_GE(statistics().closed_too_large, 1U);
}

TEST_F(HttpServerTest, SendQueuesHaveABoundTogetherAndWhoHasMostWaitingIsClosed) {
  options_.limits.send_queues = 15'000'000;
  options_.limits.send_queue = 13'000'000;
  options_.limits.close_handshake = 10s;
  start();
  SocketClient slow(port()), reader(port()), second(port());
  const int small = 4096;
  for (SocketClient* client : {&slow, &reader, &second}) ASSERT_EQ(client->upgrade()->status, 101);
  for (SocketClient* client : {&slow, &second}) ::setsockopt(client->fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  slow.send_text("flood"); // 12 MB, within its own bound
  reader.send_text("here");
  EXPECT_EQ(reader.read_message()->payload, "here");
  EXPECT_EQ(statistics().closed_too_large, 0U);
  second.send_text("flood");
  EXPECT_TRUE(eventually([&] { return statistics().closed_too_large > 0; }));
  reader.send_text("still here");
  EXPECT_EQ(reader.read_message()->payload, "still here");
}

TEST_F(HttpServerTest, UnfinishedMessagesHaveABoundTogetherAndTheOneBegunFirstIsClosed) {
  options_.limits.receive_buffers = 12'000;
  start();
  std::vector<std::unique_ptr<SocketClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<SocketClient>(port()));
    ASSERT_EQ(clients.back()->upgrade()->status, 101);
    clients.back()->send(SocketClient::frame(1, std::string(3500, 'a'), false));
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_TRUE(eventually([&] { return handler_.closed >= 2; }));
  EXPECT_TRUE(clients.front()->ends());
  clients.back()->send(SocketClient::frame(0, "b"));
  const auto echoed = clients.back()->read_message();
  ASSERT_TRUE(echoed);
  EXPECT_EQ(echoed->payload.size(), 3501U);
}

TEST_F(HttpServerTest, AMessageThatDoesNotComeToItsEndClosesThoughBytesOfItKeepComing) {
  options_.limits.ping = 100ms;
  options_.limits.message = 300ms;
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send(SocketClient::frame(1, "a", false));
  for (int i = 0; i < 300 && handler_.closed == 0; ++i) {
    client.send(SocketClient::frame(0, "a", false));
    std::this_thread::sleep_for(20ms);
    if (statistics().closed_silent > 0) break;
  }
  EXPECT_EQ(statistics().closed_silent, 1U);
}

TEST_F(HttpServerTest, MediaOverTcpTakesNothingOfHttpsRate) {
  options_.media_streams = true;
  options_.limits.new_connection_burst = 3;
  options_.limits.new_connections_per_second = 0;
  start();
  for (std::uint64_t i = 1; i <= 10; ++i) {
    SocketClient media(port());
    ASSERT_TRUE(media.send(std::string("\0\x05" "abcde", 7)));
    ASSERT_TRUE(eventually([&] { return statistics().media_streams == i; }));
  }
  EXPECT_EQ(SocketClient(port()).get("/healthz")->status, 200);
}

TEST_F(HttpServerTest, TooManyMessagesCloseWith4429) {
  options_.limits.message_burst = 20;
  options_.limits.messages_per_second = 1;
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  for (int i = 0; i < 30; ++i) client.send_text("x");
  int echoes = 0;
  std::optional<test::Message> message;
  while ((message = client.read_message()) && message->opcode == 1) ++echoes;
  EXPECT_EQ(echoes, 20);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->close_code(), 4429);
}

TEST_F(HttpServerTest, APeerThatAnswersPingsStaysAndASilentOneGoes) {
  options_.limits.ping = 100ms;
  options_.limits.silence = 450ms;
  start();
  SocketClient lively(port());
  ASSERT_EQ(lively.upgrade()->status, 101);
  EXPECT_FALSE(lively.read_message(1200)) << "pinged, and nothing else";
  EXPECT_GE(lively.pings(), 5);
  lively.send_text("still here");
  EXPECT_EQ(lively.read_message()->payload, "still here");
  SocketClient silent(port());
  silent.answer_pings = false;
  ASSERT_EQ(silent.upgrade()->status, 101);
  const auto close = silent.read_message(4000);
  ASSERT_TRUE(close);
  EXPECT_EQ(close->close_code(), 4408);
}

TEST_F(HttpServerTest, ClosingSendsTheCodeAfterWhatWasQueued) {
  start();
  SocketClient client(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  client.send_text("last words");
  client.send_text("close");
  EXPECT_EQ(client.read_message()->payload, "last words");
  const auto close = client.read_message();
  ASSERT_TRUE(close);
  EXPECT_EQ(close->close_code(), 4410);
  EXPECT_EQ(close->payload.substr(2), "as you wish");
  EXPECT_TRUE(client.ends());
  EXPECT_TRUE(eventually([&] { return handler_.closed == 1; }));
}

TEST_F(HttpServerTest, AStopClosesWebSocketsWith1012) {
  start();
  SocketClient client(port()), idle(port());
  ASSERT_EQ(client.upgrade()->status, 101);
  ASSERT_TRUE(eventually([&] { return handler_.opened == 1; }));
  const auto began = std::chrono::steady_clock::now();
  server_->stop();
  const auto close = client.read_message();
  ASSERT_TRUE(close);
  EXPECT_EQ(close->close_code(), 1012);
  thread_.join();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  EXPECT_EQ(handler_.stops, 1);
  EXPECT_EQ(handler_.closed, 1);
}

TEST_F(HttpServerTest, ADeadlineComesOnceAndCanBeTakenBack) {
  start();
  server_->post([this] { server_->set_deadline(monotonic_now() + 50ms); });
  EXPECT_TRUE(eventually([&] { return handler_.deadlines == 1; }));
  server_->post([this] {
    server_->set_deadline(monotonic_now() + 50ms);
    server_->set_deadline(std::nullopt);
  });
  std::this_thread::sleep_for(150ms);
  EXPECT_EQ(handler_.deadlines, 1);
}

TEST_F(HttpServerTest, OverTlsEverythingWorksTheSame) {
  use_tls();
  start();
  SocketClient client(port(), true);
  ASSERT_TRUE(client.connected());
  const auto page = client.get("/large.bin");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->body, std::string(300'000, 'L'));
  EXPECT_EQ(page->fields.at("strict-transport-security"), "max-age=31536000");
  EXPECT_NE(page->fields.at("content-security-policy").find("wss://127.0.0.1"), std::string::npos);
  EXPECT_EQ(SocketClient(port(), true).upgrade("Sec-WebSocket-Protocol: satsuma.1\r\nOrigin: http://127.0.0.1\r\n")->status, 403);
  ASSERT_EQ(client.upgrade("Sec-WebSocket-Protocol: satsuma.1\r\nOrigin: https://127.0.0.1\r\n")->status, 101);
  client.send_text("ready");
  EXPECT_EQ(client.read_message()->payload, "ready");
  for (int i = 0; i < 50; ++i) client.send_binary(Bytes(50'000, static_cast<std::uint8_t>(i)));
  for (int i = 0; i < 50; ++i) {
    const auto message = client.read_message();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->payload, std::string(50'000, static_cast<char>(i)));
  }
}

TEST_F(HttpServerTest, PlainHttpOnTheTlsPortIsLedToHttps) {
  use_tls();
  start();
  const auto reply = SocketClient(port()).get("/r/room");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 308);
  EXPECT_EQ(reply->fields.at("location"), "https://127.0.0.1/r/room");
  EXPECT_EQ(SocketClient(port()).upgrade()->status, 308) << "no WebSocket in the clear";
}

TEST_F(HttpServerTest, ATlsHandshakeThatStallsOrBreaksIsCutOff) {
  use_tls();
  options_.limits.tls_handshake = 300ms;
  start();
  SocketClient silent(port()), stalled(port()), broken(port());
  stalled.send("\x16\x03\x01");
  broken.send("\x16\x03\x01" + std::string(500, 'x'));
  EXPECT_TRUE(silent.ends(3000));
  EXPECT_TRUE(stalled.ends(3000));
  EXPECT_TRUE(broken.ends(3000));
}

} // namespace
} // namespace satsuma::io
