#include "ice/ice_lite.h"
