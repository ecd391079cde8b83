#include "launch/commands/commands.h"
#include "launch/program.h"

int main(int argc, char** argv) {
  cskd::launch::Program program;
  cskd::launch::add_run(program);
  cskd::launch::add_stages(program);
  cskd::launch::add_demo(program);
  cskd::launch::add_doctor(program);
  cskd::launch::add_inspect(program);
  cskd::launch::add_config(program);
  cskd::launch::add_completion(program);
  return program.run(argc, argv);
}
