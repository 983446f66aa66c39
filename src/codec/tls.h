#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "base/bytes.h"

/// The TLS presentation language with MLS's variable-length vectors (RFC 9420 s.2). A struct takes part by
/// having `static Result<T> parse(ByteReader&)` and `void write(ByteWriter&) const`. Nothing here allocates
/// by a length that the peer announced: every element is read from bytes that are really there.
namespace satsuma::codec {

inline constexpr ErrorCode codec_varint_invalid{"codec_varint_invalid", ErrorKind::peer};
inline constexpr ErrorCode codec_too_long{"codec_too_long", ErrorKind::peer};
inline constexpr ErrorCode codec_optional_invalid{"codec_optional_invalid", ErrorKind::peer};
inline constexpr ErrorCode codec_enum_invalid{"codec_enum_invalid", ErrorKind::peer};

inline constexpr std::uint32_t max_varint = 0x3fffffff;
inline constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

/// RFC 9420 s.2.1.2: 1, 2 or 4 bytes, and only the shortest form that fits.
Result<std::uint32_t> read_varint(ByteReader& reader);
/// `value` is at most max_varint (CHECKed: what we write has passed our own bounds).
void write_varint(ByteWriter& writer, std::size_t value);
std::size_t varint_size(std::size_t value);

/// opaque x<V>: a view into the input.
Result<ByteView> read_opaque(ByteReader& reader, std::size_t max_size = unlimited);
Result<Bytes> read_bytes(ByteReader& reader, std::size_t max_size = unlimited);
void write_opaque(ByteWriter& writer, ByteView bytes);

/// T x<V> by a function that reads one element: `Result<T>(ByteReader&)`.
template <class T, class ReadElement>
Result<std::vector<T>> read_vector_with(ByteReader& reader, ReadElement read_element, std::size_t max_elements = unlimited) {
  ByteReader attempt = reader;
  SATSUMA_TRY(const ByteView body, read_opaque(attempt));
  ByteReader elements(body);
  std::vector<T> out;
  while (!elements.empty()) {
    if (out.size() == max_elements) return codec_too_long;
    const std::size_t before = elements.remaining();
    SATSUMA_TRY(T element, read_element(elements));
    SATSUMA_CHECK(elements.remaining() < before);
    out.push_back(std::move(element));
  }
  reader = attempt;
  return out;
}

template <class T>
Result<std::vector<T>> read_vector(ByteReader& reader, std::size_t max_elements = unlimited) {
  return read_vector_with<T>(reader, [](ByteReader& r) { return T::parse(r); }, max_elements);
}

template <class T, class WriteElement>
void write_vector_with(ByteWriter& writer, const std::vector<T>& elements, WriteElement write_element) {
  ByteWriter body;
  for (const T& element : elements) write_element(body, element);
  write_opaque(writer, body.view());
}

template <class T>
void write_vector(ByteWriter& writer, const std::vector<T>& elements) {
  write_vector_with(writer, elements, [](ByteWriter& w, const T& element) { element.write(w); });
}

/// optional<T>, RFC 9420 s.2.1.1.
template <class T, class ReadValue>
Result<std::optional<T>> read_optional_with(ByteReader& reader, ReadValue read_value) {
  SATSUMA_TRY(const std::uint8_t present, reader.u8());
  if (present == 0) return std::optional<T>();
  if (present != 1) return codec_optional_invalid;
  SATSUMA_TRY(T value, read_value(reader));
  return std::optional<T>(std::move(value));
}

template <class T>
Result<std::optional<T>> read_optional(ByteReader& reader) {
  return read_optional_with<T>(reader, [](ByteReader& r) { return T::parse(r); });
}

template <class T, class WriteValue>
void write_optional_with(ByteWriter& writer, const std::optional<T>& value, WriteValue write_value) {
  writer.u8(value ? 1 : 0);
  if (value) write_value(writer, *value);
}

template <class T>
void write_optional(ByteWriter& writer, const std::optional<T>& value) {
  write_optional_with(writer, value, [](ByteWriter& w, const T& v) { v.write(w); });
}

/// The whole of `bytes` is one T; bytes_trailing when something follows.
template <class T>
Result<T> decode(ByteView bytes) {
  ByteReader reader(bytes);
  SATSUMA_TRY(T value, T::parse(reader));
  SATSUMA_TRY_VOID(reader.expect_end());
  return value;
}

template <class T>
Bytes encode(const T& value) {
  ByteWriter writer;
  value.write(writer);
  return std::move(writer).take();
}

} // namespace satsuma::codec
