#include "launch/completion_script.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace cskd::launch {
namespace {

std::string option_names(const CLI::App& app) {
  std::string words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words += (words.empty() ? "--" : " --") + name;
  }
  return words;
}

// The words of a fixed set of values, empty when the option has none. CLI11 names the type of such an option
// "TEXT:{a,b,c}".
std::string fixed_values(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return "";
  std::string words = type.substr(open + 1, close - open - 1);
  std::replace(words.begin(), words.end(), ',', ' ');
  return words;
}

// Cases of `$command/$previous` for the options of `app` that take a value from a fixed set.
std::string value_cases(const CLI::App& app, const std::string& command_pattern) {
  std::string cases;
  for (const CLI::Option* option : app.get_options()) {
    const std::string words = fixed_values(*option);
    if (words.empty() || option->get_lnames().empty()) continue;
    cases += fmt::format("    {}/--{}) words='{}' ;;\n", command_pattern, option->get_lnames().front(), words);
  }
  return cases;
}

// The first positional argument with a fixed set, e.g. the shell of `cskd completion`.
std::string positional_words(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty() && option->get_snames().empty()) return fixed_values(*option);
  }
  return "";
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  std::string commands;
  std::string option_cases;
  std::string values = value_cases(app, "*");
  std::string positionals;
  for (const CLI::App* command : app.get_subcommands({})) {
    const std::string& name = command->get_name();
    commands += (commands.empty() ? "" : " ") + name;
    option_cases += fmt::format("      {}) words='{} {}' ;;\n", name, option_names(*command), option_names(app));
    values += value_cases(*command, name);
    const std::string words = positional_words(*command);
    if (!words.empty()) positionals += fmt::format("      {}) words='{}' ;;\n", name, words);
  }
  return fmt::format(R"(# bash completion for {0}; made by '{0} completion bash'
_{0}_completion() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command='' word words=''
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
    case " {1} " in *" $word "*) command=$word; break ;; esac
  done
  case $command/$previous in
{2}  esac
  if [[ -z $words && $current == -* ]]; then
    case $command in
{3}      *) words='{4}' ;;
    esac
  elif [[ -z $words && -z $command ]]; then
    words='{1}'
  elif [[ -z $words ]]; then
    case $command in
{5}      *) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o filenames -F _{0}_completion {0}
)",
                     app.get_name(), commands, values, option_cases, option_names(app), positionals);
}

}  // namespace cskd::launch
