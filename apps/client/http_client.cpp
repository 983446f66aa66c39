#include "http_client.h"

#include <array>

#include "io/clock.h"

namespace satsuma::client {

HttpClient::~HttpClient() {
  for (auto& [descriptor, exchange] : exchanges_) {
    loop_.cancel(exchange->deadline);
    loop_.forget(descriptor);
  }
  for (const EventLoop::TimerId& failure : failures_) loop_.cancel(failure);
}

void HttpClient::get(TimePoint now, const std::string& path, Duration patience, Done done) {
  begin(now, "GET " + path + " HTTP/1.0\r\nHost: " + server_.authority() + "\r\n\r\n", patience, std::move(done));
}

void HttpClient::post(TimePoint now, const std::string& path, const std::string& json, Duration patience, Done done) {
  begin(now,
        "POST " + path + " HTTP/1.0\r\nHost: " + server_.authority() + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) + "\r\n\r\n" + json, patience,
        std::move(done));
}

std::string HttpClient::problem(const Error& error) const {
  const std::string where = std::string(server_.tls ? "https" : "http") + "://" + server_.authority();
  if (error == Error(io::stream_connect_failed)) return "Nothing answers at " + where + ".";
  if (error == Error(io::stream_wrong_certificate)) return "The certificate of " + where + " cannot be trusted. --pin FINGERPRINT trusts exactly one, --insecure trusts any.";
  if (error == Error(io::stream_tls_failed)) return "TLS with " + where + " failed; is it http:// there?";
  if (error == Error(http_incomplete)) return where + " hung up in the middle of an answer.";
  return "What answers at " + where + " is no HTTP that can be read (" + std::string(error.name()) + ").";
}

void HttpClient::begin(TimePoint now, std::string request, Duration patience, Done done) {
  auto stream = io::ClientStream::connect(host_.address, host_.tls ? &*host_.tls : nullptr, server_.host);
  if (!stream) { // never from within the call
    const auto id = std::make_shared<EventLoop::TimerId>();
    *id = loop_.at(now, [this, id, done = std::move(done), text = problem(stream.error())](TimePoint at) {
      failures_.erase(*id);
      done(at, std::unexpected(text));
    });
    failures_.insert(*id);
    return;
  }
  const int descriptor = stream->descriptor();
  const auto deadline = loop_.at(now + patience, [this, descriptor, patience](TimePoint) {
    finish(descriptor, std::unexpected(server_.authority() + " has not answered within " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(patience).count()) + " s."));
  });
  exchanges_[descriptor] = std::make_unique<Exchange>(std::move(*stream), std::move(request), HttpReader(), std::move(done), deadline);
  loop_.watch(descriptor, [this, descriptor] { advance(descriptor); });
  loop_.want_write(descriptor, true);
}

void HttpClient::advance(int descriptor) {
  Exchange& exchange = *exchanges_.at(descriptor);
  const auto ready = exchange.stream.advance();
  if (!ready) return finish(descriptor, std::unexpected(problem(ready.error())));
  while (*ready && !exchange.outgoing.empty()) {
    const auto put = exchange.stream.write(as_bytes(exchange.outgoing));
    if (!put) return finish(descriptor, std::unexpected(problem(http_incomplete)));
    if (*put == 0) break;
    exchange.outgoing.erase(0, *put);
  }
  std::array<std::uint8_t, 16 * 1024> bytes;
  while (*ready) {
    const auto got = exchange.stream.read(bytes);
    bool over = !got; // the end of the connection is that of the response
    if (got && *got == 0) break;
    if (got) {
      if (const auto taken = exchange.reader.append(ByteView(bytes).first(*got)); !taken) return finish(descriptor, std::unexpected(problem(taken.error())));
      over = exchange.reader.complete();
    }
    if (!over) continue;
    auto response = exchange.reader.finish();
    if (!response) return finish(descriptor, std::unexpected(problem(response.error())));
    return finish(descriptor, std::move(*response));
  }
  loop_.want_write(descriptor, exchange.stream.wants_write() || (*ready && !exchange.outgoing.empty()));
}

void HttpClient::finish(int descriptor, std::expected<HttpResponse, std::string> outcome) {
  const auto found = exchanges_.find(descriptor);
  const std::unique_ptr<Exchange> exchange = std::move(found->second); // it closes the descriptor, and may outlive us
  exchanges_.erase(found);
  loop_.cancel(exchange->deadline);
  loop_.forget(descriptor);
  exchange->done(io::monotonic_now(), std::move(outcome));
}

} // namespace satsuma::client
