#include "evaluation/metrics.h"
