#include "evaluation/sweep_table.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/sampler.h"
#include "evaluation/estimate_text.h"
#include "runtime/csv_field.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::evaluation {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::uint32_t>;

// Figures of a model in one seed: of the pictures, or of a resample of them.
struct Figures {
  double srcc = 0, plcc = 0;
};

Figures figures_of(const PredictedMeans& model, const Rows& rows) {
  std::vector<double> rated(rows.size());
  std::vector<double> predicted(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rated[i] = model.rated[rows[i]];
    predicted[i] = model.predicted[rows[i]];
  }
  return {metrics::spearman(rated, predicted), metrics::pearson(rated, predicted)};
}

struct Point {
  std::string name;
  std::vector<const SweptMember*> by_seed;
};

std::string point_of(const SweptMember& member) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : member.values) {
    if (key != kSeedKey) parts.push_back(fmt::format("{}={}", key, value));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string seed_of(const SweptMember& member) {
  for (const auto& [key, value] : member.values) {
    if (key == kSeedKey) return value;
  }
  return "1";
}

std::vector<Point> points_of(const std::vector<SweptMember>& members) {
  std::vector<Point> points;
  for (const SweptMember& member : members) {
    const std::string name = point_of(member);
    auto point = std::ranges::find(points, name, &Point::name);
    if (point == points.end()) point = points.insert(points.end(), {.name = name, .by_seed = {}});
    point->by_seed.push_back(&member);
  }
  for (const Point& point : points) {
    for (const SweptMember* member : point.by_seed) {
      const auto& models = point.by_seed.front()->models;
      const bool is_alike =
          std::ranges::equal(models, member->models, {}, &PredictedMeans::model, &PredictedMeans::model);
      if (!is_alike || models.empty())
        throw runtime::DataError(fmt::format("members of the sweep with {} judged different models", point.name));
    }
  }
  return points;
}

// Draws of seeds and pictures, the same for everything that is compared.
class Draws {
 public:
  Draws(const std::vector<Point>& points, std::uint64_t seed) : seed_(seed) {
    for (const Point& point : points) {
      for (const SweptMember* member : point.by_seed) {
        const std::vector<std::string>& pictures = member->models.front().pictures;
        const auto [found, is_new] = splits_.emplace(pictures, splits_.size());
        split_of_[member] = found->second;
      }
    }
  }

  // Of one resample.
  void draw(std::uint64_t resample, std::size_t seeds) {
    runtime::Philox random(seed_, data::kStreamSweepResamples, resample);
    seeds_.resize(seeds);
    for (std::uint32_t& each : seeds_) each = random.below(static_cast<std::uint32_t>(seeds));
    rows_.resize(splits_.size());
    for (const auto& [pictures, split] : splits_) {
      rows_[split].resize(pictures.size());
      for (std::uint32_t& row : rows_[split]) row = random.below(static_cast<std::uint32_t>(pictures.size()));
    }
  }

  const Rows& seeds() const { return seeds_; }
  const Rows& rows(const SweptMember& member) const { return rows_[split_of_.at(&member)]; }

 private:
  std::uint64_t seed_;
  std::map<std::vector<std::string>, std::size_t> splits_;
  std::map<const SweptMember*, std::size_t> split_of_;
  Rows seeds_;
  std::vector<Rows> rows_;  // of each split
};

// A figure of a row and its resamples.
struct Sampled {
  double value = 0;
  std::vector<double> resampled;

  metrics::Estimate estimate() const { return metrics::percentile_interval(value, resampled); }
  Sampled minus(const Sampled& other) const {
    Sampled difference{.value = value - other.value, .resampled = resampled};
    for (std::size_t i = 0; i < resampled.size(); ++i) difference.resampled[i] -= other.resampled[i];
    return difference;
  }
};

struct RowSamples {
  SweepRow row;
  Sampled srcc, plcc;
};

std::string label_of(const SweepRow& row) {
  return row.point.empty() ? row.model : fmt::format("{} at {}", row.model, row.point);
}

}  // namespace

SweepTable make_sweep_table(const std::vector<SweptMember>& members, int resamples, std::uint64_t seed) {
  const std::vector<Point> points = points_of(members);
  std::vector<RowSamples> rows;
  SweepTable table;
  for (const SweptMember* member : points.front().by_seed) table.seeds.push_back(seed_of(*member));
  const auto each_model = [&](const auto& use) {
    std::size_t row = 0;
    for (const Point& point : points) {
      for (std::size_t model = 0; model < point.by_seed.front()->models.size(); ++model) use(point, model, row++);
    }
  };
  each_model([&](const Point& point, std::size_t model, std::size_t) {
    RowSamples& row = rows.emplace_back();
    row.row = {.point = point.name,
               .model = point.by_seed.front()->models[model].model,
               .srcc_by_seed = {},
               .srcc = {},
               .plcc = {}};
    for (const SweptMember* member : point.by_seed) {
      const PredictedMeans& means = member->models[model];
      Rows all(means.pictures.size());
      std::iota(all.begin(), all.end(), 0U);
      const Figures found = figures_of(means, all);
      row.row.srcc_by_seed.push_back(found.srcc);
      row.srcc.value += found.srcc / static_cast<double>(point.by_seed.size());
      row.plcc.value += found.plcc / static_cast<double>(point.by_seed.size());
    }
  });
  Draws draws(points, seed);
  for (int resample = 0; resample < resamples; ++resample) {
    draws.draw(static_cast<std::uint64_t>(resample), table.seeds.size());
    each_model([&](const Point& point, std::size_t model, std::size_t row) {
      std::vector<Figures> by_seed;
      for (const SweptMember* member : point.by_seed)
        by_seed.push_back(figures_of(member->models[model], draws.rows(*member)));
      Figures mean;
      for (const std::uint32_t drawn : draws.seeds()) {
        mean.srcc += by_seed[drawn].srcc / static_cast<double>(by_seed.size());
        mean.plcc += by_seed[drawn].plcc / static_cast<double>(by_seed.size());
      }
      rows[row].srcc.resampled.push_back(mean.srcc);
      rows[row].plcc.resampled.push_back(mean.plcc);
    });
  }
  const RowSamples* first_of_point = nullptr;
  std::vector<const RowSamples*> products;
  for (RowSamples& row : rows) {
    row.row.srcc = row.srcc.estimate();
    row.row.plcc = row.plcc.estimate();
    table.rows.push_back(row.row);
    if (first_of_point == nullptr || first_of_point->row.point != row.row.point) {
      first_of_point = &row;
      products.push_back(&row);
      continue;
    }
    table.differences.push_back(
        {label_of(first_of_point->row), label_of(row.row), first_of_point->srcc.minus(row.srcc).estimate()});
  }
  for (std::size_t i = 1; i < products.size(); ++i) {
    table.differences.push_back({label_of(products[i]->row), label_of(products[0]->row),
                                 products[i]->srcc.minus(products[0]->srcc).estimate()});
  }
  return table;
}

std::string to_text(const SweepTable& table) {
  std::size_t point = 0;
  std::size_t model = 5;
  for (const SweepRow& row : table.rows) {
    point = std::max(point, row.point.size() + (row.point.empty() ? 0 : 2));
    model = std::max(model, row.model.size());
  }
  std::vector<std::string> seeds;
  for (const std::string& seed : table.seeds) seeds.push_back(fmt::format("{:>8}", "seed " + seed));
  std::string text = fmt::format("  {:<{}}{:<{}} {:>7} {:>15} {:>7} {:>15} {}\n", "", point, "model", model, "SRCC",
                                 "95 % interval", "PLCC", "95 % interval", fmt::join(seeds, " "));
  for (const SweepRow& row : table.rows) {
    std::string by_seed;
    for (std::size_t i = 0; i < row.srcc_by_seed.size(); ++i)
      by_seed += fmt::format(" {:>{}.3f}", row.srcc_by_seed[i], i < seeds.size() ? seeds[i].size() : 8);
    text += fmt::format("  {:<{}}{:<{}} {:>7.3f} {:>15} {:>7.3f} {:>15}{}\n", row.point, point, row.model, model,
                        row.srcc.value, interval_text(row.srcc), row.plcc.value, interval_text(row.plcc), by_seed);
  }
  if (table.differences.empty()) return text;
  std::size_t first = 5;
  std::size_t second = 5;
  for (const SweepDifference& each : table.differences) {
    first = std::max(first, each.first.size());
    second = std::max(second, each.second.size());
  }
  text += fmt::format("\n  {:<{}} {:>7} {:>15}\n", "difference, paired", first + second + 3, "SRCC", "95 % interval");
  for (const SweepDifference& each : table.differences) {
    text += fmt::format("  {:<{}} - {:<{}} {:>+7.3f} {:>15}\n", each.first, first, each.second, second, each.srcc.value,
                        interval_text(each.srcc));
  }
  return text;
}

std::string to_csv(const SweepTable& table) {
  std::string text = "kind,point,model,minus,srcc,srcc_low,srcc_high,plcc,plcc_low,plcc_high\n";
  for (const SweepRow& row : table.rows) {
    text += fmt::format("figure,{},{},,{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", runtime::csv_field(row.point),
                        runtime::csv_field(row.model), row.srcc.value, row.srcc.low, row.srcc.high, row.plcc.value,
                        row.plcc.low, row.plcc.high);
  }
  for (const SweepDifference& each : table.differences) {
    text += fmt::format("difference,,{},{},{:.6f},{:.6f},{:.6f},,,\n", runtime::csv_field(each.first),
                        runtime::csv_field(each.second), each.srcc.value, each.srcc.low, each.srcc.high);
  }
  return text;
}

std::string to_json(const SweepTable& table) {
  Json rows = Json::array();
  for (const SweepRow& row : table.rows) {
    rows.push_back({{"point", row.point},
                    {"model", row.model},
                    {"srcc", json_of(row.srcc)},
                    {"plcc", json_of(row.plcc)},
                    {"srcc_by_seed", row.srcc_by_seed}});
  }
  Json differences = Json::array();
  for (const SweepDifference& each : table.differences)
    differences.push_back({{"first", each.first}, {"second", each.second}, {"srcc", json_of(each.srcc)}});
  return Json{{"seeds", table.seeds}, {"rows", rows}, {"differences", differences}}.dump(2) + "\n";
}

SweepTable parse_sweep_table(const std::string& text, const std::string& name) {
  try {
    const Json document = Json::parse(text);
    SweepTable table{.seeds = document.at("seeds").get<std::vector<std::string>>(), .rows = {}, .differences = {}};
    for (const Json& row : document.at("rows")) {
      SweepRow& made = table.rows.emplace_back(SweepRow{.point = row.at("point").get<std::string>(),
                                                        .model = row.at("model").get<std::string>(),
                                                        .srcc_by_seed = {},
                                                        .srcc = estimate_of(row.at("srcc")),
                                                        .plcc = estimate_of(row.at("plcc"))});
      for (const Json& value : row.at("srcc_by_seed")) made.srcc_by_seed.push_back(value_of(value));
    }
    for (const Json& each : document.at("differences")) {
      table.differences.push_back({.first = each.at("first").get<std::string>(),
                                   .second = each.at("second").get<std::string>(),
                                   .srcc = estimate_of(each.at("srcc"))});
    }
    return table;
  } catch (const Json::exception& error) {
    throw runtime::DataError(fmt::format("{} is damaged: {}", name, error.what()));
  }
}

}  // namespace cskd::evaluation
