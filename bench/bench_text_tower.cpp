// Zero-shot text features of class names in a template, at the shape of ViT-B/16's text tower with random weights.
//   bench_text_tower --classes 1000 --template "a photo of a {}." --threads 2 --precision f32 --repeats 5
// Prints one JSON line.
#include "random_tower.hpp"

#include <negood/clip/encode_text.hpp>

int main(int argc, char** argv) {
  auto defaults = bench::name_options;
  defaults.insert({{"classes", "1000"},
                   {"template", "a photo of a {}."},
                   {"threads", "2"},
                   {"precision", "f32"},
                   {"repeats", "5"}});
  const bench::arguments o(argc, argv, defaults);
  bench::context ctx({.threads = o.number("threads"), .precision = negood::parse_precision(o.text("precision"))});
  const auto tokenizer = bench::read_tokenizer(o);
  const auto tower = bench::vit_b16_text_tower(ctx, tokenizer.vocabulary_size());
  std::vector<std::string> texts;
  for (const auto& name : bench::read_class_names(o))
    texts.push_back(negood::clip::fill_template(o.text("template"), name));
  double checksum = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    const auto features = negood::clip::encode_texts(ctx, tower, tokenizer, std::span<const std::string>(texts));
    checksum = 0;
    for (const float v : features.values()) checksum += double(v);
  });
  std::printf(
      "{\"bench\":\"text_tower\",\"texts\":%zu,\"threads\":%lld,\"precision\":\"%s\",\"repeats\":%s,\"median_s\":%.6f,"
      "\"user_s\":%.6f,\"texts_per_s\":%.1f,\"peak_gb\":%.3f,\"checksum\":%.6f}\n",
      texts.size(), static_cast<long long>(ctx.threads()), o.text("precision").c_str(), o.text("repeats").c_str(),
      t.median_s, t.user_s, double(texts.size()) / t.median_s, bench::peak_gigabytes(), checksum);
}
