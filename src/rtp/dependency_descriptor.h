#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode dd_truncated{"dd_truncated", ErrorKind::peer};
inline constexpr ErrorCode dd_bad_structure{"dd_bad_structure", ErrorKind::peer};
/// A packet speaks of templates that no structure has told.
inline constexpr ErrorCode dd_no_structure{"dd_no_structure", ErrorKind::peer};

/// The dependency descriptor (AV1 RTP payload specification, appendix A): which layers a frame belongs to and for whom it can be left out. It
/// stands in a header extension, so that it can be read whatever the payload is, and whoever cannot read the payload needs nothing else.

inline constexpr std::size_t max_dd_templates = 64;      // A.8.4: a template id has six bits
inline constexpr std::size_t max_dd_decode_targets = 32; // dt_cnt_minus_one has five
inline constexpr std::size_t max_dd_spatial_layers = 4;
inline constexpr std::size_t max_dd_temporal_layers = 8;
inline constexpr std::size_t max_dd_frame_differences = 8; ///< of a frame; browsers write up to 4 or 5

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
};

/// Parses one extension value. `structure` is what the stream has told so far, and is replaced if this value brings another; it is left as it
/// was when parsing fails. Bounded: reads only within `value`, and loops only as often as the limits above say.
Result<DependencyDescriptor> parse_dependency_descriptor(ByteView value, std::optional<DependencyStructure>& structure);

} // namespace satsuma::rtp
