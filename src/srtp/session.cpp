#include "srtp/session.h"
