#include "dtls/connection.h"
