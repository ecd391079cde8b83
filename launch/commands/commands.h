// One function a command, each in the file of its name; the stages, which differ in their names alone, share one.
#pragma once

#include "launch/program.h"

namespace cskd::launch {

void add_analyze(Program& program);
void add_bench(Program& program);
void add_completion(Program& program);
void add_config(Program& program);
void add_demo(Program& program);
void add_doctor(Program& program);
void add_inspect(Program& program);
void add_plan(Program& program);
void add_replay(Program& program);
void add_report(Program& program);
void add_run(Program& program);
void add_score(Program& program);
void add_stages(Program& program);
void add_status(Program& program);
void add_sweep(Program& program);

}  // namespace cskd::launch
