// Modality inversion of images through ViT-B/16's text tower with random weights: 10 steps and the final feature.
//   bench_inversion --images 64 --steps 10 --threads 2 --precision f32 --repeats 3
// Prints one JSON line.
#include "random_tower.hpp"

#include <negood/prompt/invert.hpp>

int main(int argc, char** argv) {
  auto defaults = bench::name_options;
  defaults.insert({{"images", "64"}, {"steps", "10"}, {"threads", "2"}, {"precision", "f32"}, {"repeats", "3"}});
  const bench::arguments o(argc, argv, defaults);
  bench::context ctx({.threads = o.number("threads"), .precision = negood::parse_precision(o.text("precision"))});
  const auto tokenizer = bench::read_tokenizer(o);
  const auto tower = bench::vit_b16_text_tower(ctx, tokenizer.vocabulary_size());
  const negood::modality_inverter<bench::context> inverter(ctx, tower, tokenizer, {.steps = o.number("steps")});
  const auto images = bench::unit_rows(o.number("images"), 512, 1000);
  std::vector<std::uint64_t> sequence;
  for (negood::index_type i = 0; i < images.rows(); ++i) sequence.push_back(static_cast<std::uint64_t>(i));
  double gain = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    const auto found = inverter(ctx, images, sequence);
    gain = 0;
    for (std::size_t i = 0; i < sequence.size(); ++i) gain += found.last_cosine[i] - found.first_cosine[i];
  });
  std::printf(
      "{\"bench\":\"inversion\",\"images\":%s,\"steps\":%s,\"threads\":%lld,\"precision\":\"%s\",\"repeats\":%s,"
      "\"median_s\":%.6f,\"user_s\":%.6f,\"s_per_image\":%.6f,\"peak_gb\":%.3f,\"mean_gain\":%.6f}\n",
      o.text("images").c_str(), o.text("steps").c_str(), static_cast<long long>(ctx.threads()),
      o.text("precision").c_str(), o.text("repeats").c_str(), t.median_s, t.user_s, t.median_s / double(images.rows()),
      bench::peak_gigabytes(), gain / double(images.rows()));
}
