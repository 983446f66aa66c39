#pragma once

// The other end of a Transport, as a browser is one: a controlling ICE agent with one candidate, a DTLS client, SRTP both ways. In virtual time.

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "../base/seeded_random.h"
#include "base/time.h"
#include "dtls/connection.h"
#include "ice/ice_lite.h"
#include "srtp/session.h"
#include "stun/message.h"

namespace satsuma::sfu::test {

class TransportPeer {
 public:
  TransportPeer(const dtls::Context& context, ice::Credentials own) : context_(context), own_(std::move(own)) {}

  void set_remote(ice::Credentials remote, const dtls::Fingerprint& fingerprint) {
    remote_ = std::move(remote);
    fingerprint_ = fingerprint;
  }
  const ice::Credentials& own() const { return own_; }
  const ice::Credentials& remote() const { return remote_; }
  void set_own(ice::Credentials own) { own_ = std::move(own); }

  Bytes check(bool nominate, std::uint32_t priority = 0x7effffff) {
    stun::BindingRequest request;
    request.transaction[0] = ++transaction_;
    const std::string username = remote_.ufrag + ":" + own_.ufrag;
    request.username = username;
    request.priority = priority;
    request.tie_breaker = 1;
    request.use_candidate = nominate;
    Bytes out(stun::max_written_size);
    const auto written = stun::write_binding_request(request, as_bytes(remote_.password), out);
    EXPECT_TRUE(written);
    out.resize(written->size());
    return out;
  }

  void start_dtls(TimePoint now) { dtls_.emplace(now, context_, dtls::Role::client, fingerprint_); }

  /// What it wants to send now.
  std::vector<Bytes> poll() {
    std::vector<Bytes> out = std::exchange(replies_, {});
    while (dtls_) {
      auto output = dtls_->poll_output();
      if (!output) break;
      if (const auto* send = std::get_if<dtls::Connection::Send>(&*output)) {
        out.push_back(to_bytes(send->datagram));
      } else if (const auto* established = std::get_if<dtls::Connection::Established>(&*output)) {
        const auto profile = static_cast<srtp::Profile>(established->keys.profile);
        sender_.emplace(profile, established->keys.send_key.view(), established->keys.send_salt.view());
        receiver_.emplace(profile, established->keys.receive_key.view(), established->keys.receive_salt.view());
      } else {
        closed_ = true;
      }
    }
    return out;
  }

  void handle(TimePoint now, ByteView datagram) {
    if (stun::looks_like_stun(datagram)) {
      const auto message = stun::parse(datagram);
      ASSERT_TRUE(message);
      if (message->message_class == stun::MessageClass::request) { // a check before media moves
        const bool ours = stun::verify(*message, as_bytes(own_.password)).has_value();
        if (!ours && others_use_its_address) return;
        ASSERT_TRUE(ours);
        EXPECT_EQ(message->username, own_.ufrag + ":" + remote_.ufrag);
        ++checks_received_;
        if (!answers_checks) return;
        Bytes out(stun::max_written_size);
        const auto written = stun::write_binding_success(message->transaction, TransportAddress::v4({127, 0, 0, 1}, 5000), as_bytes(own_.password), out);
        ASSERT_TRUE(written);
        out.resize(written->size());
        replies_.push_back(std::move(out));
        return;
      }
      const bool ours = stun::verify(*message, as_bytes(remote_.password)).has_value();
      if (!ours && others_use_its_address) return;
      ASSERT_TRUE(ours);
      ++answered_checks_;
    } else if (datagram[0] >= 20 && datagram[0] < 64) {
      if (dtls_) dtls_->handle_datagram(now, datagram);
    } else {
      media_.push_back(to_bytes(datagram));
    }
  }

  void handle_timeout(TimePoint now) {
    if (dtls_) dtls_->handle_timeout(now);
  }
  std::optional<TimePoint> next_deadline() const { return dtls_ ? dtls_->next_deadline() : std::nullopt; }
  void close() { dtls_->close(); }

  bool connected() const { return sender_.has_value(); }
  bool closed() const { return closed_; }
  bool answers_checks = true;
  bool others_use_its_address = false; ///< so that answers for them come here
  int checks_received() const { return checks_received_; }
  int answered_checks() const { return answered_checks_; }
  srtp::Sender& sender() { return *sender_; }
  srtp::Receiver& receiver() { return *receiver_; }

 private:
  const dtls::Context& context_;
  ice::Credentials own_, remote_;
  dtls::Fingerprint fingerprint_;
  std::uint8_t transaction_ = 0;
  int answered_checks_ = 0;
  std::optional<dtls::Connection> dtls_;
  std::optional<srtp::Sender> sender_;
  std::optional<srtp::Receiver> receiver_;
  std::vector<Bytes> media_, replies_;
  int checks_received_ = 0;
  bool closed_ = false;
};

} // namespace satsuma::sfu::test
