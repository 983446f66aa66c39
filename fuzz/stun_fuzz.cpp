// A datagram as STUN, and as a check to an ICE agent. The first byte says whether the check is given the right password, so that
// what lies behind authentication is reached as well.
#include <cstddef>
#include <cstdint>

#include "ice/ice_lite.h"
#include "stun/message.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ice::Credentials local{"serv", "0123456789abcdefghijkl"};
  if (size == 0) return 0;
  const bool sign = (data[0] & 1) != 0;
  const ByteView input(data + 1, size - 1);
  if (const auto message = stun::parse(input)) {
    (void)stun::verify(*message, as_bytes(local.password));
    if (message->xor_mapped_address) (void)message->xor_mapped_address->ip_text();
  }
  (void)ice::receiver_ufrag(input);

  ice::IceLite agent(local);
  SATSUMA_CHECK(agent.set_remote_ufrag("peer").has_value());
  const NetworkPath path{TransportAddress::v4({192, 0, 2, 1}, 5000), 0};
  TimePoint now{};
  if (sign && input.size() >= 16) {
    // Checks made of the input's values.
    stun::BindingRequest request;
    for (std::size_t i = 0; i < 12; ++i) request.transaction[i] = input[i];
    request.username = "serv:peer";
    request.priority = input[12];
    request.controlling = (input[13] & 1) != 0;
    request.use_candidate = (input[13] & 2) != 0;
    for (std::size_t i = 14; i < input.size(); ++i) {
      std::uint8_t buffer[stun::max_written_size];
      const auto written = stun::write_binding_request(request, as_bytes(local.password), buffer);
      SATSUMA_CHECK(written.has_value());
      const NetworkPath from{TransportAddress::v4({192, 0, 2, static_cast<std::uint8_t>(input[i] & 31)}, 5000), 0};
      now += std::chrono::milliseconds(10 * input[i]);
      agent.handle_timeout(now);
      (void)agent.handle_stun(now, from, *written);
      request.priority = input[i] * 3U;
      request.use_candidate = (input[i] & 64) != 0;
      while (const auto output = agent.poll_output()) {
        if (const auto* send = std::get_if<ice::IceLite::Send>(&*output)) {
          const auto answer = stun::parse(send->datagram);
          SATSUMA_CHECK(answer && stun::verify(*answer, as_bytes(local.password)));
        }
      }
      SATSUMA_CHECK(!agent.selected() || agent.validated(*agent.selected()));
    }
    return 0;
  }
  (void)agent.handle_stun(now, path, input);
  while (agent.poll_output()) {
  }
  // Nobody but who knows the password gets this far, and the fuzzer does not compute HMACs.
  return 0;
}
