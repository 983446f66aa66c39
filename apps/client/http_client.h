#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/time.h"
#include "event_loop.h"
#include "host.h"
#include "http_response.h"
#include "io/client_stream.h"

namespace satsuma::client {

/// Requests to one server by HTTP/1.0, or HTTPS, without blocking; a connection each, and any number at a time.
class HttpClient {
 public:
  /// A sentence for a person in place of a response.
  using Done = std::function<void(TimePoint now, std::expected<HttpResponse, std::string>)>;

  /// The loop outlives it.
  HttpClient(EventLoop& loop, Url server, Host host) : loop_(loop), server_(std::move(server)), host_(std::move(host)) {}
  HttpClient(const HttpClient&) = delete;
  /// What has not come by then does not come any more: `done` of it is not called.
  ~HttpClient();

  void get(TimePoint now, const std::string& path, Duration patience, Done done);
  void post(TimePoint now, const std::string& path, const std::string& json, Duration patience, Done done);

 private:
  struct Exchange {
    io::ClientStream stream;
    std::string outgoing;
    HttpReader reader;
    Done done;
    EventLoop::TimerId deadline;
  };
  void begin(TimePoint now, std::string request, Duration patience, Done done);
  void advance(int descriptor);
  void finish(int descriptor, std::expected<HttpResponse, std::string> outcome);
  std::string problem(const Error& error) const;

  EventLoop& loop_;
  Url server_;
  Host host_;
  std::map<int, std::unique_ptr<Exchange>> exchanges_; ///< by descriptor
  std::set<EventLoop::TimerId> failures_;              ///< that are to be told
};

} // namespace satsuma::client
