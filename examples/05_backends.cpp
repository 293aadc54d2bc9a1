// The same lines on every backend that this program was linked to: learn prompts, make a detector, score pictures.
//
//   05_backends [MODEL_FOLDER [IMAGE_FOLDER]]      defaults: the embedded model and its pictures of emoji
#include <negood/backend/eigen.hpp>
#if __has_include(<negood/backend/torch.hpp>)  // a component's headers are seen by who links to it
#include <negood/backend/torch.hpp>
#endif
#if __has_include(<negood/backend/thrust_omp.hpp>)
#include <negood/backend/thrust_omp.hpp>
#endif
#if __has_include(<negood/backend/xtensor.hpp>)
#include <negood/backend/xtensor.hpp>
#endif
#include <negood/io.hpp>
#include <negood/negprompt.hpp>

#include <chrono>
#include <filesystem>
#include <iostream>

namespace {

const std::vector<std::string> names{"tiger", "whale", "sheep", "koala", "snail", "octopus"};

template <negood::Backend B>
std::vector<double> learn_and_score(B ctx, const std::filesystem::path& folder, const negood::image_list& list) {
  const auto model = negood::clip::load(ctx, folder);
  const auto train = negood::clip::encode_image_list(ctx, model, list);
  negood::negprompt_options options{.context_length = 4, .negatives = 2};
  options.stage1.epochs = options.stage2.epochs = 2;
  const auto fit = negood::fit_negprompt(ctx, model, names, train, options);
  const auto bank = fit.prompts.bind(ctx, model, names);
  const auto detector = negood::make_detector(ctx, bank, names, negood::mcm_with_negatives{});
  return detector.score(train.features);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::filesystem::path models = std::filesystem::path(NEGOOD_SOURCE_DIR) / "models";
  const std::filesystem::path folder = argc > 1 ? argv[1] : models / "demo-clip";
  negood::image_list list;
  list.root = argc > 2 ? argv[2] : models / "demo-images" / "emoji";
  for (std::size_t k = 0; k < names.size(); ++k) {
    list.paths.push_back(names[k] + ".png");
    list.labels.push_back(static_cast<negood::index_type>(k));
  }

  std::vector<double> first;
  const auto run = [&](auto ctx) {
    const std::string name(ctx.name());
    const auto start = std::chrono::steady_clock::now();
    const auto scores = learn_and_score(std::move(ctx), folder, list);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (first.empty()) first = scores;
    double difference = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) difference = std::max(difference, std::abs(scores[i] - first[i]));
    std::cout << name << ": " << seconds.count() << " s, scores differ from the first by " << difference << '\n';
  };
  run(negood::eigen::context<float>());
#if __has_include(<negood/backend/xtensor.hpp>)
  run(negood::xtensor::context<float>());
#endif
#if __has_include(<negood/backend/thrust_omp.hpp>)
  run(negood::thrust_omp::context<float>());
#endif
#if __has_include(<negood/backend/torch.hpp>)
  run(negood::libtorch::context<float>());
#endif
} catch (const negood::error& e) {
  std::cerr << e.what() << '\n';
  return e.exit_code();
}
