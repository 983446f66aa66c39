#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace satsuma::signaling {

/// What a stream shows or sounds. The values are the SFrame contexts (docs/protocol.md, section 4) and the order of
/// the m-lines in a publish offer (section 6).
enum class Source : std::uint8_t { microphone = 0, camera = 1, screen = 2, screen_audio = 3 };

/// A mid goes into each packet's header extension, whose short form holds 16 bytes.
inline constexpr std::size_t max_mid_size = 16;

inline constexpr std::size_t source_count = 4;
inline constexpr std::array<std::string_view, source_count> source_names{"microphone", "camera", "screen", "screen_audio"};

inline std::string_view source_name(Source source) { return source_names[static_cast<std::size_t>(source)]; }

inline std::optional<Source> source_from_name(std::string_view name) {
  for (std::size_t i = 0; i < source_count; ++i)
    if (source_names[i] == name) return static_cast<Source>(i);
  return std::nullopt;
}

inline bool is_audio(Source source) { return source == Source::microphone || source == Source::screen_audio; }

/// A set of sources, as in the message `sources`.
class SourceSet {
 public:
  constexpr SourceSet() = default;
  constexpr SourceSet(std::initializer_list<Source> sources) {
    for (Source source : sources) insert(source);
  }
  constexpr void insert(Source source) { bits_ = static_cast<std::uint8_t>(bits_ | 1U << static_cast<unsigned>(source)); }
  constexpr void erase(Source source) { bits_ = static_cast<std::uint8_t>(bits_ & ~(1U << static_cast<unsigned>(source))); }
  constexpr bool contains(Source source) const { return (bits_ >> static_cast<unsigned>(source) & 1U) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(SourceSet, SourceSet) = default;

 private:
  std::uint8_t bits_ = 0;
};

} // namespace satsuma::signaling
