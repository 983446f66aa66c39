#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "sfu/encoding.h"

namespace satsuma::sfu {

/// One way to show a publication.
struct LayerOption {
  Layer layer;
  std::int64_t bitrate = 0;
};

/// What one tile of a subscriber would like.
struct LayerDemand {
  static constexpr std::size_t max_options = max_encodings * max_temporal_layers * max_spatial_layers;

  std::array<LayerOption, max_options> options{}; ///< rising in quality and bitrate
  std::size_t option_count = 0;
  std::uint32_t priority = 0;                ///< higher first
  std::optional<std::size_t> current;        ///< index of what flows; empty if nothing does
  std::optional<std::size_t> chosen;         ///< the result; empty: not to be sent

  void add(const LayerOption& option) {
    // What is no better for its price is not worth a change.
    if (option_count > 0 && option.bitrate <= options[option_count - 1].bitrate) {
      if (option.layer > options[option_count - 1].layer) options[option_count - 1] = option;
      return;
    }
    if (option_count < max_options) options[option_count++] = option;
  }
};

/// Distributes `budget` bits per second over the tiles: first each its lowest option, in the order of their priority; then rounds in the same
/// order in which each that can pay for it rises by one step. To rise above what flows takes a margin, so that a tile does not swing between
/// two layers. Returns what all chosen ones take.
std::int64_t allocate_layers(std::int64_t budget, std::span<LayerDemand> demands);

} // namespace satsuma::sfu
