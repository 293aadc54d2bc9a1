// A zero-shot detector, a threshold from known pictures alone, and its decisions on others.
//
//   04_calibrate_and_decide [MODEL_FOLDER]      default: the embedded model
#include <negood/backend/eigen.hpp>
#include <negood/io.hpp>
#include <negood/negprompt.hpp>

#include <negood/clip/encode_text.hpp>

#include <filesystem>
#include <iostream>

int main(int argc, char** argv) try {
  const std::filesystem::path models = std::filesystem::path(NEGOOD_SOURCE_DIR) / "models";
  negood::eigen::context<float> ctx;
  const auto model = negood::clip::load(ctx, argc > 1 ? argv[1] : models / "demo-clip");

  // The classes, and what a detector may be about: words far from them as NegLabel's negatives.
  const std::vector<std::string> names{"animal", "fruit"},
      words{"letter", "number", "noise", "stripes", "wall", "sign"};
  const std::vector<std::string> templates{"a photo of a {}."};
  const auto features = [&](const std::vector<std::string>& texts) {
    return ctx.from_host(negood::clip::encode_texts_with_templates(ctx, model, std::span<const std::string>(texts),
                                                                   std::span<const std::string>(templates)));
  };
  const auto bank = negood::make_prompt_bank(ctx, features(names), features(words), model.logit_scale);
  auto detector = negood::make_detector(ctx, bank, names, negood::neg_label{});

  // Every second picture of the known kind sets the threshold, the others and the letters are judged.
  const auto pictures = negood::read_image_list(models / "demo-images");  // folders: 0 emoji, 1 letters
  const auto encoded = negood::clip::encode_image_list(ctx, model, pictures);
  const auto rows = [&](negood::index_type label, negood::index_type remainder) {
    std::vector<float> out;
    for (negood::index_type i = 0; i < pictures.size(); ++i)
      if (encoded.labels[static_cast<std::size_t>(i)] == label && i % 2 == remainder)
        out.insert(out.end(), encoded.features.row(i).begin(), encoded.features.row(i).end());
    const auto n = static_cast<negood::index_type>(out.size()) / encoded.features.cols();
    return negood::host_matrix<float>(n, encoded.features.cols(), std::move(out));
  };
  const auto t = negood::calibrate(detector, rows(0, 0), {.id_recall = 0.9});
  std::cout << "threshold " << t.threshold << " keeps " << t.accepted << " of " << t.n
            << " known pictures (95 % interval " << t.recall_interval.lower << " to " << t.recall_interval.upper
            << ")\n";

  const auto known_share = [&](const negood::host_matrix<float>& images) {
    negood::index_type known = 0;
    for (const auto& answer : detector.decide_all(images)) known += answer.is_unknown ? 0 : 1;
    return std::to_string(known) + " of " + std::to_string(images.rows());
  };
  std::cout << "new emoji taken for known: " << known_share(rows(0, 1)) << '\n'
            << "letters taken for known:   " << known_share(rows(1, 0)) << '\n';
} catch (const negood::error& e) {
  std::cerr << e.what() << '\n';
  return e.exit_code();
}
