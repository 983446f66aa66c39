#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "delivery/group_gate.h"

namespace satsuma::delivery::testing {

inline constexpr ErrorCode symbolic_invalid{"symbolic_invalid", ErrorKind::peer};

/// MLS as symbols, for the rules that are the delivery service's own: a key package is 'K' and the incarnation, a group
/// info 'G' and the founder, a commit 'C', committer, count of adds, them, removes. A welcome is 'W' when there are adds.
inline IncarnationId incarnation(std::uint8_t value) {
  IncarnationId who;
  who.bytes.fill(value);
  return who;
}
inline Bytes symbol(char kind, const IncarnationId& who) {
  Bytes bytes{static_cast<std::uint8_t>(kind)};
  bytes.insert(bytes.end(), who.bytes.begin(), who.bytes.end());
  return bytes;
}
inline Bytes key_package(const IncarnationId& who) { return symbol('K', who); }
inline Bytes group_info(const IncarnationId& who) { return symbol('G', who); }
inline Bytes commit(const IncarnationId& who, const std::vector<IncarnationId>& added, const std::vector<IncarnationId>& removed,
                    std::size_t padding = 0) {
  Bytes bytes = symbol('C', who);
  bytes.push_back(static_cast<std::uint8_t>(added.size()));
  for (const auto& id : added) bytes.insert(bytes.end(), id.bytes.begin(), id.bytes.end());
  bytes.push_back(static_cast<std::uint8_t>(removed.size()));
  for (const auto& id : removed) bytes.insert(bytes.end(), id.bytes.begin(), id.bytes.end());
  bytes.insert(bytes.end(), padding, 0);
  return bytes;
}

class SymbolicGate final : public GroupGate {
 public:
  Result<IncarnationId> identify(ByteView bytes) const override { return read('K', bytes); }
  Result<IncarnationId> check_genesis(ByteView bytes) override {
    SATSUMA_TRY(const auto who, read('G', bytes));
    successor_ = 0;
    return who;
  }
  Result<CommitEffect> check_commit(std::uint64_t epoch, ByteView bytes, ByteView welcome) override {
    if (!epoch_ || *epoch_ != epoch || bytes.size() < 18) return symbolic_invalid;
    CommitEffect effect;
    SATSUMA_TRY(effect.committer, read('C', bytes.first(17)));
    bytes = bytes.subspan(17);
    const auto take = [&](auto use) {
      const std::size_t count = bytes[0];
      bytes = bytes.subspan(1);
      for (std::size_t i = 0; i < count; ++i) {
        IncarnationId who;
        std::copy_n(bytes.begin(), 16, who.bytes.begin());
        bytes = bytes.subspan(16);
        use(who);
      }
    };
    take([&](const IncarnationId& who) { effect.added.push_back({who, key_package(who)}); });
    take([&](const IncarnationId& who) { effect.removed.push_back(who); });
    if (effect.added.empty() != welcome.empty()) return symbolic_invalid;
    successor_ = epoch + 1;
    return effect;
  }
  void accept() override {
    SATSUMA_CHECK(successor_.has_value());
    epoch_ = successor_;
    successor_.reset();
  }
  void discard() override { successor_.reset(); }
  Bytes successor_state() const override { return {'S', static_cast<std::uint8_t>(*successor_)}; }
  Result<void> restore(ByteView state) override {
    if (state.size() != 2 || state[0] != 'S') return symbolic_invalid;
    epoch_ = state[1];
    return {};
  }

 private:
  static Result<IncarnationId> read(char kind, ByteView bytes) {
    if (bytes.size() != 17 || bytes[0] != kind) return symbolic_invalid;
    IncarnationId who;
    std::copy(bytes.begin() + 1, bytes.end(), who.bytes.begin());
    return who;
  }
  std::optional<std::uint64_t> epoch_;
  std::optional<std::uint64_t> successor_;
};

class SymbolicGateFactory final : public GroupGateFactory {
 public:
  std::unique_ptr<GroupGate> create() override { return std::make_unique<SymbolicGate>(); }
};

} // namespace satsuma::delivery::testing
