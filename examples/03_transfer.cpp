// Learn prompts on some classes, save them without any class name, and use them for others: the open vocabulary.
//
//   03_transfer [MODEL_FOLDER [IMAGE_FOLDER]]      defaults: the embedded model and its pictures of emoji
#include <negood/backend/eigen.hpp>
#include <negood/io.hpp>
#include <negood/negprompt.hpp>

#include <filesystem>
#include <iostream>

int main(int argc, char** argv) try {
  const std::filesystem::path models = std::filesystem::path(NEGOOD_SOURCE_DIR) / "models";
  negood::eigen::context<float> ctx;
  const auto model = negood::clip::load(ctx, argc > 1 ? argv[1] : models / "demo-clip");

  // One picture of each of a few animals; any list of 'path label' lines does.
  const std::vector<std::string> learned_names{"tiger", "whale", "sheep", "koala", "snail", "octopus"};
  negood::image_list list;
  list.root = argc > 2 ? argv[2] : models / "demo-images" / "emoji";
  for (std::size_t k = 0; k < learned_names.size(); ++k) {
    list.paths.push_back(learned_names[k] + ".png");
    list.labels.push_back(static_cast<negood::index_type>(k));
  }
  const auto train = negood::clip::encode_image_list(ctx, model, list, {.views = 4});  // crops and flips, encoded once

  negood::negprompt_options options{.context_length = 4, .negatives = 2};
  options.stage1.epochs = options.stage2.epochs = 20;
  const auto fit = negood::fit_negprompt(ctx, model, learned_names, train, options);
  for (const auto& warning : fit.warnings) std::cout << "note: " << warning << '\n';

  // The file holds contexts and suffix, no names; it refuses another encoder, tokenizer or suffix.
  const auto file = std::filesystem::temp_directory_path() / "negood-example-prompts.safetensors";
  negood::save(fit.prompts, file);
  const auto prompts = negood::load_prompts(file);
  std::filesystem::remove(file);

  const std::vector<std::string> new_names{"poodle", "spider", "ox", "boar"};
  const auto bank = prompts.bind(ctx, model, new_names);
  const auto detector = negood::make_detector(ctx, bank, new_names, negood::mcm_with_negatives{});
  for (const std::string picture : {"poodle", "spider", "sushi", "coffee"}) {
    const auto image = negood::clip::encode_image(ctx, model, list.root / (picture + ".png"));
    std::cout << picture << ": most like " << new_names[static_cast<std::size_t>(detector.predict(image)[0])]
              << ", score " << detector.score(image)[0] << '\n';
  }
} catch (const negood::error& e) {
  std::cerr << e.what() << '\n';
  return e.exit_code();
}
