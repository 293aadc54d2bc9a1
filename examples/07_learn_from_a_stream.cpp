// InterNeg: negative words chosen by their distance from images of the classes, and a memory that learns from what it
// scores.
//
//   07_learn_from_a_stream MODEL NAMES TRAIN_LIST WORDS STREAM_LIST
//
// Lists hold "path label" lines; labels of the stream are not looked at. One line an image: score, class, what became
// of it.
#include <negood/backend/eigen.hpp>
#include <negood/interneg.hpp>
#include <negood/io.hpp>
#include <negood/io/corpus.hpp>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 6) {
    std::fprintf(stderr, "usage: 07_learn_from_a_stream MODEL NAMES TRAIN_LIST WORDS STREAM_LIST\n");
    return 2;
  }
  negood::eigen::context<float> ctx;
  const auto model = negood::clip::load(ctx, argv[1]);
  const auto names = negood::read_names(argv[2]);
  const auto train = negood::clip::encode_images(ctx, model, negood::read_image_list(argv[3]));
  auto words = negood::read_word_list(argv[4]);
  negood::remove_class_names(words, names);

  const auto encode = [&](const std::vector<std::string>& texts) {
    return negood::clip::encode_texts_with_templates(ctx, model, texts, std::vector<std::string>{"a photo of a {}."});
  };
  const auto text = encode(names), candidates = encode(words.words);
  const auto proxies =
      negood::class_proxies(train.features, train.labels, static_cast<negood::index_type>(names.size()));
  const negood::inter_modal_distances classes(text.view(), proxies.view());
  const auto chosen = negood::select_by_deviation(ctx, candidates.view(), words.words, classes, {.count = 500});
  negood::host_matrix<float> negatives(static_cast<negood::index_type>(chosen.words.size()), candidates.cols());
  for (std::size_t j = 0; j < chosen.words.size(); ++j)
    std::ranges::copy(candidates.row(chosen.words[j].index), negatives.row(static_cast<negood::index_type>(j)).begin());

  auto bank =
      negood::make_prompt_bank(ctx, ctx.from_host(text.view()), ctx.from_host(negatives.view()), model.logit_scale);
  negood::interneg_stream stream(ctx, model.text, model.tokenizer, std::move(bank), classes,
                                 {.beta = 0.35, .guards = negood::memory_guards::standard()});
  const auto images = negood::clip::encode_images(ctx, model, negood::read_image_list(argv[5])).features;
  std::vector<negood::observation> who;
  for (negood::index_type i = 0; i < images.rows(); ++i) who.push_back({static_cast<std::uint64_t>(i), 0});
  for (const auto& answer : stream.observe(images, who))
    std::printf("%.4f %s %s\n", answer.score, names[static_cast<std::size_t>(answer.label_index)].c_str(),
                std::string(negood::format_admission(answer.outcome)).c_str());
  std::printf("%td features learned\n", stream.memory().size());
  return 0;
} catch (const negood::error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
