// Terminals: colours and progress bars belong on a terminal only; and what becomes of
// output that nobody reads.
//
// Note [Terminals behind a launcher]
// mpirun gives every rank a pseudo-terminal of its own for standard output, so isatty() says yes even when mpirun's
// output goes to a file. For a process that a launcher started, the launcher's own stream is asked instead.
#pragma once

#include <string>
#include <string_view>

namespace cskd::runtime {

enum class Stream : int { kOutput = 1, kError = 2 };

// True when what is written to `stream` ends on a terminal; false where that cannot be known.
bool is_terminal(Stream stream);

// is_terminal(), and the user did not set NO_COLOR (https://no-color.org).
bool wants_colours(Stream stream);

// The text without control characters but line ends and tabs, each as \x1b: names of files may hold what a terminal
// obeys.
std::string printable(std::string_view text);

// From now on writing to a pipe that nobody reads any more (head, a killed tee) fails, and does not end the process.
void outlive_pipes();

// Width of that terminal; 80 where it is not known.
int terminal_columns(Stream stream);

}  // namespace cskd::runtime
