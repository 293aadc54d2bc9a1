#include <negood/backend/eigen.hpp>
#include <negood/io.hpp>
#include <negood/negprompt.hpp>

int main() {
  negood::eigen::context<float> ctx;
  const auto model = negood::clip::load(ctx, "model/");  // frozen CLIP: towers, tokenizer, scale
  const auto names = negood::read_names("classes.txt");
  const auto train = negood::clip::encode_images(ctx, model, negood::read_image_list("train.txt"));
  const auto held_out = negood::clip::encode_images(ctx, model, negood::read_image_list("held_out.txt"));
  const auto fit = negood::fit_negprompt(ctx, model, names, train, {.negatives = 2});
  auto detector = negood::make_detector(ctx, fit.prompts.bind(ctx, model, names), names, negood::mcm_with_negatives{});
  negood::calibrate(detector, held_out.features, {.id_recall = 0.95});
  negood::save(detector, "dogs.safetensors");

  const auto answer = detector.decide(negood::clip::encode_image(ctx, model, "unknown.jpg"));
  return answer.is_unknown ? 1 : 0;  // {label, score, is_unknown}
}
