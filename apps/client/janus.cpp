#include "janus.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace satsuma::client {

namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr Duration patience = seconds(10);
constexpr Duration poll_patience = seconds(60);    // Janus says after 30 s that there is nothing
constexpr Duration poll_pause = std::chrono::milliseconds(100); // after an answer that came at once and says nothing
constexpr Duration keep_alive_interval = seconds(20); // it forgets a session after 60 s
constexpr Duration goodbye_patience = seconds(2);
constexpr Duration feed_pause = std::chrono::milliseconds(20);
constexpr unsigned feed_attempts = 50;
constexpr std::size_t events_at_once = 10;
static_assert(events_at_once <= max_janus_messages);

json room_of(const std::string& text) { return json::parse(text); } // ours, not the network's

} // namespace

Janus::Janus(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)), http_(loop, options_.url, std::move(options_.host)) {}

Janus::~Janus() {
  for (auto& [transaction, waiting] : waiting_) loop_.cancel(waiting.deadline);
  if (keep_alive_timer_) loop_.cancel(*keep_alive_timer_);
  if (poll_timer_) loop_.cancel(*poll_timer_);
}

std::string Janus::session_path() const { return options_.url.path + "/" + std::to_string(session_); }

std::string Janus::told(const JanusMessage::Problem& problem) const {
  const std::string own_words = problem.reason + " (" + std::to_string(problem.code) + ")";
  switch (problem.code) {
    case janus_no_such_plugin: return "This Janus has no VideoRoom: libjanus_videoroom.so is not among its plugins, or janus.jcfg disables it.";
    case janus_publishers_full: return "Janus' room " + options_.room + " takes no more publishers: " + own_words + ". Leave --room out, and one is made that does.";
    case janus_wrong_secret: return "Janus wants a secret or a token of everybody, which this program has not: " + own_words + ". See api_secret and token_auth in its janus.jcfg.";
    default: return "Janus refuses: " + own_words + ".";
  }
}

// ---- requests and their answers

void Janus::ask(TimePoint now, const std::string& path, json message, bool event, Answered done) {
  const std::string transaction = "t" + std::to_string(++transactions_);
  const std::string what = message.contains("body") ? message["body"]["request"].get<std::string>() : message["janus"].get<std::string>();
  message["transaction"] = transaction;
  const Duration wait = closing_ ? goodbye_patience : patience;
  const auto deadline = loop_.at(now + wait, [this, transaction, what](TimePoint at) { finish(at, transaction, std::unexpected("Janus has not answered \"" + what + "\" in time.")); });
  waiting_.emplace(transaction, Waiting{what, std::move(done), deadline});
  http_.post(now, path, message.dump(), wait, [this, transaction, event](TimePoint at, std::expected<HttpResponse, std::string> response) {
    if (!response) return finish(at, transaction, std::unexpected(response.error()));
    auto messages = parse_janus_messages(response->body);
    if (response->status != 200 || !messages || messages->size() != 1) {
      return finish(at, transaction,
                    std::unexpected("What answers there is not Janus' HTTP interface (" + (response->status != 200 ? "HTTP " + std::to_string(response->status) : "its answer is no message of Janus") +
                                    "). The URL ends with /janus unless janus.transport.http.jcfg has another base_path."));
    }
    JanusMessage& one = messages->front();
    if (event && one.kind == "ack") return; // the answer proper is to come
    finish(at, transaction, std::move(one));
  });
}

void Janus::message(TimePoint now, std::uint64_t handle, json body, json jsep, bool event, Answered done) {
  json message{{"janus", "message"}, {"body", std::move(body)}};
  if (!jsep.is_null()) message["jsep"] = std::move(jsep);
  ask(now, session_path() + "/" + std::to_string(handle), std::move(message), event, std::move(done));
}

void Janus::finish(TimePoint now, const std::string& transaction, std::expected<JanusMessage, std::string> outcome) {
  auto found = waiting_.extract(transaction);
  if (found.empty()) return; // answered before, or too late
  loop_.cancel(found.mapped().deadline);
  found.mapped().done(now, std::move(outcome));
}

void Janus::poll(TimePoint now) {
  http_.get(now, session_path() + "?maxev=" + std::to_string(events_at_once), poll_patience, [this, asked = now](TimePoint at, std::expected<HttpResponse, std::string> response) {
    if (closing_) return;
    if (!response) return end(at, "Janus is gone. " + response.error());
    auto messages = parse_janus_messages(response->body);
    if (!messages) return end(at, "Janus' messages cannot be read (" + std::string(messages.error().name()) + ").");
    const bool idle = std::ranges::all_of(*messages, [](const JanusMessage& one) { return one.kind == "keepalive"; });
    for (JanusMessage& one : *messages) {
      if (one.kind == "timeout" || one.kind == "error") return end(at, "Janus has ended the session" + (one.problem ? ": " + one.problem->reason : std::string()) + ".");
      take(at, std::move(one));
    }
    if (!idle || at - asked >= poll_pause) return poll(at);
    poll_timer_ = loop_.at(asked + poll_pause, [this](TimePoint later) {
      poll_timer_.reset();
      if (!closing_) poll(later);
    });
  });
}

void Janus::take(TimePoint now, JanusMessage message) {
  if (message.kind == "hangup" && on_problem && !closing_) on_problem(now, "Janus hung up a connection: " + message.reason + ".");
  if (!message.transaction.empty()) {
    const std::string transaction = message.transaction;
    finish(now, transaction, std::move(message));
  }
}

/// Nothing comes any more.
void Janus::end(TimePoint now, const std::string& sentence) {
  while (!waiting_.empty()) finish(now, std::string(waiting_.begin()->first), std::unexpected(sentence));
  if (on_end) on_end(now, sentence);
}

void Janus::keep_alive(TimePoint now) {
  keep_alive_timer_ = loop_.at(now + keep_alive_interval, [this](TimePoint at) {
    ask(at, session_path(), {{"janus", "keepalive"}}, false, [](TimePoint, const auto&) {}); // that it is gone the poll tells
    keep_alive(at);
  });
}

// ---- the session and its room

void Janus::open(TimePoint now, Done<void> done) {
  ask(now, options_.url.path, {{"janus", "create"}}, false, [this, done = std::move(done)](TimePoint at, std::expected<JanusMessage, std::string> made) {
    if (closing_) return; // Janus forgets a session that nobody asks for anything
    if (!made) return done(at, std::unexpected(made.error() + " Does Janus run, with its HTTP interface (janus.transport.http.jcfg)?"));
    if (made->problem || made->id == 0) return done(at, std::unexpected(made->problem ? told(*made->problem) : "Janus has made no session."));
    session_ = made->id;
    poll(at);
    keep_alive(at);
    attach(at, [this, done](TimePoint later, std::expected<std::uint64_t, std::string> handle) {
      if (!handle) return done(later, std::unexpected(handle.error()));
      manager_ = *handle;
      message(later, *handle, {{"request", "exists"}, {"room", room_of(options_.room)}}, nullptr, false, [this, done](TimePoint then, std::expected<JanusMessage, std::string> answered) {
        if (!answered) return done(then, std::unexpected(answered.error()));
        if (answered->problem) return done(then, std::unexpected(told(*answered->problem)));
        if (answered->exists == true) return done(then, {});
        make_room(then, done);
      });
    });
  });
}

void Janus::make_room(TimePoint now, Done<void> done) {
  // Nothing that would hold a publisher down.
  json body{{"request", "create"},  {"room", room_of(options_.room)}, {"publishers", options_.publishers}, {"bitrate", 0},           {"bitrate_cap", false},
            {"fir_freq", 0},        {"audiocodec", "opus"},           {"videocodec", "vp8"},               {"notify_joining", false}, {"description", "satsuma load"}};
  if (!options_.admin_key.empty()) body["admin_key"] = options_.admin_key;
  made_room_ = true; // it may be by the time that we leave
  message(now, manager_, std::move(body), nullptr, false, [this, done = std::move(done)](TimePoint at, std::expected<JanusMessage, std::string> made) {
    made_room_ = made && !made->problem;
    if (!made) return done(at, std::unexpected(made.error()));
    const bool about_key = made->problem && (made->problem->code == janus_unauthorized || (made->problem->code == janus_missing_element && options_.admin_key.empty()));
    if (about_key) {
      return done(at, std::unexpected("There is no room " + options_.room + ", and Janus makes none without its admin key" + (options_.admin_key.empty() ? "" : ", which is another") +
                                      ". Give it with --janus-admin-key (it is admin_key in janus.plugin.videoroom.jcfg), or name a room that is there with --room."));
    }
    if (made->problem) return done(at, std::unexpected(told(*made->problem)));
    done(at, {});
  });
}

void Janus::attach(TimePoint now, Done<std::uint64_t> done) {
  ask(now, session_path(), {{"janus", "attach"}, {"plugin", "janus.plugin.videoroom"}}, false, [this, done = std::move(done)](TimePoint at, std::expected<JanusMessage, std::string> attached) {
    if (!attached) return done(at, std::unexpected(attached.error()));
    if (attached->problem || attached->id == 0) return done(at, std::unexpected(attached->problem ? told(*attached->problem) : "Janus has made no handle."));
    done(at, attached->id);
  });
}

void Janus::close(TimePoint now, std::function<void()> done) {
  closing_ = true;
  if (keep_alive_timer_) loop_.cancel(*keep_alive_timer_);
  keep_alive_timer_.reset();
  if (session_ == 0) return done();
  const auto end_session = [this, done = std::move(done)](TimePoint at, const std::expected<JanusMessage, std::string>&) {
    ask(at, session_path(), {{"janus", "destroy"}}, false, [done](TimePoint, const std::expected<JanusMessage, std::string>&) { done(); });
  };
  if (!made_room_) return end_session(now, JanusMessage{});
  message(now, manager_, {{"request", "destroy"}, {"room", room_of(options_.room)}}, nullptr, false, end_session);
}

// ---- connections

void Janus::publish(TimePoint now, const std::string& offer, Done<Published> done) {
  attach(now, [this, offer, done = std::move(done)](TimePoint at, std::expected<std::uint64_t, std::string> handle) {
    if (!handle) return done(at, std::unexpected(handle.error()));
    message(at, *handle, {{"request", "joinandconfigure"}, {"ptype", "publisher"}, {"room", room_of(options_.room)}}, {{"type", "offer"}, {"sdp", offer}}, true,
            [this, done](TimePoint then, std::expected<JanusMessage, std::string> joined) {
              if (!joined) return done(then, std::unexpected(joined.error()));
              if (joined->problem) return done(then, std::unexpected(told(*joined->problem)));
              if (joined->feed.empty() || joined->sdp.empty()) return done(then, std::unexpected("Janus let us join and did not answer our offer."));
              done(then, Published{joined->feed, joined->sdp});
            });
  });
}

void Janus::subscribe(TimePoint now, const std::vector<std::string>& publications, Done<Offered> done) {
  json streams = json::array();
  for (const std::string& feed : publications) streams.push_back({{"feed", json::parse(feed)}});
  attach(now, [this, streams = std::move(streams), done = std::move(done)](TimePoint at, std::expected<std::uint64_t, std::string> handle) {
    if (!handle) return done(at, std::unexpected(handle.error()));
    join(at, *handle, streams, feed_attempts, done);
  });
}

void Janus::join(TimePoint now, std::uint64_t handle, json streams, unsigned attempts, Done<Offered> done) {
  json body{{"request", "join"}, {"ptype", "subscriber"}, {"room", room_of(options_.room)}, {"streams", streams}};
  message(now, handle, std::move(body), nullptr, true, [this, handle, streams = std::move(streams), attempts, done = std::move(done)](TimePoint at, std::expected<JanusMessage, std::string> offered) {
    if (!offered) return done(at, std::unexpected(offered.error()));
    // A publisher counts as one a moment after its connection stands for us.
    if (offered->problem && offered->problem->code == janus_no_such_feed && attempts > 1) {
      loop_.at(at + feed_pause, [this, handle, streams, attempts, done](TimePoint later) {
        if (!closing_) join(later, handle, streams, attempts - 1, done);
      });
      return;
    }
    if (offered->problem) return done(at, std::unexpected(told(*offered->problem)));
    if (offered->sdp.empty()) return done(at, std::unexpected("Janus offers nothing to receive."));
    done(at, Offered{std::to_string(handle), offered->sdp});
  });
}

void Janus::answer(TimePoint now, const std::string& subscription, const std::string& sdp, Done<void> done) {
  ask(now, session_path() + "/" + subscription, {{"janus", "message"}, {"body", {{"request", "start"}}}, {"jsep", {{"type", "answer"}, {"sdp", sdp}}}}, true,
      [this, done = std::move(done)](TimePoint at, std::expected<JanusMessage, std::string> started) {
        if (!started) return done(at, std::unexpected(started.error()));
        if (started->problem) return done(at, std::unexpected(told(*started->problem)));
        done(at, {});
      });
}

} // namespace satsuma::client
