#include "sfu/layer_allocator.h"

#include <algorithm>

namespace satsuma::sfu {

namespace {

/// A step up is paid for with so much more than it takes.
constexpr std::int64_t margin_percent = 15;

} // namespace

std::int64_t allocate_layers(std::int64_t budget, std::span<LayerDemand> demands) {
  std::sort(demands.begin(), demands.end(), [](const LayerDemand& a, const LayerDemand& b) { return a.priority > b.priority; });
  std::int64_t used = 0;
  const auto take = [&](LayerDemand& demand, std::size_t option) {
    const std::int64_t before = demand.chosen ? demand.options[*demand.chosen].bitrate : 0;
    const std::int64_t more = demand.options[option].bitrate - before;
    const bool rises = !demand.current || option > *demand.current;
    const std::int64_t price = rises ? more + demand.options[option].bitrate * margin_percent / 100 : more;
    if (used + price > budget) return false;
    used += more;
    demand.chosen = option;
    return true;
  };
  for (LayerDemand& demand : demands) {
    demand.chosen.reset();
    if (demand.option_count == 0 || take(demand, 0)) continue;
    // What flows already and has nothing lower is kept as long as half of it fits: estimates err, and a picture that goes and comes is worse than one
    // that stutters.
    if (demand.current && used + demand.options[0].bitrate / 2 <= budget) {
      used += demand.options[0].bitrate;
      demand.chosen = 0;
    }
  }
  for (bool any = true; any;) {
    any = false;
    for (LayerDemand& demand : demands)
      if (demand.chosen && *demand.chosen + 1 < demand.option_count && take(demand, *demand.chosen + 1)) any = true;
  }
  return used;
}

} // namespace satsuma::sfu
