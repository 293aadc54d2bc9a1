// The image tower: goldens of four small models and of the true ViT-B/16 shape, grouping, threads, refusals.
#include "catch.hpp"
#include "towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/io/model.hpp>

#include <span>

using namespace negood;

namespace {

using contexts =
    std::tuple<reference::context<double>, reference::context<float>, eigen::context<double>, eigen::context<float>>;

std::vector<image> random_pictures(index_type count) {
  towers::random_values random(5);
  std::vector<image> out;
  for (index_type i = 0; i < count; ++i) {
    image picture(14 + i % 3, 11 + i % 5);
    for (auto& v : picture.rgb) v = static_cast<std::uint8_t>(random.below(256));
    out.push_back(std::move(picture));
  }
  return out;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("images of every dialect of checkpoint are encoded as torch does", "[image_tower]", contexts) {
  TestType ctx;
  for (const auto& name : towers::golden_models()) {
    CAPTURE(name);
    const auto m = clip::load(ctx, towers::golden_folder(name), {.text = false});
    const auto expected = safetensors_file::read(towers::golden_folder(name) + "/expected.safetensors");
    const auto found = clip::encode_images_raw(ctx, m.image, expected.tensor<float>("pixels").view());
    CHECK(towers::difference(found, expected.tensor<double>("images")) < towers::tolerance<typename TestType::real>());
  }
}

TEST_CASE("the image tower of ViT-B/16 agrees with torch in float", "[image_tower][vit_b_16]") {
  eigen::context<float> ctx;
  clip::image_config c;
  c.width = 768;
  c.heads = 12;
  c.layers = 12;
  c.patch = 16;
  c.image_size = 224;
  c.embedding = 512;
  c.activation = activation_kind::quick_gelu;
  // The text tower's 2 + 12 * 12 + 3 tensors come first.
  towers::hashed_weights w(2 + 12 * 12 + 3);
  const auto transposed = [](const host_matrix<float>& m) { return negood::detail::transpose(m); };
  auto patches = ctx.freeze(ctx.from_host(transposed(w.matrix(c.width, 3 * 16 * 16, 0.125F)).view()));
  auto class_embedding = w.tensor(ctx, 1, c.width, 0.0625F);
  auto positions = w.tensor(ctx, c.tokens(), c.width, 0.0625F);
  auto ln_pre = w.layer_norm(ctx, c.width);
  std::vector<clip::transformer_layer<eigen::context<float>>> layers;
  for (index_type i = 0; i < c.layers; ++i) layers.push_back(w.layer(ctx, c.width));
  auto ln_post = w.layer_norm(ctx, c.width);
  auto projection = ctx.freeze(w.tensor(ctx, c.width, c.embedding, 0.125F));
  const clip::image_tower<eigen::context<float>> tower{c,
                                                       std::move(patches),
                                                       std::move(class_embedding),
                                                       std::move(positions),
                                                       std::move(ln_pre),
                                                       std::move(ln_post),
                                                       std::move(layers),
                                                       std::move(projection)};
  host_matrix<float> pixels(1, 3 * 224 * 224);
  for (index_type i = 0; i < pixels.size(); ++i)
    pixels.data()[i] = 4 * towers::hashed(1002, static_cast<std::uint64_t>(i));
  const auto expected = safetensors_file::read(towers::golden_folder("vit_b_16") + "/expected.safetensors");
  CHECK(towers::difference(clip::encode_images(ctx, tower, pixels.view()), expected.tensor<double>("image")) < 1e-5);
}

TEST_CASE("an image's feature depends neither on the others nor on the number of threads", "[image_tower]") {
  const auto pictures = random_pictures(101);  // groups of 40 images of 10 tokens
  std::vector<host_matrix<float>> by_threads;
  for (const index_type threads : {1, 2, 4}) {
    eigen::context<float> ctx({.threads = threads});
    const auto m = clip::load(ctx, towers::golden_folder("openai_f32"));
    by_threads.push_back(clip::encode_images(ctx, m, std::span<const image>(pictures)));
    for (const std::size_t i : {std::size_t{0}, std::size_t{41}, std::size_t{100}}) {
      const auto alone = clip::encode_image(ctx, m, pictures[i]);
      CHECK(std::ranges::equal(alone.row(0), by_threads.back().row(static_cast<index_type>(i))));
    }
  }
  CHECK(by_threads[0] == by_threads[1]);
  CHECK(by_threads[0] == by_threads[2]);
}

TEST_CASE("pictures are preprocessed as the folder says, one task at a time", "[image_tower]") {
  reference::context<double> ctx;
  const auto m = clip::load(ctx, towers::golden_folder("openai_f32"));
  CHECK(m.preprocessing.image_size == 12);
  CHECK(m.preprocessing.mean == std::array<float, 3>{0.5F, 0.25F, 0.75F});
  CHECK(m.preprocessing.std == std::array<float, 3>{0.5F, 0.125F, 0.25F});
  const auto pictures = random_pictures(3);
  host_matrix<float> pixels(3, 3 * 12 * 12);
  for (index_type i = 0; i < 3; ++i)
    std::ranges::copy(preprocess(pictures[static_cast<std::size_t>(i)], m.preprocessing).values(),
                      pixels.row(i).begin());
  CHECK(clip::encode_images(ctx, m, std::span<const image>(pictures)) ==
        clip::encode_images(ctx, m.image, pixels.view()));
  std::vector<int> loaded(3);
  const auto raw = clip::encode_images_from_raw(ctx, m, 3, [&](index_type i) {
    ++loaded[static_cast<std::size_t>(i)];
    return pictures[static_cast<std::size_t>(i)];
  });
  CHECK(raw == clip::encode_images_raw(ctx, m.image, pixels.view()));
  CHECK(loaded == std::vector<int>{1, 1, 1});
  CHECK(clip::encode_images(ctx, m, std::span<const image>()).rows() == 0);
}

TEST_CASE("pixels of another size and models without an image tower are refused", "[image_tower]") {
  reference::context<double> ctx;
  const auto m = clip::load(ctx, towers::golden_folder("openai_f32"));
  const host_matrix<float> pixels(2, 3 * 11 * 11);
  CHECK_THROWS_WITH(clip::encode_images(ctx, m.image, pixels.view()),
                    Catch::Contains("negood.shape.2") && Catch::Contains("[2, 363]") && Catch::Contains("[2, 432]"));
  const auto text_only = clip::load(ctx, towers::golden_folder("openai_f32"), {.image = false});
  CHECK_FALSE(text_only.has_image());
  CHECK_THROWS_WITH(clip::encode_image(ctx, text_only, image(4, 4)), Catch::Contains("negood.model.3"));
}
