#include <cstdio>
#include <cstdlib>
#include <string>

#include <spdlog/spdlog.h>

#include "launch/commands/commands.h"
#include "launch/program.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/open_files.h"

namespace {

// A launcher may end with 0 although ranks were killed, and with 1 although they ended with 75: who started cskd asks
// it.
void tell_exit_code(int code) {
  const char* file = std::getenv("CSKD_EXIT_CODE_FILE");
  if (file == nullptr || *file == '\0') return;
  try {
    cskd::runtime::write_file_atomically(file, std::to_string(code) + "\n");
  } catch (const cskd::runtime::Error& error) {
    spdlog::warn("{}", error.what());
  }
}

// Ends the process without the destructors of what lives until then: those of LibTorch's tables take a third of a
// second, and give back nothing but memory. Sanitizers look for leaks after them.
int leave(int code) {
  tell_exit_code(code);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  spdlog::shutdown();
  std::fflush(nullptr);
  std::_Exit(code);
#endif
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  cskd::runtime::raise_open_files_limit();
  cskd::launch::Program program;
  cskd::launch::add_run(program);
  cskd::launch::add_sweep(program);
  cskd::launch::add_plan(program);
  cskd::launch::add_replay(program);
  cskd::launch::add_report(program);
  cskd::launch::add_stages(program);
  cskd::launch::add_analyze(program);
  cskd::launch::add_score(program);
  cskd::launch::add_demo(program);
  cskd::launch::add_doctor(program);
  cskd::launch::add_inspect(program);
  cskd::launch::add_status(program);
  cskd::launch::add_bench(program);
  cskd::launch::add_config(program);
  cskd::launch::add_completion(program);
  return leave(program.run(argc, argv));
}
