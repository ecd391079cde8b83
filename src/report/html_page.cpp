#include "report/html_page.h"

#include <cmath>

#include <fmt/format.h>

#include "report/html_text.h"
#include "report/page_style.h"
#include "report/plot.h"

namespace cskd::report {

std::string figure_text(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "\u2013";
}

std::string section(const std::string& heading, const std::string& note, const std::string& html) {
  return fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p>{}</section>\n", html_escaped(heading),
                     html_escaped(note), html);
}

std::string card(const std::string& heading, const std::string& note, const std::string& html) {
  return fmt::format("<figure class=\"card\"><figcaption><h3>{}</h3>{}</figcaption>{}</figure>", html_escaped(heading),
                     note.empty() ? "" : fmt::format("<p>{}</p>", html_escaped(note)), html);
}

std::string cards(const std::string& html) { return fmt::format("<div class=\"cards\">{}</div>", html); }

std::string table(const std::string& head, const std::string& rows) {
  return fmt::format("<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>", head,
                     rows);
}

std::string column(const std::string& name, const std::string& below) {
  return fmt::format("<th scope=\"col\">{}{}</th>", html_escaped(name),
                     below.empty() ? "" : fmt::format("<small>{}</small>", html_escaped(below)));
}

std::string details(const std::string& summary, const std::string& html) {
  return fmt::format("<details><summary>{}</summary>{}</details>", html_escaped(summary), html);
}

std::string legend(const std::vector<LegendEntry>& entries) {
  std::string html;
  for (const LegendEntry& entry : entries)
    html += fmt::format("<li><span class=\"swatch s{}\"></span>{}</li>", entry.series % kSeriesColours,
                        html_escaped(entry.name));
  return fmt::format("<ul class=\"legend\">{}</ul>", html);
}

std::string breakable(const std::string& name) {
  std::string text = html_escaped(name);
  if (const std::size_t dot = text.find('.'); dot != std::string::npos) text.insert(dot + 1, "<wbr>");
  return text;
}

std::string page(const std::string& title, const std::string& styles, const std::string& heading,
                 const std::string& lead, const std::string& html) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>{}</title><style>{}{}</style></head><body><main>\n"
      "<header><h1>{}</h1><p class=\"lead\">{}</p></header>\n{}\n</main></body></html>\n",
      html_escaped(title), kPageStyle, styles, html_escaped(heading), html_escaped(lead), html);
}

}  // namespace cskd::report
