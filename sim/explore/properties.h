#pragma once

#include <string_view>

#include "abstract.h"

namespace satsuma::explore {

/// The first property of the specification that the state violates, by its name there; nullptr when all hold. `quiet`: no fair action is
/// possible. `only`: look at this one alone.
const char* violated(const Abstract& state, bool quiet, std::string_view only = {});

} // namespace satsuma::explore
