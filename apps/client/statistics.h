#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace satsuma::client {

/// Values of which percentiles are wanted; of many, an even sample.
class Percentiles {
 public:
  void add(double value) {
    ++count_;
    if (values_.size() < max_values) values_.push_back(value);
    else {
      // Vitter's reservoir: each value so far is kept with the same chance.
      seed_ = seed_ * 6364136223846793005U + 1442695040888963407U;
      const std::uint64_t at = (seed_ >> 11) % count_;
      if (at < max_values) values_[static_cast<std::size_t>(at)] = value;
    }
    if (value > highest_) highest_ = value;
  }
  /// Those of another place, too.
  void add(const Percentiles& other) {
    if (count_ + other.count_ <= max_values) {
      values_.insert(values_.end(), other.values_.begin(), other.values_.end());
    } else {
      // Both are even samples, and so are parts of them: each gives as much as it stands for.
      const auto share = [&](const Percentiles& of) {
        return std::min(of.values_.size(), static_cast<std::size_t>(static_cast<double>(max_values) * static_cast<double>(of.count_) / static_cast<double>(count_ + other.count_)));
      };
      const std::size_t theirs = share(other);
      values_.resize(share(*this));
      values_.insert(values_.end(), other.values_.begin(), other.values_.begin() + static_cast<std::ptrdiff_t>(theirs));
    }
    count_ += other.count_;
    highest_ = std::max(highest_, other.highest_);
  }
  std::uint64_t count() const { return count_; }
  double highest() const { return highest_; }
  /// 0 when there are none.
  double at(double fraction) const {
    if (values_.empty()) return 0;
    const auto place = static_cast<std::ptrdiff_t>(fraction * static_cast<double>(values_.size() - 1) + 0.5);
    std::vector<double> values = values_;
    std::nth_element(values.begin(), values.begin() + place, values.end());
    return values[static_cast<std::size_t>(place)];
  }
  void clear() { *this = {}; }

 private:
  static constexpr std::size_t max_values = 200'000;
  std::vector<double> values_;
  std::uint64_t count_ = 0;
  double highest_ = 0;
  std::uint64_t seed_ = 1;
};

} // namespace satsuma::client
