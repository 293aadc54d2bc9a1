// Features of any encoder in, scores and metrics out: no model, no images.
//
//   02_score_features TEXTS.npy ID.npy OOD.npy [SCALE]
//
// TEXTS holds one text feature a class, ID and OOD one image feature a row; all of one encoder, float16 to float64.
#include <negood/backend/eigen.hpp>
#include <negood/io.hpp>
#include <negood/metric/report.hpp>
#include <negood/negprompt.hpp>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::cerr << "usage: 02_score_features TEXTS.npy ID.npy OOD.npy [SCALE]\n";
    return 2;
  }
  negood::eigen::context<float> ctx;
  auto texts = negood::read_features<float>(argv[1]).values;
  auto id = negood::read_features<float>(argv[2]).values;
  auto ood = negood::read_features<float>(argv[3]).values;
  negood::check_features(texts, {}, argv[1]);  // refuses NaN and rows of zeros, makes unit rows
  const double scale = argc > 4 ? negood::parse_number<double>(argv[4]).value_or(0) : 100.0;

  std::vector<std::string> labels;
  for (negood::index_type k = 0; k < texts.rows(); ++k) labels.push_back("class " + std::to_string(k));
  const auto none = ctx.zeros(0, texts.cols());

  negood::eval_table table;
  const auto add = [&](const auto& scorer) {
    const auto bank = negood::make_prompt_bank(ctx, ctx.from_host(texts), ctx.clone(none), scale);
    const auto detector = negood::make_detector(ctx, bank, labels, scorer);
    const auto in = detector.score(id), out = detector.score(ood);
    table.sets.push_back({std::string(negood::method_name(scorer)),
                          negood::evaluate(std::span<const double>(in), std::span<const double>(out))});
  };
  add(negood::max_cosine{});
  add(negood::mcm{});
  add(negood::msp{});
  add(negood::energy{});
  std::cout << negood::eval_text(table);
} catch (const negood::error& e) {
  std::cerr << e.what() << '\n';
  return e.exit_code();
}
