#pragma once

#include <cstdint>
#include <expected>
#include <string_view>
#include <utility>

namespace satsuma {

/// Whose fault a failure is; it decides who hears of it.
enum class ErrorKind : std::uint8_t {
  peer,        ///< what arrived from the network breaks a rule
  environment, ///< our machine failed us: disk, socket, library
  caller,      ///< the calling code or its user asked for something that cannot be had
};

/// A failure, named after the rule that was broken. Each module defines its own as
/// `inline constexpr ErrorCode mls_epoch_mismatch{"mls_epoch_mismatch", ErrorKind::peer};`
struct ErrorCode {
  std::string_view name;
  ErrorKind kind;

  constexpr ErrorCode(std::string_view n, ErrorKind k) : name(n), kind(k) {}
  ErrorCode(const ErrorCode&) = delete; // identity is the address
  ErrorCode& operator=(const ErrorCode&) = delete;
};

/// A reference to an ErrorCode; two errors are equal when they name the same code.
class Error {
 public:
  constexpr Error(const ErrorCode& code) : code_(&code) {} // NOLINT: implicit on purpose
  constexpr std::string_view name() const { return code_->name; }
  constexpr ErrorKind kind() const { return code_->kind; }
  friend constexpr bool operator==(const Error& a, const Error& b) { return a.code_->name == b.code_->name; }

 private:
  const ErrorCode* code_;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
  Result(const ErrorCode& code) : std::expected<T, Error>(std::unexpected(Error(code))) {} // NOLINT
  Result(const Error& error) : std::expected<T, Error>(std::unexpected(error)) {}          // NOLINT
};

/// Prints where and ends the process. For what cannot happen unless our own code is wrong.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

} // namespace satsuma

/// Holds in release builds too.
#define SATSUMA_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::satsuma::check_failed(#condition, __FILE__, __LINE__))

#define SATSUMA_CONCAT_INNER(a, b) a##b
#define SATSUMA_CONCAT(a, b) SATSUMA_CONCAT_INNER(a, b)
#define SATSUMA_TRY_INNER(result, declaration, ...) \
  auto result = (__VA_ARGS__);                      \
  if (!result) return result.error();               \
  declaration = std::move(*result)

/// `SATSUMA_TRY(auto header, parse_header(reader));` declares `header`, or returns the error.
#define SATSUMA_TRY(declaration, ...) \
  SATSUMA_TRY_INNER(SATSUMA_CONCAT(satsuma_result_, __COUNTER__), declaration, __VA_ARGS__)

/// `SATSUMA_TRY_VOID(verify(x));` for a Result<void>, or where the value is not wanted.
#define SATSUMA_TRY_VOID(...)                                              \
  do {                                                                     \
    if (auto satsuma_result = (__VA_ARGS__); !satsuma_result) return satsuma_result.error(); \
  } while (false)
