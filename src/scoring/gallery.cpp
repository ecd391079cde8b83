#include "scoring/gallery.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/html_text.h"
#include "scoring/gallery_page.h"

namespace cskd::scoring {
namespace {

using Json = nlohmann::ordered_json;

// As the contents of a script element: nothing in it can end that, or begin another.
std::string inside_script(const Json& json) {
  std::string safe;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

double rounded(double value) { return std::stod(fmt::format("{:.4f}", value)); }

}  // namespace

Gallery::Gallery(const std::filesystem::path& file, const std::string& model, const std::vector<double>& bin_centres)
    : file_(file), page_{.model = model, .bin_centres = bin_centres} {
  file_.write(kGalleryHead);
}

void Gallery::add(const ScoredPhoto& photo) {
  if (!photo.error.empty()) {
    ++failed_;
    return;
  }
  std::vector<double> shares;
  for (const double share : photo.distribution) shares.push_back(rounded(share));
  const Json entry{{"n", photo.name},
                   {"s", rounded(photo.score)},
                   {"d", rounded(photo.spread)},
                   {"p", shares},
                   {"t", report::base64(photo.thumbnail)}};
  file_.write(fmt::format("<script type=\"application/json\" class=\"p\">{}</script>\n", inside_script(entry)));
}

void Gallery::finish(const std::vector<BurstPlace>& places) {
  Json page{{"model", page_.model}, {"bins", page_.bin_centres}, {"failed", failed_}};
  // Photos of the burst where it is the best of one, 1 where it is alone, 0 for the others.
  for (const BurstPlace& place : places) page["bursts"].push_back(place.is_best ? place.size : 0U);
  file_.write(fmt::format("<script type=\"application/json\" id=\"page\">{}</script>", inside_script(page)));
  file_.write(kGalleryTail);
  file_.commit();
}

}  // namespace cskd::scoring
