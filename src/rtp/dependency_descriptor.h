#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode dd_truncated{"dd_truncated", ErrorKind::peer};
inline constexpr ErrorCode dd_bad_structure{"dd_bad_structure", ErrorKind::peer};
inline constexpr ErrorCode dd_too_large{"dd_too_large", ErrorKind::peer};
/// A packet speaks of templates that no structure has told.
inline constexpr ErrorCode dd_no_structure{"dd_no_structure", ErrorKind::peer};

/// The dependency descriptor (AV1 RTP payload specification, appendix A): which layers a frame belongs to and for whom it can be left out. It
/// stands in a header extension, so that it can be read whatever the payload is, and whoever cannot read the payload needs nothing else.

inline constexpr std::size_t max_dd_templates = 64;      // A.8.4: a template id has six bits
inline constexpr std::size_t max_dd_decode_targets = 32; // dt_cnt_minus_one has five
inline constexpr std::size_t max_dd_spatial_layers = 4;
inline constexpr std::size_t max_dd_temporal_layers = 8;
inline constexpr std::size_t max_dd_frame_differences = 8; ///< of a frame; browsers write up to 4 or 5
/// What rewriting may add: five flags and the longest bitmask.
inline constexpr std::size_t max_dd_growth = 5;
/// Longer ones are not taken: rewritten they would not fit a header extension (RFC 8285 s.4.3).
inline constexpr std::size_t max_dd_size = 255 - max_dd_growth;

/// What a decode target makes of a frame (A.8.3, DTI).
enum class DecodeTargetIndication : std::uint8_t { not_present = 0, discardable = 1, switch_here = 2, required = 3 };

struct DependencyTemplate {
  std::uint8_t spatial = 0;
  std::uint8_t temporal = 0;
  std::array<DecodeTargetIndication, max_dd_decode_targets> indications{};
};

/// Comes with a key frame, and holds until the next.
struct DependencyStructure {
  std::uint8_t first_template = 0;
  std::uint8_t template_count = 0;
  std::uint8_t decode_target_count = 0;
  std::uint8_t chain_count = 0;
  std::uint8_t spatial_layers = 1;
  std::uint8_t temporal_layers = 1;
  std::array<DependencyTemplate, max_dd_templates> templates{};
  /// The layers that each decode target shows: the highest of the frames that are present for it.
  std::array<std::uint8_t, max_dd_decode_targets> target_spatial{};
  std::array<std::uint8_t, max_dd_decode_targets> target_temporal{};
  /// Of each spatial layer, if the structure tells (A.8.4, resolutions_present_flag); else 0.
  std::array<std::uint16_t, max_dd_spatial_layers> widths{};
  std::array<std::uint16_t, max_dd_spatial_layers> heights{};
};

/// Where in a value its bitmask of active decode targets stands, or would: all that it takes to write another.
struct DependencyDescriptorLayout {
  std::uint16_t targets_at = 0; ///< bits from the beginning
  std::uint8_t target_count = 0;
  bool has_targets = false;
  bool has_structure() const { return targets_at > first_targets_at; }
  static constexpr std::uint16_t first_targets_at = 29; ///< A.8.3: behind the frame number and five flags, if no structure stands there
};

struct DependencyDescriptor {
  bool start_of_frame = false;
  bool end_of_frame = false;
  std::uint16_t frame_number = 0;
  std::uint8_t template_id = 0;
  std::uint8_t spatial = 0;
  std::uint8_t temporal = 0;
  bool has_structure = false; ///< a key frame begins a coded video sequence here
  /// Empty: all decode targets are active.
  std::optional<std::uint32_t> active_decode_targets;
  std::uint8_t decode_target_count = 0;
  std::array<DecodeTargetIndication, max_dd_decode_targets> indications{};
  DependencyDescriptorLayout layout;
};

/// Of the decode targets those that show no more than these layers.
std::uint32_t targets_up_to(const DependencyStructure& structure, std::uint8_t spatial, std::uint8_t temporal);

/// Parses one extension value. `structure` is what the stream has told so far, and is replaced if this value brings another; it is left as it
/// was when parsing fails. Bounded: reads only within `value`, and loops only as often as the limits above say.
Result<DependencyDescriptor> parse_dependency_descriptor(ByteView value, std::optional<DependencyStructure>& structure);

/// Writes `value`, which has the layout, with another frame number, and with these decode targets as the active ones; without `targets` it says of
/// them what it said. All else stays as it was, templates and frame differences too: frames that are left out leave a gap in the numbers, and nobody
/// who is to have what is left depends on them (A.4). `out` has max_dd_growth bytes more than `value`. bytes_no_space if not; dd_truncated
/// for what no parser has seen.
Result<MutableByteView> rewrite_dependency_descriptor(ByteView value, const DependencyDescriptorLayout& layout, std::uint16_t frame_number,
                                                      std::optional<std::uint32_t> targets, MutableByteView out);

} // namespace satsuma::rtp
