#include <cstdio>
#include <memory>

#include "launch/commands/commands.h"
#include "launch/completion_script.h"

namespace cskd::launch {

void add_completion(Program& program) {
  CLI::App& command = program.add_command("completion", "Print a completion script for bash",
                                          "  source <(cskd completion bash)\n"
                                          "  cskd completion bash > ~/.local/share/bash-completion/completions/cskd");
  const auto shell = std::make_shared<std::string>();
  command.add_option("SHELL", *shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  program.run_alone(command, [&program, shell] {
    std::fputs(bash_completion(program.app()).c_str(), stdout);
    return runtime::ExitCode::kDone;
  });
}

}  // namespace cskd::launch
