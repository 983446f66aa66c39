// What tells layers apart: the dependency descriptor with the structure that a stream keeps, VP8's and VP9's payload descriptors.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "rtp/dependency_descriptor.h"
#include "rtp/key_frame.h"
#include "rtp/vp8.h"
#include "rtp/vp9.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satsuma;
  using namespace satsuma::rtp;
  ByteView rest(data, size);
  std::optional<DependencyStructure> structure;
  // Extension values of one stream, one after the other, each behind its size.
  for (int i = 0; i < 16 && !rest.empty(); ++i) {
    const std::size_t length = std::min<std::size_t>(rest[0], rest.size() - 1);
    const ByteView value = rest.subspan(1, length);
    rest = rest.subspan(1 + length);
    const auto before = structure;
    const auto descriptor = parse_dependency_descriptor(value, structure);
    if (!descriptor) {
      if (before.has_value() != structure.has_value()) std::abort(); // a failure leaves it as it was
      continue;
    }
    if (!structure || structure->template_count == 0 || structure->template_count > max_dd_templates) std::abort();
    if (descriptor->spatial >= max_dd_spatial_layers || descriptor->temporal >= max_dd_temporal_layers) std::abort();
    if (descriptor->decode_target_count > max_dd_decode_targets) std::abort();
    // Rewritten it says the same, but for what was to be said otherwise.
    std::uint8_t out[max_dd_size + max_dd_growth];
    const std::uint32_t all = descriptor->decode_target_count == 32 ? ~std::uint32_t{0} : (1U << descriptor->decode_target_count) - 1;
    const std::uint32_t targets = static_cast<std::uint32_t>(size * 0x9e3779b9U) & all;
    const auto rewritten = rewrite_dependency_descriptor(value, descriptor->layout, static_cast<std::uint16_t>(size), targets, out);
    if (!rewritten) std::abort();
    auto known = before;
    if (rewritten->size() <= max_dd_size) {
      const auto again = parse_dependency_descriptor(*rewritten, known);
      if (!again || again->frame_number != static_cast<std::uint16_t>(size) || again->active_decode_targets != targets ||
          again->indications != descriptor->indications || again->has_structure != descriptor->has_structure ||
          again->template_id != descriptor->template_id || known->decode_target_count != structure->decode_target_count ||
          known->widths != structure->widths || known->heights != structure->heights)
        std::abort();
    }
    // Whatever layout somebody makes up, nothing is written beyond the end.
    const DependencyDescriptorLayout made_up{static_cast<std::uint16_t>(value.empty() ? 0 : value[0] * 9), static_cast<std::uint8_t>(length), (length & 1) != 0};
    static_cast<void>(rewrite_dependency_descriptor(value, made_up, 1, targets, out));
    static_cast<void>(parse_vp9_descriptor(value));
    static_cast<void>(starts_av1_sequence(value));
    static_cast<void>(starts_h264_key_frame(value));
    if (const auto vp8 = parse_vp8_descriptor(value); vp8 && vp8->size > value.size()) std::abort();
  }
  return 0;
}
