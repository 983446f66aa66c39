// Arbitrary text of both directions: what parses can be written, and parses again to the same.
#include <cstddef>
#include <cstdint>

#include "signaling/control_messages.h"

using namespace satsuma;
using namespace satsuma::signaling;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = as_text(ByteView(data, size));
  if (const auto message = parse_client_control(input)) {
    const std::string text = write_client_control(*message);
    const auto again = parse_client_control(text);
    // Escapes of the input may have been longer or shorter; only what fits again must parse again.
    SATSUMA_CHECK(again.has_value() || text.size() > max_control_size);
    if (again) SATSUMA_CHECK(write_client_control(*again) == text);
  }
  if (const auto message = parse_server_control(input)) {
    const std::string text = write_server_control(*message);
    const auto again = parse_server_control(text);
    SATSUMA_CHECK(again.has_value() || text.size() > max_control_size);
    if (again) SATSUMA_CHECK(write_server_control(*again) == text);
  }
  static_cast<void>(parse_member_message(input));
  return 0;
}
