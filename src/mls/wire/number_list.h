#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <variant>
#include <vector>

namespace satsuma::mls {

/// Numbers of the registries, as capabilities list them. Like a vector, but up to eleven stand in place: everyone in a group has five such lists, most of
/// them of one or two.
class NumberList {
 public:
  NumberList() = default;
  NumberList(std::initializer_list<std::uint16_t> values) {
    for (const std::uint16_t value : values) push_back(value);
  }

  void push_back(std::uint16_t value) {
    if (Few* few = std::get_if<Few>(&held_)) {
      if (few->count < few->values.size()) {
        few->values[few->count++] = value;
        return;
      }
      held_ = std::vector<std::uint16_t>(few->values.begin(), few->values.end());
    }
    std::get_if<std::vector<std::uint16_t>>(&held_)->push_back(value);
  }
  void clear() { held_ = Few{}; }

  std::span<const std::uint16_t> view() const {
    if (const Few* few = std::get_if<Few>(&held_)) return std::span(few->values).first(few->count);
    return *std::get_if<std::vector<std::uint16_t>>(&held_);
  }
  auto begin() const { return view().begin(); }
  auto end() const { return view().end(); }
  std::size_t size() const { return view().size(); }
  bool empty() const { return view().empty(); }
  bool contains(std::uint16_t value) const { return std::ranges::find(view(), value) != view().end(); }
  friend bool operator==(const NumberList& a, const NumberList& b) { return std::ranges::equal(a.view(), b.view()); }

 private:
  struct Few {
    std::array<std::uint16_t, 11> values;
    std::uint8_t count;
  };
  std::variant<Few, std::vector<std::uint16_t>> held_{}; // begins as zeros
};

} // namespace satsuma::mls
