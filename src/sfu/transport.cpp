#include "sfu/transport.h"
