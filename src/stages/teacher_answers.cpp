#include "stages/teacher_answers.h"

#include <algorithm>

#include <torch/types.h>
#include <torch/utils.h>

#include "config/tables.h"
#include "data/render_view.h"
#include "data/view_series.h"
#include "features/cache.h"
#include "losses/alignment.h"
#include "losses/distribution.h"
#include "runtime/check.h"
#include "stages/stored_answers.h"

namespace cskd::stages {
namespace {

at::Tensor centres_of(const batches::CheckedCorpus& corpus) {
  const std::vector<double> centres = batches::bin_centres(corpus.corpus());
  return at::tensor(at::ArrayRef<double>(centres)).to(at::kFloat);
}

// Of distributions [n, V, K] over views and teachers.
Answers summed_up(const at::Tensor& distributions, const at::Tensor& centres, double penalty) {
  return {.distributions = distributions.mean(1),
          .weights = losses::pseudo_label_weight(distributions.matmul(centres), penalty),
          .features = {}};
}

// Note [Stored answers]
class WholePictureAnswers final : public TeacherAnswers {
 public:
  WholePictureAnswers(const run::Context& context, const config::Distill& distill, const Teachers& teachers,
                      const batches::CheckedCorpus& corpus)
      : context_(context),
        penalty_(distill.variance_penalty()),
        centres_(centres_of(corpus).to(context.communicator.device())),
        bins_(centres_.numel()) {
    for (std::size_t i = 0; i < teachers.size(); ++i) {
      const std::string& name = distill.teachers(static_cast<int>(i));
      teachers_.push_back({name, teachers[i], stored_answers(context, name, teachers[i], bins_, corpus.corpus())});
    }
  }

  void start(const data::SampleSet& samples, std::uint64_t step) override {
    for (const Teacher& teacher : teachers_)
      teacher.answers->audit(samples, step, answering(context_, teacher.name, teacher.model));
  }

  Room begin(const at::Tensor& pixels) const override {
    const auto answers = static_cast<std::int64_t>(teachers_.size() * kAnsweredViews);
    return {.made_before = {at::empty({pixels.size(0), answers, bins_}), at::ones({pixels.size(0)}), {}},
            .teachers = {}};
  }

  std::optional<data::View> view(const data::SampleSource::Sample&, const data::SampleUse&) const override {
    return std::nullopt;
  }

  // A picture that could not be read when it was to be answered has no answer. Should it be readable now, it does not
  // count.
  void fill(Room& room, std::uint64_t item, const data::SampleSource::Sample& sample,
            const data::SampleUse&) const override {
    const std::uint64_t numbers = teachers_.size() * kAnsweredViews * static_cast<std::uint64_t>(bins_);
    float* const own = room.made_before.distributions.data_ptr<float>() + item * numbers;
    float* to = own;
    for (const Teacher& teacher : teachers_) {
      const auto answers = teacher.answers->of(sample.ref.shard);
      if (!answers->has_features(sample.ref.row)) {
        std::fill_n(own, numbers, 1.0F / static_cast<float>(bins_));
        room.made_before.weights.data_ptr<float>()[item] = 0;
        return;
      }
      for (std::uint64_t view = 0; view < kAnsweredViews; ++view)
        for (const std::uint16_t bits : answers->pooled(sample.ref.row, view))
          *to++ = c10::Half(bits, c10::Half::from_bits());
    }
  }

  std::uint64_t bytes(std::uint64_t pictures) const override {
    return pictures * teachers_.size() * kAnsweredViews * static_cast<std::uint64_t>(bins_) * sizeof(float);
  }

  Answers of(const Room& room) override {
    Answers answers =
        summed_up(batches::to_device(room.made_before.distributions, centres_.device()), centres_, penalty_);
    answers.weights = answers.weights * batches::to_device(room.made_before.weights, centres_.device());
    return answers;
  }

 private:
  struct Teacher {
    std::string name;
    inference::Model model;
    std::unique_ptr<features::CacheSet> answers;
  };

  const run::Context& context_;
  const double penalty_;
  const at::Tensor centres_;  // [K]
  const std::int64_t bins_;
  std::vector<Teacher> teachers_;
};

class SameViewAnswers final : public TeacherAnswers {
 public:
  SameViewAnswers(const run::Context& context, const config::Distill& distill, const Teachers& teachers,
                  const batches::CheckedCorpus& corpus)
      : context_(context),
        penalty_(distill.variance_penalty()),
        centres_(centres_of(corpus).to(context.communicator.device())) {
    const auto towers = teachers_towers(context.config, distill);
    CSKD_CHECK(towers.front().has_value(), "{} reads no tower", distill.teachers(0));
    views_ = &config::table_named(context.config.towers(), *towers.front()).views();
    for (std::size_t i = 0; i < teachers.size(); ++i) {
      Head& head = heads_.emplace_back();
      head.model = teachers[i];
      if (!towers[i]) continue;
      const config::Tower& tower = config::table_named(context.config.towers(), *towers[i]);
      head.features = tower.views().count() > 0 ? features::cached_targets(context, tower, corpus.corpus())
                                                : features::online_targets(context, tower, /*with_tokens=*/false);
    }
  }

  void start(const data::SampleSet& samples, std::uint64_t step) override {
    for (const Head& head : heads_) {
      if (head.features) head.features->start(samples, step);
    }
  }

  Room begin(const at::Tensor& pixels) const override {
    Room room;
    for (const Head& head : heads_) {
      if (head.features) {
        room.teachers.push_back(head.features->begin(pixels));
        continue;
      }
      const int side = head.side();
      const bool is_shared = pixels.size(1) == side;
      const auto pictures = static_cast<std::uint64_t>(pixels.size(0));
      room.teachers.push_back(
          {.features = {},
           .pixels = is_shared ? pixels : batches::pixel_room(pictures, side, context_.communicator.device()),
           .is_shared = is_shared});
    }
    return room;
  }

  std::optional<data::View> view(const data::SampleSource::Sample& sample, const data::SampleUse& use) const override {
    return heads_.front().features->view(sample, number_of(sample, use));
  }

  void fill(Room& room, std::uint64_t item, const data::SampleSource::Sample& sample,
            const data::SampleUse& use) const override {
    const std::uint64_t number = number_of(sample, use);
    const data::View view = heads_.front().features->view(sample, number);
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      features::TargetRoom& own = room.teachers[i];
      if (heads_[i].features) {
        heads_[i].features->fill(own, item, sample, number, view);
      } else if (!own.is_shared) {
        data::render_view(sample.bytes, view, heads_[i].side(), batches::resize_mode(context_.config),
                          batches::picture_in(own.pixels, item));
      }
    }
  }

  std::uint64_t bytes(std::uint64_t pictures) const override {
    std::uint64_t bytes = 0;
    for (const Head& head : heads_)
      bytes += head.features ? head.features->bytes(pictures) : batches::pixel_bytes(pictures, head.side());
    return bytes;
  }

  Answers of(const Room& room) override {
    const torch::NoGradGuard no_gradients;
    std::vector<at::Tensor> all;
    at::Tensor first;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      models::HeadedEncoder& teacher = *heads_[i].model;
      at::Tensor logits;
      if (heads_[i].features) {
        const features::Target target = heads_[i].features->of(room.teachers[i], 1, {});
        if (i == 0) first = target.pooled;
        logits = teacher.score(losses::whiten(target.pooled));
      } else {
        const at::Tensor pixels = batches::to_device(room.teachers[i].pixels, context_.communicator.device());
        logits = teacher.forward(models::normalise(pixels, teacher.shape()));
      }
      all.push_back(torch::softmax(logits, 1));
    }
    Answers answers = summed_up(torch::stack(all, 1), centres_, penalty_);
    answers.features = first;
    return answers;
  }

 private:
  struct Head {
    inference::Model model;
    std::unique_ptr<features::TargetSource> features;  // that its head reads; null: it looks at pixels itself

    int side() const { return model->shape().image_size; }
  };

  std::uint64_t number_of(const data::SampleSource::Sample& sample, const data::SampleUse& use) const {
    return data::view_of_use(sample.shard.hash(sample.ref.row).prefix(), use.round, views_->count(), views_->whole());
  }

  const run::Context& context_;
  const double penalty_;
  const at::Tensor centres_;              // [K]
  const config::Views* views_ = nullptr;  // of all towers alike
  std::vector<Head> heads_;
};

}  // namespace

std::unique_ptr<TeacherAnswers> answers_to_whole_pictures(const run::Context& context, const config::Distill& distill,
                                                          const Teachers& teachers,
                                                          const batches::CheckedCorpus& corpus) {
  return std::make_unique<WholePictureAnswers>(context, distill, teachers, corpus);
}

std::unique_ptr<TeacherAnswers> answers_to_same_views(const run::Context& context, const config::Distill& distill,
                                                      const Teachers& teachers, const batches::CheckedCorpus& corpus) {
  return std::make_unique<SameViewAnswers>(context, distill, teachers, corpus);
}

std::vector<std::optional<std::string>> teachers_towers(const config::Config& config, const config::Distill& distill) {
  constexpr std::string_view kRidge = "ridge.";
  constexpr std::string_view kTowers = "towers.";
  std::vector<std::optional<std::string>> towers;
  for (const std::string& teacher : distill.teachers()) {
    towers.emplace_back();
    if (!teacher.starts_with(kRidge)) continue;
    const config::Ridge& ridge = config::table_named(config.ridge(), teacher.substr(kRidge.size()));
    if (ridge.whiten() && ridge.from().starts_with(kTowers)) towers.back() = ridge.from().substr(kTowers.size());
  }
  return towers;
}

std::vector<std::string> answering_caches(const config::Config& config, const std::string& name) {
  const config::Distill& distill = config::table_named(config.distill(), name);
  std::vector<std::string> caches;
  if (distill.answers() != config::Distill::same_view) return caches;
  for (const auto& tower : teachers_towers(config, distill)) {
    if (tower && config::table_named(config.towers(), *tower).views().count() > 0) caches.push_back(*tower);
  }
  return caches;
}

}  // namespace cskd::stages
