#pragma once

#include <gtest/gtest.h>

#include "helpers.h"
#include "sim/world.h"

namespace satsuma::call::test {

/// The simulator's world (sim/world.h) in good weather, with one room.
class World : public sim::World {
 public:
  using Person = sim::Person;
  explicit World(SessionOptions options = {}) : sim::World(options_of(options)) {}

 private:
  static sim::WorldOptions options_of(SessionOptions session) {
    sim::WorldOptions options;
    options.session = session;
    return options;
  }
};

} // namespace satsuma::call::test
