// Towers with random weights at the shape of ViT-B/16, and what every benchmark says of its process.
#pragma once

#include <negood/backend/eigen.hpp>
#include <negood/clip/image_tower.hpp>
#include <negood/clip/text_tower.hpp>
#include <negood/clip/tokenizer.hpp>
#include <negood/io/atomic_file.hpp>
#include <negood/io/gzip.hpp>
#include <negood/io/names.hpp>
#include <negood/train/random.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace bench {

using namespace negood;
using context = eigen::context<float>;

/// Options `--name value`; those not given keep their defaults.
class arguments {
 public:
  arguments(int argc, char** argv, std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {
    for (int i = 1; i + 1 < argc; i += 2) values_[argv[i] + 2] = argv[i + 1];
  }
  const std::string& text(const std::string& name) const { return values_.at(name); }
  index_type number(const std::string& name) const { return static_cast<index_type>(std::stoll(values_.at(name))); }

 private:
  std::map<std::string, std::string> values_;
};

inline double user_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec);
}
inline double peak_gigabytes() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_maxrss) / 1e6;
}

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct timing {
  double median_s, user_s;
};

/// Wall and user CPU seconds of `work()`, after one call that warms up.
template <class Work>
timing measure(index_type repeats, Work&& work) {
  work();
  std::vector<double> seconds;
  const double before = user_seconds();
  for (index_type i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return {median(std::move(seconds)), (user_seconds() - before) / static_cast<double>(repeats)};
}

/// Rows with entries of mean `centre` and the given deviation.
inline host_matrix<float> random_rows(index_type rows, index_type cols, double deviation, std::uint64_t index,
                                      double centre = 0) {
  host_matrix<float> m(rows, cols);
  random_sequence draw(1, random_purpose::weights, index);
  for (float& v : m.values()) v = static_cast<float>(centre + deviation * 1.7320508 * draw.next_uniform(-1, 1));
  return m;
}

inline host_matrix<float> unit_rows(index_type rows, index_type cols, std::uint64_t index) {
  auto m = random_rows(rows, cols, 1, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (const float v : m.row(r)) n += double(v) * double(v);
    for (float& v : m.row(r)) v = static_cast<float>(v / std::sqrt(n));
  }
  return m;
}

/// Draws the weights of one tower.
class weights {
 public:
  weights(context& ctx, index_type width, index_type layers)
      : ctx_(ctx), width_(width), deviation_(1 / std::sqrt(double(width))), layers_(layers) {}

  tensor_t<context> tensor(index_type rows, index_type cols, double deviation, double centre = 0) {
    return ctx_.from_host(random_rows(rows, cols, deviation, index_++, centre).view());
  }
  frozen_t<context> frozen(index_type in, index_type out) { return ctx_.freeze(tensor(in, out, deviation_)); }
  layer_norm_weights<context> norm() { return {tensor(1, width_, 0.02, 1), tensor(1, width_, 0.02)}; }

  std::vector<clip::transformer_layer<context>> transformer() {
    const auto affine = [&](index_type in, index_type out, double deviation) {
      return linear_weights<context>{ctx_.freeze(tensor(in, out, deviation)), tensor(1, out, 0.01)};
    };
    const double back = deviation_ / std::sqrt(2.0 * double(layers_));
    std::vector<clip::transformer_layer<context>> out;
    for (index_type i = 0; i < layers_; ++i)
      out.push_back({norm(), norm(), affine(width_, width_, deviation_), affine(width_, 2 * width_, deviation_),
                     affine(width_, width_, back), affine(width_, 4 * width_, deviation_),
                     affine(4 * width_, width_, back)});
    return out;
  }

 private:
  context& ctx_;
  index_type width_;
  double deviation_;
  index_type layers_;
  std::uint64_t index_ = 0;
};

inline clip::text_tower<context> vit_b16_text_tower(context& ctx, index_type vocabulary) {
  constexpr index_type width = 512, layers = 12, embedding = 512;
  weights w(ctx, width, layers);
  return {{.width = width,
           .heads = 8,
           .layers = layers,
           .context_length = 77,
           .vocabulary = vocabulary,
           .embedding = embedding},
          w.tensor(vocabulary, width, 0.02),
          w.tensor(77, width, 0.01),
          w.transformer(),
          w.norm(),
          w.frozen(width, embedding),
          "bench"};
}

inline clip::image_tower<context> vit_b16_image_tower(context& ctx) {
  constexpr index_type width = 768, layers = 12, patch = 16, side = 224, embedding = 512;
  weights w(ctx, width, layers);
  const clip::image_config config{
      .width = width, .heads = 12, .layers = layers, .patch = patch, .image_size = side, .embedding = embedding};
  auto patches = w.frozen(3 * patch * patch, width);
  auto class_embedding = w.tensor(1, width, 0.02), positions = w.tensor(config.tokens(), width, 0.02);
  auto before = w.norm(), after = w.norm();
  return {config,           std::move(patches), std::move(class_embedding), std::move(positions), std::move(before),
          std::move(after), w.transformer(),    w.frozen(width, embedding)};
}

/// Options of every benchmark that reads names.
inline const std::map<std::string, std::string> name_options{
    {"names", "../shared/data/imagenet_classes.txt"}, {"vocabulary", "../shared/data/bpe_simple_vocab_16e6.txt.gz"}};

inline bpe_tokenizer read_tokenizer(const arguments& o) {
  const auto bytes = gunzip_if_compressed(read_file(o.text("vocabulary")), o.text("vocabulary"));
  return bpe_tokenizer::from_merges(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

/// The first `--classes` names of the file.
inline std::vector<std::string> read_class_names(const arguments& o) {
  auto names = read_names(o.text("names"), {.duplicates = duplicate_policy::keep});
  names.resize(std::min(static_cast<std::size_t>(o.number("classes")), names.size()));
  return names;
}

}  // namespace bench
