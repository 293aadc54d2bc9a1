// Scoring many images against many texts: NegLabel's margin of N images over C positive and M negative texts.
//   scoring --images 10000 --positive 1000 --negative 4000 --dim 512 --threads 2 --precision f32 --repeats 7
// Prints one JSON line: median seconds for all images, seconds of a single image, user CPU, peak memory.
#include "random_tower.hpp"

#include <negood/score/scores.hpp>

using namespace negood;

int main(int argc, char** argv) {
  const bench::arguments o(argc, argv,
                           {{"images", "10000"},
                            {"positive", "1000"},
                            {"negative", "4000"},
                            {"dim", "512"},
                            {"threads", "2"},
                            {"precision", "f32"},
                            {"repeats", "7"}});
  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const auto bank =
      make_prompt_bank(ctx, ctx.from_host(bench::unit_rows(o.number("positive"), o.number("dim"), 1).view()),
                       ctx.from_host(bench::unit_rows(o.number("negative"), o.number("dim"), 2).view()), 100.0);
  const auto images = bench::unit_rows(o.number("images"), o.number("dim"), 3);
  double checksum = 0;
  const auto score_all = [&] {
    checksum = 0;
    constexpr index_type block = 4096;
    for (index_type first = 0; first < images.rows(); first += block) {
      const auto rows = ctx.from_host(images.view().slice_rows(first, std::min(block, images.rows() - first)));
      const auto scores = ctx.to_host(neg_label{}(ctx, rows, bank));
      for (const float v : scores.values()) checksum += double(v);
    }
  };
  const auto all = bench::measure(o.number("repeats"), score_all);
  const auto one = ctx.from_host(images.view().slice_rows(0, 1));
  const auto single = bench::measure(50, [&] { ctx.to_host(neg_label{}(ctx, one, bank)); });
  std::printf(
      "{\"bench\":\"scoring\",\"images\":%s,\"texts\":%lld,\"dim\":%s,\"threads\":%lld,\"precision\":\"%s\","
      "\"repeats\":%s,"
      "\"median_s\":%.6f,\"single_image_s\":%.6f,\"user_s\":%.6f,\"peak_gb\":%.3f,\"mean_score\":%.6f}\n",
      o.text("images").c_str(), static_cast<long long>(o.number("positive") + o.number("negative")),
      o.text("dim").c_str(), static_cast<long long>(ctx.threads()),
      std::string(format_precision(ctx.precision())).c_str(), o.text("repeats").c_str(), all.median_s, single.median_s,
      all.user_s, bench::peak_gigabytes(), checksum / double(images.rows()));
}
