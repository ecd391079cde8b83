// Parts of self-contained HTML pages in the style of report/page_style.h. Texts are escaped here, `html` is not.
#pragma once

#include <string>
#include <vector>

namespace cskd::report {

// With so many digits; a dash where it is not finite.
std::string figure_text(double value, int digits);

// A heading, a sentence below it, and what follows.
std::string section(const std::string& heading, const std::string& note, const std::string& html);
// A chart with its heading; `note` may be empty.
std::string card(const std::string& heading, const std::string& note, const std::string& html);
// Cards side by side, as many as fit.
std::string cards(const std::string& html);
// A table that scrolls sideways where it is too wide. `head` and `rows`: <th> and <tr> elements.
std::string table(const std::string& head, const std::string& rows);
std::string column(const std::string& name, const std::string& below = "");
// What opens when it is asked for.
std::string details(const std::string& summary, const std::string& html);

// Names beside the colours of their series.
struct LegendEntry {
  std::string name;
  int series = 0;
};
std::string legend(const std::vector<LegendEntry>& entries);

// A name that may be cut behind its dot, where columns are narrow.
std::string breakable(const std::string& name);

// The whole document: no script, no network. `styles`: CSS beside that of every page.
std::string page(const std::string& title, const std::string& styles, const std::string& heading,
                 const std::string& lead, const std::string& html);

}  // namespace cskd::report
