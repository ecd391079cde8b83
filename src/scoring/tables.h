// Scores as text.
#pragma once

#include <istream>
#include <set>
#include <string>
#include <vector>

#include "scoring/scorer.h"

namespace cskd::scoring {

enum class TableFormat { kTable, kCsv, kJsonLines };

// Header of a file of this format, or "". `has_bursts`: with the columns of bursts.
std::string header_text(TableFormat format, bool has_bursts = false);
// A line for one photo. kTable: for terminals, without control characters, cut to `columns`.
std::string row_text(TableFormat format, const ScoredPhoto& photo, int columns = 80, bool has_bursts = false);

// Names of the photos in what row_text() wrote before; `whole` is how many bytes of it are whole lines, for one that
// was cut off. Throws DataError for a file of another kind.
std::set<std::string> names_in(TableFormat format, const std::string& text, const std::string& file,
                               std::size_t& whole);

}  // namespace cskd::scoring
