#include "data/image_header.h"
