#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace satsuma {

using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;

inline constexpr ErrorCode bytes_truncated{"bytes_truncated", ErrorKind::peer};
inline constexpr ErrorCode bytes_trailing{"bytes_trailing", ErrorKind::peer};
inline constexpr ErrorCode bytes_no_space{"bytes_no_space", ErrorKind::caller};
inline constexpr ErrorCode bytes_not_hex{"bytes_not_hex", ErrorKind::caller};

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }

/// Lexicographic equality; not constant in time (see base/secret.h).
bool equal(ByteView a, ByteView b);

std::string to_hex(ByteView bytes);
Result<Bytes> from_hex(std::string_view hex);

/// Reads big-endian integers and byte strings from the front of a view that it does not own.
/// A read that fails consumes nothing.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : rest_(bytes) {}

  Result<std::uint8_t> u8() { return read<std::uint8_t>(1); }
  Result<std::uint16_t> u16() { return read<std::uint16_t>(2); }
  Result<std::uint32_t> u24() { return read<std::uint32_t>(3); }
  Result<std::uint32_t> u32() { return read<std::uint32_t>(4); }
  Result<std::uint64_t> u64() { return read<std::uint64_t>(8); }
  /// A view of the next `size` bytes, valid as long as the input is.
  Result<ByteView> bytes(std::size_t size);

  ByteView rest() const { return rest_; }
  std::size_t remaining() const { return rest_.size(); }
  bool empty() const { return rest_.empty(); }
  /// bytes_trailing when something is left.
  Result<void> expect_end() const;

 private:
  template <class T>
  Result<T> read(std::size_t size) {
    if (rest_.size() < size) return bytes_truncated;
    T value = 0;
    for (std::size_t i = 0; i < size; ++i) value = static_cast<T>((value << (size > 1 ? 8 : 0)) | rest_[i]);
    rest_ = rest_.subspan(size);
    return value;
  }

  ByteView rest_;
};

/// Appends big-endian integers and byte strings to a buffer of its own, which grows.
class ByteWriter {
 public:
  ByteWriter() = default;
  explicit ByteWriter(std::size_t reserve) { bytes_.reserve(reserve); }

  void u8(std::uint8_t value) { bytes_.push_back(value); }
  void u16(std::uint16_t value) { write(value, 2); }
  void u24(std::uint32_t value) { write(value, 3); }
  void u32(std::uint32_t value) { write(value, 4); }
  void u64(std::uint64_t value) { write(value, 8); }
  void bytes(ByteView view) { bytes_.insert(bytes_.end(), view.begin(), view.end()); }

  std::size_t size() const { return bytes_.size(); }
  ByteView view() const { return bytes_; }
  MutableByteView mutable_view() { return bytes_; }
  Bytes take() && { return std::move(bytes_); }

 private:
  void write(std::uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) bytes_.push_back(static_cast<std::uint8_t>(value >> shift));
  }

  Bytes bytes_;
};

/// The same into the caller's span, for the packet path: never allocates. A write that does not fit
/// writes nothing and makes every later one fail; ask `written()` once at the end.
class SpanWriter {
 public:
  explicit SpanWriter(MutableByteView out) : out_(out) {}

  void u8(std::uint8_t value) { write(value, 1); }
  void u16(std::uint16_t value) { write(value, 2); }
  void u24(std::uint32_t value) { write(value, 3); }
  void u32(std::uint32_t value) { write(value, 4); }
  void u64(std::uint64_t value) { write(value, 8); }
  void bytes(ByteView view);
  void zeros(std::size_t count);

  bool ok() const { return ok_; }
  std::size_t size() const { return size_; }
  /// What was written, or bytes_no_space.
  Result<MutableByteView> written() const;

 private:
  void write(std::uint64_t value, int size);

  MutableByteView out_;
  std::size_t size_ = 0;
  bool ok_ = true;
};

} // namespace satsuma
