#include "stun/message.h"
