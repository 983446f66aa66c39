#pragma once

#include <map>

#include "mls/group/labels.h"
#include "mls/group/limits.h"
#include "mls/tree/tree_math.h"

namespace satsuma::mls {

namespace internal {
struct Storage;
}

inline constexpr ErrorCode mls_generation_consumed{"mls_generation_consumed", ErrorKind::peer};
inline constexpr ErrorCode mls_generation_too_far{"mls_generation_too_far", ErrorKind::peer};
inline constexpr ErrorCode mls_generations_exhausted{"mls_generations_exhausted", ErrorKind::caller};

struct MessageKey {
  SecretBytes key;
  SecretBytes nonce;
};

enum class RatchetType : std::uint8_t { handshake, application };

/// The secret tree of an epoch and the ratchets of its leaves (RFC 9420 s.9). Secrets that were used are erased: a node once
/// both children have theirs, a ratchet step once the next is there, a message key with `consume`.
class SecretTree {
 public:
  SecretTree() = default;
  SecretTree(const SuiteParameters& suite, LeafCount leaves, SecretBytes encryption_secret, const SecretTreeLimits& limits = {});

  /// The key of a generation, for receiving. It stays until `consume`, so that a message that does not open costs nothing.
  Result<const MessageKey*> find(LeafIndex leaf, RatchetType type, std::uint32_t generation);
  void consume(LeafIndex leaf, RatchetType type, std::uint32_t generation);

  struct Next {
    std::uint32_t generation;
    MessageKey key;
  };
  /// For sending: never the same again. mls_generations_exhausted after 2^32 - 1 of them.
  Result<Next> take_next(LeafIndex leaf, RatchetType type);
  std::uint32_t next_generation(LeafIndex leaf, RatchetType type) { return ratchet(leaf, type).next_generation; }

 private:
  friend struct internal::Storage;
  struct Ratchet {
    SecretBytes secret;
    std::uint32_t next_generation = 0;
    std::map<std::uint32_t, MessageKey> kept;
  };
  struct Leaf {
    Ratchet handshake;
    Ratchet application;
  };

  Leaf& open_leaf(LeafIndex leaf);
  Ratchet& ratchet(LeafIndex leaf, RatchetType type);
  MessageKey step(Ratchet& ratchet) const;

  const SuiteParameters* suite_ = nullptr;
  LeafCount leaf_count_;
  SecretTreeLimits limits_;
  std::size_t kept_ = 0; ///< in all ratchets
  std::map<NodeIndex, SecretBytes> nodes_;
  std::map<LeafIndex, Leaf> leaves_;
};

} // namespace satsuma::mls
