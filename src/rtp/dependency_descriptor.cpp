#include "rtp/dependency_descriptor.h"

#include <algorithm>

namespace satsuma::rtp {

namespace {

/// Most significant bit first. Reading past the end gives zeros and is remembered.
class BitReader {
 public:
  explicit BitReader(ByteView bytes) : bytes_(bytes) {}

  std::uint32_t read(unsigned count) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < count; ++i) value = value << 1 | bit();
    return value;
  }
  bool flag() { return bit() != 0; }
  /// A.8.1, ns(n): a number below `limit` in as few bits as it takes.
  std::uint32_t non_symmetric(std::uint32_t limit) {
    unsigned width = 0;
    for (std::uint32_t x = limit; x != 0; x >>= 1) ++width;
    if (width == 0) return 0;
    const std::uint32_t short_codes = (1U << width) - limit;
    const std::uint32_t value = read(width - 1);
    if (value < short_codes) return value;
    return (value << 1 | bit()) - short_codes;
  }
  bool overrun() const { return overrun_; }
  std::size_t position() const { return at_; }

 private:
  std::uint32_t bit() {
    const std::size_t at = at_++;
    if (at >= bytes_.size() * 8) {
      overrun_ = true;
      return 0;
    }
    return bytes_[at / 8] >> (7 - at % 8) & 1U;
  }

  ByteView bytes_;
  std::size_t at_ = 0;
  bool overrun_ = false;
};

class BitWriter {
 public:
  explicit BitWriter(MutableByteView out) : out_(out) {}

  void write(std::uint32_t value, unsigned count) {
    for (unsigned i = count; i-- > 0;) {
      if (at_ % 8 == 0) out_[at_ / 8] = 0;
      out_[at_ / 8] = static_cast<std::uint8_t>(out_[at_ / 8] | (value >> i & 1U) << (7 - at_ % 8));
      ++at_;
    }
  }
  MutableByteView written() const { return out_.first((at_ + 7) / 8); }

 private:
  MutableByteView out_;
  std::size_t at_ = 0;
};

constexpr std::size_t mandatory_bits = 24; // A.8.3: mandatory_descriptor_fields()
constexpr std::size_t flag_bits = 5;       // the beginning of extended_descriptor_fields()
constexpr std::uint32_t active_targets_flag = 1U << 3;

/// A.8.2: template_dependency_structure().
Result<DependencyStructure> parse_structure(BitReader& bits) {
  DependencyStructure s;
  s.first_template = static_cast<std::uint8_t>(bits.read(6));
  s.decode_target_count = static_cast<std::uint8_t>(bits.read(5) + 1);

  // template_layers()
  std::uint8_t spatial = 0, temporal = 0;
  enum Next : std::uint8_t { same_layer = 0, next_temporal = 1, next_spatial = 2, no_more = 3 };
  while (true) {
    if (s.template_count == max_dd_templates) return dd_bad_structure;
    s.templates[s.template_count].spatial = spatial;
    s.templates[s.template_count].temporal = temporal;
    ++s.template_count;
    s.temporal_layers = std::max<std::uint8_t>(s.temporal_layers, static_cast<std::uint8_t>(temporal + 1));
    s.spatial_layers = static_cast<std::uint8_t>(spatial + 1);
    const std::uint32_t next = bits.read(2);
    if (bits.overrun()) return dd_truncated;
    if (next == no_more) break;
    if (next == next_temporal) {
      if (++temporal == max_dd_temporal_layers) return dd_bad_structure;
    } else if (next == next_spatial) {
      temporal = 0;
      if (++spatial == max_dd_spatial_layers) return dd_bad_structure;
    }
  }
  // template_dtis()
  for (std::size_t t = 0; t < s.template_count; ++t)
    for (std::size_t d = 0; d < s.decode_target_count; ++d)
      s.templates[t].indications[d] = static_cast<DecodeTargetIndication>(bits.read(2));
  // template_fdiffs(): who depends on whom; not needed to choose layers.
  for (std::size_t t = 0; t < s.template_count; ++t) {
    for (std::size_t n = 0; bits.flag(); ++n) {
      if (n == max_dd_frame_differences) return dd_bad_structure;
      bits.read(4);
    }
    if (bits.overrun()) return dd_truncated;
  }
  // template_chains()
  s.chain_count = static_cast<std::uint8_t>(bits.non_symmetric(s.decode_target_count + 1U));
  if (s.chain_count > 0) {
    for (std::size_t d = 0; d < s.decode_target_count; ++d) bits.non_symmetric(s.chain_count);
    for (std::size_t t = 0; t < s.template_count; ++t)
      for (std::size_t c = 0; c < s.chain_count; ++c) bits.read(4);
  }
  // decode_target_layers()
  for (std::size_t d = 0; d < s.decode_target_count; ++d)
    for (std::size_t t = 0; t < s.template_count; ++t) {
      if (s.templates[t].indications[d] == DecodeTargetIndication::not_present) continue;
      s.target_spatial[d] = std::max(s.target_spatial[d], s.templates[t].spatial);
      s.target_temporal[d] = std::max(s.target_temporal[d], s.templates[t].temporal);
    }
  // render_resolutions()
  if (bits.flag())
    for (std::size_t i = 0; i < s.spatial_layers; ++i) {
      s.widths[i] = static_cast<std::uint16_t>(std::min<std::uint32_t>(bits.read(16) + 1, 0xffff));
      s.heights[i] = static_cast<std::uint16_t>(std::min<std::uint32_t>(bits.read(16) + 1, 0xffff));
    }
  if (bits.overrun()) return dd_truncated;
  return s;
}

} // namespace

Result<DependencyDescriptor> parse_dependency_descriptor(ByteView value, std::optional<DependencyStructure>& structure) {
  if (value.size() > max_dd_size) return dd_too_large;
  BitReader bits(value);
  DependencyDescriptor d;
  // A.8.3: mandatory_descriptor_fields()
  d.start_of_frame = bits.flag();
  d.end_of_frame = bits.flag();
  d.template_id = static_cast<std::uint8_t>(bits.read(6));
  d.frame_number = static_cast<std::uint16_t>(bits.read(16));
  if (bits.overrun()) return dd_truncated;

  d.layout.targets_at = DependencyDescriptorLayout::first_targets_at;
  bool custom_indications = false;
  std::optional<DependencyStructure> fresh;
  if (value.size() > 3) { // extended_descriptor_fields()
    const bool structure_present = bits.flag();
    const bool active_present = bits.flag();
    custom_indications = bits.flag();
    bits.read(2); // custom_fdiffs_flag, custom_chains_flag: what they bring comes after all that is needed here
    if (structure_present) {
      SATSUMA_TRY(fresh, parse_structure(bits));
      d.has_structure = true;
      d.active_decode_targets = std::nullopt;
    }
    const DependencyStructure* const known = fresh ? &*fresh : structure ? &*structure : nullptr;
    d.layout.targets_at = static_cast<std::uint16_t>(bits.position());
    d.layout.has_targets = active_present;
    if (active_present) {
      if (!known) return dd_no_structure;
      d.active_decode_targets = bits.read(known->decode_target_count);
    }
    if (bits.overrun()) return dd_truncated;
  }
  const DependencyStructure* const known = fresh ? &*fresh : structure ? &*structure : nullptr;
  if (!known) return dd_no_structure;
  // frame_dependency_definition()
  const std::size_t index = static_cast<std::size_t>((d.template_id + max_dd_templates - known->first_template) % max_dd_templates);
  if (index >= known->template_count) return dd_no_structure;
  const DependencyTemplate& from = known->templates[index];
  d.spatial = from.spatial;
  d.temporal = from.temporal;
  d.decode_target_count = d.layout.target_count = known->decode_target_count;
  d.indications = from.indications;
  if (custom_indications) {
    for (std::size_t t = 0; t < d.decode_target_count; ++t) d.indications[t] = static_cast<DecodeTargetIndication>(bits.read(2));
    if (bits.overrun()) return dd_truncated;
  }
  if (fresh) structure = std::move(fresh);
  return d;
}

std::uint32_t targets_up_to(const DependencyStructure& structure, std::uint8_t spatial, std::uint8_t temporal) {
  std::uint32_t targets = 0;
  for (std::size_t t = 0; t < structure.decode_target_count; ++t)
    if (structure.target_spatial[t] <= spatial && structure.target_temporal[t] <= temporal) targets |= 1U << t;
  return targets;
}

Result<MutableByteView> rewrite_dependency_descriptor(ByteView value, const DependencyDescriptorLayout& layout, std::uint16_t frame_number,
                                                      std::optional<std::uint32_t> targets, MutableByteView out) {
  if (value.size() * 8 < mandatory_bits) return dd_truncated;
  if (out.size() < value.size() + max_dd_growth) return bytes_no_space;
  BitWriter writer(out);
  writer.write(value[0], 8); // first and last packet of the frame, template
  writer.write(frame_number, 16);
  if (!targets) {
    std::copy(value.begin() + 3, value.end(), out.begin() + 3);
    return out.first(value.size());
  }
  const std::size_t bits = std::max(value.size() * 8, mandatory_bits + flag_bits); // without flags it has none of what they announce
  const std::size_t behind = layout.targets_at + (layout.has_targets ? std::size_t{layout.target_count} : 0);
  if (layout.targets_at < mandatory_bits + flag_bits || layout.target_count > max_dd_decode_targets || behind > bits) return dd_truncated;
  BitReader reader(value);
  static_cast<void>(reader.read(mandatory_bits));
  writer.write(reader.read(flag_bits) | active_targets_flag, flag_bits);
  while (reader.position() < layout.targets_at) writer.write(reader.read(1), 1);
  writer.write(*targets, layout.target_count);
  if (layout.has_targets) static_cast<void>(reader.read(layout.target_count));
  while (reader.position() < value.size() * 8) writer.write(reader.read(1), 1);
  return writer.written();
}

} // namespace satsuma::rtp
