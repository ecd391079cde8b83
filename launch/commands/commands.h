// One function a command; each is in the file of its name.
#pragma once

#include "launch/program.h"

namespace cskd::launch {

void add_completion(Program& program);
void add_config(Program& program);
void add_demo(Program& program);
void add_doctor(Program& program);

}  // namespace cskd::launch
