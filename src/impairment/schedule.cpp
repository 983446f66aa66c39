#include "impairment/schedule.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace satsuma::impairment {

namespace {

constexpr double max_seconds = 24 * 3600;
constexpr double max_rate = 1e11;
constexpr double max_burst = 1e6;

/// A number that takes up the whole text; neither signs, nor "inf", nor exponents.
std::optional<double> number(std::string_view text) {
  if (text.empty() || text.size() > 24 || text.find_first_not_of("0123456789.") != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Duration> duration(std::string_view text) {
  double unit = 0;
  if (text.ends_with("ms")) {
    unit = 1e-3;
    text.remove_suffix(2);
  } else if (text.ends_with("s")) {
    unit = 1;
    text.remove_suffix(1);
  } else {
    return std::nullopt;
  }
  const auto value = number(text);
  if (!value || *value * unit > max_seconds) return std::nullopt;
  return Duration(static_cast<Duration::rep>(*value * unit * 1e6 + 0.5));
}

std::optional<double> fraction(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  const auto value = number(text);
  if (!value || *value > (percent ? 100 : 1)) return std::nullopt;
  return percent ? *value / 100 : *value;
}

std::optional<std::uint64_t> rate(std::string_view text) {
  if (text == "none") return 0;
  double unit = 1;
  if (text.ends_with('k')) unit = 1e3;
  if (text.ends_with('M')) unit = 1e6;
  if (unit > 1) text.remove_suffix(1);
  const auto value = number(text);
  // 0 would mean the opposite of what it says: `outage=on` is the word for that.
  if (!value || *value * unit < 1 || *value * unit > max_rate) return std::nullopt;
  return static_cast<std::uint64_t>(*value * unit);
}

template <class T>
bool assign(T& to, const std::optional<T>& value) {
  if (value) to = *value;
  return value.has_value();
}

Result<void> apply(Conditions& c, std::string_view name, std::string_view value) {
  bool good = false;
  if (name == "loss") good = assign(c.loss, fraction(value));
  else if (name == "burst") good = assign(c.burst, number(value)) && c.burst >= 1 && c.burst <= max_burst;
  else if (name == "burst_loss") good = assign(c.burst_loss, fraction(value)) && c.burst_loss > 0;
  else if (name == "delay") good = assign(c.delay, duration(value));
  else if (name == "jitter") good = assign(c.jitter, duration(value));
  else if (name == "reorder") good = assign(c.reorder, fraction(value));
  else if (name == "reorder_by") good = assign(c.reorder_by, duration(value));
  else if (name == "duplicate") good = assign(c.duplicate, fraction(value));
  else if (name == "rate") good = assign(c.rate, rate(value));
  else if (name == "queue") good = assign(c.queue, duration(value));
  else if (name == "outage") {
    good = value == "on" || value == "off";
    c.outage = value == "on";
  } else return schedule_bad_setting;
  if (!good) return schedule_bad_value;
  return {};
}

} // namespace

Result<Schedule> Schedule::parse(std::string_view text, Direction direction) {
  if (text.size() > max_schedule_size) return schedule_too_large;
  Schedule schedule;
  const std::string_view own = direction == Direction::up ? "up." : "down.";
  const std::string_view others = direction == Direction::up ? "down." : "up.";
  while (true) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    std::string_view word = text.substr(0, text.find_first_of(" \t\r\n"));
    text.remove_prefix(word.size());
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) {
      const auto at = duration(word);
      if (!at) return schedule_bad_setting;
      if (*at <= schedule.steps_.back().at) return schedule_not_in_order;
      if (schedule.steps_.size() == max_schedule_steps) return schedule_too_large;
      const Conditions before = schedule.steps_.back().conditions;
      schedule.steps_.push_back({*at, before});
      continue;
    }
    std::string_view name = word.substr(0, equals);
    // A setting for the other direction must be right as well, so that a mistake is told whichever is parsed first.
    Conditions ignored = schedule.steps_.back().conditions;
    Conditions* target = &schedule.steps_.back().conditions;
    if (name.starts_with(own)) {
      name.remove_prefix(own.size());
    } else if (name.starts_with(others)) {
      name.remove_prefix(others.size());
      target = &ignored;
    }
    SATSUMA_TRY_VOID(apply(*target, name, word.substr(equals + 1)));
  }
  return schedule;
}

const Conditions& Schedule::at(Duration since_start) const {
  const auto later = std::upper_bound(steps_.begin(), steps_.end(), since_start, [](Duration t, const Step& step) { return t < step.at; });
  return later == steps_.begin() ? steps_.front().conditions : std::prev(later)->conditions;
}

} // namespace satsuma::impairment
