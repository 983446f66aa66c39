#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/secret.h"
#include "sframe/cipher_suite.h"

namespace satsuma::call {

/// The streams of a participant.
enum class StreamContext : std::uint8_t { microphone = 0, camera = 1, screen = 2, screen_audio = 3 };
inline constexpr std::size_t stream_contexts = 4;
constexpr bool is_sound(StreamContext context) { return context == StreamContext::microphone || context == StreamContext::screen_audio; }

/// From an epoch's secret to the base key of each stream in it (docs/protocol.md, section 4). The epoch's secret is erased when its members' secrets
/// are there, a member's when its streams' are, and a base key when the stream has begun: what has been sent cannot be derived again
/// from what is left, though the epoch goes on.
class StreamSecrets {
 public:
  /// `epoch_secret` has the suite's hash size; `leaves` are the members', in order.
  StreamSecrets(sframe::CipherSuite suite, SecretBytes epoch_secret, std::uint64_t era, std::uint64_t epoch, std::vector<std::uint32_t> leaves);

  bool has_member(std::uint32_t leaf) const { return std::ranges::binary_search(leaves_, leaf); }
  /// Changes nothing. Nothing for who is not a member, and when it was destroyed.
  std::optional<SecretBytes> base_key(std::uint32_t leaf, StreamContext context) const;
  void destroy(std::uint32_t leaf, StreamContext context);

 private:
  using Streams = std::array<SecretBytes, stream_contexts>; ///< empty when destroyed

  /// Where in `members_` a member's secret begins, as long as `begun_` has no streams of it.
  std::size_t offset(std::uint32_t leaf) const;
  SecretBytes stream_key(ByteView member, StreamContext context) const;

  crypto::HashAlgorithm hash_;
  std::vector<std::uint32_t> leaves_; ///< in order
  SecretBytes members_;               ///< a secret for each, of the hash's size: of most members nothing is ever heard in an epoch
  std::map<std::uint32_t, Streams> begun_;
};

} // namespace satsuma::call
