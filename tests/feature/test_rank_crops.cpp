// Crops ranked against their label: which are kept, in which order, and that a run's features come from the pictures.
#include "catch.hpp"
#include "code_of.hpp"

#include "clip/towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/clip/encode_crops.hpp>
#include <negood/io/model.hpp>

using namespace negood;

TEST_CASE("the best crops come best first, the worst worst first, equals by their number") {
  const host_matrix<float> crops(7, 2, {0, 1, 1, 0, 0.6F, 0.8F, -1, 0, 0.6F, 0.8F, 0.8F, 0.6F, -0.6F, 0.8F});
  const std::vector<float> label{1, 0};
  const auto r = rank_crops<float>(crops.view(), label, 3);
  CHECK(r.best == std::vector<index_type>{1, 5, 2});
  CHECK(r.worst == std::vector<index_type>{3, 6, 0});
  CHECK(rank_crops<float>(crops.view(), label, 1).best == std::vector<index_type>{1});
  const auto equal = rank_crops<float>(host_matrix<float>(4, 2, std::vector<float>(8, 0.5F)).view(), label, 2);
  CHECK(equal.best == std::vector<index_type>{0, 1});
  CHECK(equal.worst == std::vector<index_type>{3, 2});
}

TEST_CASE("sides that would overlap, other widths and crops that are not finite are refused") {
  host_matrix<float> crops(7, 2, std::vector<float>(14, 0.5F));
  const std::vector<float> label{1, 0}, wide{1, 0, 0};
  CHECK(code_of([&] { rank_crops<float>(crops.view(), label, 4); }) == "negood.krnft.8");
  CHECK(code_of([&] { rank_crops<float>(crops.view(), label, 0); }) == "negood.krnft.8");
  CHECK(code_of([&] { rank_crops<float>(crops.view(), wide, 2); }) == "negood.shape.2");
  crops(6, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(code_of([&] { rank_crops<float>(crops.view(), label, 2); }) == "negood.krnft.8");
}

TEST_CASE("encoded crops are the extremes of all crops of a picture, on any number of threads") {
  using context = eigen::context<float>;
  const auto made = [](index_type threads, index_type count, const clip::crop_options& options) {
    context ctx({.threads = threads});
    const auto m = clip::load(ctx, towers::golden_folder("openai_f32"));
    const index_type width = m.image.config.embedding;
    const auto picture = [](index_type i) {
      image out(11 + i, 9);
      for (std::size_t k = 0; k < out.rgb.size(); ++k) out.rgb[k] = static_cast<std::uint8_t>(k * (7 + i) % 251);
      return out;
    };
    host_matrix<float> text(count, width);
    for (index_type i = 0; i < count; ++i) text(i, i % width) = 1;
    auto kept = clip::encode_crops(ctx, m, count, picture, text.view(), options);
    auto how = m.preprocessing;
    how.filter = resample_filter::bilinear;
    // All crops of the last picture, one by one.
    const index_type last = count - 1;
    std::vector<double> cosines;
    for (index_type v = 0; v < options.crops; ++v) {
      const auto p = picture(last);
      const auto one =
          clip::encode_image(ctx, m, view_square(p, choose_view(p.width, p.height, options.augment, last, v), how));
      cosines.push_back(double(one(0, last % width)));
    }
    std::sort(cosines.begin(), cosines.end());
    CHECK(double(kept.positives(last * options.keep, last % width)) == Approx(cosines.back()).epsilon(1e-5));
    CHECK(double(kept.positives(last * options.keep + options.keep - 1, last % width)) ==
          Approx(cosines[static_cast<std::size_t>(options.crops - options.keep)]).epsilon(1e-5));
    CHECK(double(kept.negatives(last * options.keep, last % width)) == Approx(cosines.front()).epsilon(1e-5));
    return kept;
  };
  std::vector<index_type> seen;
  clip::crop_options options{.crops = 20, .keep = 4};
  options.on_image = [&](index_type done) { seen.push_back(done); };
  const auto one = made(1, 17, options), two = made(2, 17, options);
  CHECK(one.positives.values() == two.positives.values());
  CHECK(one.negatives.values() == two.negatives.values());
  CHECK(seen.back() == 17);
  CHECK(one.positives.rows() == 17 * 4);
  // A picture's crops do not depend on the pictures beside it.
  const auto fewer = made(2, 5, options);
  CHECK(std::equal(fewer.positives.values().begin(), fewer.positives.values().end(), one.positives.values().begin()));
  options.augment.seed = 9;
  CHECK(made(2, 5, options).positives.values() != fewer.positives.values());
  options.keep = 11;
  CHECK(code_of([&] { made(1, 2, options); }) == "negood.krnft.8");
}
