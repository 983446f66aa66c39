#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace satsuma::sframe {

inline constexpr ErrorCode sframe_malformed{"sframe_malformed", ErrorKind::peer};

/// RFC 9605 s.4.3: one byte of configuration, then the key id and the counter, each only as long as it must be.
struct Header {
  std::uint64_t key_id = 0;
  std::uint64_t counter = 0;
};

inline constexpr std::size_t max_header_size = 17;

struct ParsedHeader {
  Header header;
  std::size_t size; ///< bytes it took, from the front
};

/// sframe_malformed when cut short. Longer encodings of a value than needed are accepted: the header is authenticated.
Result<ParsedHeader> parse_header(ByteView frame);

std::size_t header_size(const Header& header);
/// The shortest encoding. Returns the bytes written; `out` has room for header_size().
std::size_t write_header(const Header& header, MutableByteView out);

} // namespace satsuma::sframe
