#include "base/bytes.h"

#include <algorithm>
#include <cstring>

namespace satsuma {

bool equal(ByteView a, ByteView b) { return std::ranges::equal(a, b); }

std::string to_hex(ByteView bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (std::uint8_t byte : bytes) {
    hex.push_back(digits[byte >> 4]);
    hex.push_back(digits[byte & 15]);
  }
  return hex;
}

namespace {
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
} // namespace

Result<Bytes> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return bytes_not_hex;
  Bytes bytes(hex.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return bytes_not_hex;
    bytes[i] = static_cast<std::uint8_t>(16 * high + low);
  }
  return bytes;
}

Result<ByteView> ByteReader::bytes(std::size_t size) {
  if (rest_.size() < size) return bytes_truncated;
  const ByteView view = rest_.first(size);
  rest_ = rest_.subspan(size);
  return view;
}

Result<void> ByteReader::expect_end() const {
  if (!rest_.empty()) return bytes_trailing;
  return {};
}

void SpanWriter::bytes(ByteView view) {
  ok_ = ok_ && view.size() <= out_.size() - size_;
  if (!ok_) return;
  if (!view.empty()) std::memcpy(out_.data() + size_, view.data(), view.size());
  size_ += view.size();
}

void SpanWriter::zeros(std::size_t count) {
  ok_ = ok_ && count <= out_.size() - size_;
  if (!ok_) return;
  if (count != 0) std::memset(out_.data() + size_, 0, count);
  size_ += count;
}

void SpanWriter::write(std::uint64_t value, int size) {
  ok_ = ok_ && static_cast<std::size_t>(size) <= out_.size() - size_;
  if (!ok_) return;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) out_[size_++] = static_cast<std::uint8_t>(value >> shift);
}

Result<MutableByteView> SpanWriter::written() const {
  if (!ok_) return bytes_no_space;
  return out_.first(size_);
}

} // namespace satsuma
