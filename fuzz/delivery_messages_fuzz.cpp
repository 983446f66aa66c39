// Arbitrary frames of both directions: what parses must be written back byte for byte, so that no two frames mean the same.
#include <cstddef>
#include <cstdint>

#include "signaling/delivery_messages.h"

using namespace satsuma;
using namespace satsuma::signaling;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  if (const auto message = parse_client_message(input)) SATSUMA_CHECK(equal(write_client_message(*message), input));
  if (const auto message = parse_server_message(input)) SATSUMA_CHECK(equal(write_server_message(*message), input));
  if (const auto entry = parse_entry(input)) SATSUMA_CHECK(equal(write_entry(*entry), input));
  if (const auto snapshot = parse_snapshot(input)) SATSUMA_CHECK(equal(write_snapshot(*snapshot), input));
  return 0;
}
