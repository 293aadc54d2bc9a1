// Image features from preprocessed pixels, at the shape of ViT-B/16's image tower with random weights.
//   bench_image_tower --images 16 --threads 2 --precision f32 --repeats 5
// Prints one JSON line.
#include "random_tower.hpp"

int main(int argc, char** argv) {
  const bench::arguments o(argc, argv, {{"images", "16"}, {"threads", "2"}, {"precision", "f32"}, {"repeats", "5"}});
  bench::context ctx({.threads = o.number("threads"), .precision = negood::parse_precision(o.text("precision"))});
  const auto tower = bench::vit_b16_image_tower(ctx);
  const auto pixels = bench::random_rows(o.number("images"), 3 * 224 * 224, 1, 1000);
  double checksum = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    const auto features = negood::clip::encode_images(ctx, tower, pixels.view());
    checksum = 0;
    for (const float v : features.values()) checksum += double(v);
  });
  std::printf(
      "{\"bench\":\"image_tower\",\"images\":%s,\"threads\":%lld,\"precision\":\"%s\",\"repeats\":%s,\"median_s\":%.6f,"
      "\"user_s\":%.6f,\"s_per_image\":%.6f,\"peak_gb\":%.3f,\"checksum\":%.6f}\n",
      o.text("images").c_str(), static_cast<long long>(ctx.threads()), o.text("precision").c_str(),
      o.text("repeats").c_str(), t.median_s, t.user_s, t.median_s / double(pixels.rows()), bench::peak_gigabytes(),
      checksum);
}
