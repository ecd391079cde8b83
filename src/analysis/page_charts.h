// The charts of an analysis, as HTML.
#pragma once

#include <string>

#include "analysis/findings.h"

namespace cskd::analysis {

// Cards with a chart for each model that has attention: heads as dots and their mean as a line, over layers.
std::string distance_charts(const Findings& findings);

// Cards with a line for each model: entropy, and the cosine of heads, over depth.
std::string entropy_chart(const Findings& findings);
std::string similarity_chart(const Findings& findings);

// Of singular values.
std::string spectrum_chart(const Findings& findings);

// Distance and entropy of the affinity of tokens, a row for each model.
std::string affinity_charts(const Findings& findings);

// A card for each share of the labels, a row for each model: linear probe and nearest neighbours.
std::string probe_charts(const Findings& findings);

// Names of the models beside their colours: of all, and of those with attention.
std::string legend(const Findings& findings);
std::string attention_legend(const Findings& findings);

}  // namespace cskd::analysis
