// NegPrompt's stage-2 step as `fit_negprompt` runs it, at the shape of ViT-B/16's text tower with random weights.
//   bench_negprompt_step --classes 100 --negatives 2 --context 16 --batch 64 --suffix . --threads 2 --precision f32
//       --repeats 7 --names imagenet_classes.txt --vocabulary bpe_simple_vocab_16e6.txt.gz
// Prints one JSON line: median seconds of a step, user CPU seconds, peak memory, the losses of the first step.
#include <negood/backend/eigen.hpp>
#include <negood/io/atomic_file.hpp>
#include <negood/io/gzip.hpp>
#include <negood/io/names.hpp>
#include <negood/prompt/fit_negprompt.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

using namespace negood;
using context = eigen::context<float>;

namespace {

double user_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec);
}
double peak_gigabytes() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_maxrss) / 1e6;
}

host_matrix<float> random(index_type rows, index_type cols, double deviation, std::uint64_t index, double centre = 0) {
  host_matrix<float> m(rows, cols);
  random_sequence draw(1, random_purpose::weights, index);
  for (float& v : m.values()) v = static_cast<float>(centre + deviation * 1.7320508 * draw.next_uniform(-1, 1));
  return m;
}

clip::text_tower<context> vit_b16_text_tower(context& ctx, index_type vocabulary) {
  constexpr index_type d = 512, layers = 12;
  std::uint64_t index = 0;
  const auto tensor = [&](index_type r, index_type c, double deviation, double centre = 0) {
    return ctx.from_host(random(r, c, deviation, index++, centre).view());
  };
  const auto norm = [&] { return layer_norm_weights<context>{tensor(1, d, 0.02, 1), tensor(1, d, 0.02)}; };
  const auto affine = [&](index_type in, index_type out, double deviation) {
    return linear_weights<context>{ctx.freeze(tensor(in, out, deviation)), tensor(1, out, 0.01)};
  };
  const double width = 1 / std::sqrt(double(d)), projection = width / std::sqrt(2.0 * layers);
  clip::text_tower<context> t{
      {.width = d, .heads = 8, .layers = layers, .context_length = 77, .vocabulary = vocabulary, .embedding = 512},
      tensor(vocabulary, d, 0.02),
      tensor(77, d, 0.01),
      {},
      norm(),
      ctx.freeze(tensor(d, 512, width)),
      "bench"};
  for (index_type i = 0; i < layers; ++i)
    t.layers.push_back({norm(), norm(), affine(d, d, width), affine(d, 2 * d, width), affine(d, d, projection),
                        affine(d, 4 * d, width), affine(4 * d, d, projection)});
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> o{{"classes", "100"},
                                       {"negatives", "2"},
                                       {"context", "16"},
                                       {"batch", "64"},
                                       {"suffix", "."},
                                       {"threads", "2"},
                                       {"precision", "f32"},
                                       {"repeats", "7"},
                                       {"budget-mb", "1024"},
                                       {"chunk-rows", "256"},
                                       {"names", "../shared/data/imagenet_classes.txt"},
                                       {"vocabulary", "../shared/data/bpe_simple_vocab_16e6.txt.gz"}};
  for (int i = 1; i + 1 < argc; i += 2) o[argv[i] + 2] = argv[i + 1];
  const auto number = [&](const char* key) { return static_cast<index_type>(std::stoll(o[key])); };

  const auto bytes = gunzip_if_compressed(read_file(o["vocabulary"]), o["vocabulary"]);
  const std::string merges(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto tokenizer = bpe_tokenizer::from_merges(merges);
  auto names = read_names(o["names"], {.duplicates = duplicate_policy::keep});
  names.resize(
      static_cast<std::size_t>(std::min<index_type>(number("classes"), static_cast<index_type>(names.size()))));
  const auto classes = static_cast<index_type>(names.size());

  context ctx({.threads = number("threads"), .precision = parse_precision(o["precision"])});
  const auto tower = vit_b16_text_tower(ctx, tokenizer.vocabulary_size());
  training_features<float> train;
  train.features = random(std::max<index_type>(number("batch"), 64), 512, 1.0 / std::sqrt(512.0), 1000);
  for (index_type i = 0; i < train.features.rows(); ++i) {
    double n = 0;
    for (const float v : train.features.row(i)) n += double(v) * double(v);
    for (float& v : train.features.row(i)) v = static_cast<float>(v / std::sqrt(n));
    train.labels.push_back(i % classes);
  }

  negprompt_options options;
  options.context_length = number("context");
  options.suffix = o["suffix"];
  options.negatives = number("negatives");
  options.stage1.epochs = 0;
  options.stage2 = {.steps = number("repeats") + 1, .batch = number("batch")};
  options.memory_budget = static_cast<std::size_t>(number("budget-mb")) << 20;
  options.chunk_rows = number("chunk-rows");

  std::vector<double> seconds;
  double nis = 0, loss = 0, gradient = 0, user = 0;
  auto last = std::chrono::steady_clock::now();
  training_hooks<float> hooks;
  hooks.on_step = [&](const trace_row& row) {
    const auto now = std::chrono::steady_clock::now();
    if (row.step == 0) {  // the first step also packs the weights and encodes the positives: not timed
      nis = row.nis, loss = row.loss, gradient = row.gradient_norm, user = user_seconds();
    } else {
      seconds.push_back(std::chrono::duration<double>(now - last).count());
    }
    last = std::chrono::steady_clock::now();
  };
  fit_negprompt(ctx, tower, tokenizer, 100.0, names, train, options, {}, hooks);
  user = (user_seconds() - user) / static_cast<double>(seconds.size());
  std::ranges::sort(seconds);
  std::printf(
      "{\"bench\":\"negprompt_step\",\"classes\":%lld,\"negatives\":%s,\"context\":%s,\"batch\":%s,\"suffix\":\"%s\","
      "\"threads\":%lld,"
      "\"precision\":\"%s\",\"repeats\":%zu,\"median_s\":%.6f,\"min_s\":%.6f,\"user_s\":%.6f,\"peak_gb\":%.3f,\"loss\":"
      "%.6f,\"nis\":%.6f,"
      "\"gradient_norm\":%.6g}\n",
      static_cast<long long>(classes), o["negatives"].c_str(), o["context"].c_str(), o["batch"].c_str(),
      o["suffix"].c_str(), static_cast<long long>(ctx.threads()),
      std::string(format_precision(ctx.precision())).c_str(), seconds.size(), seconds[seconds.size() / 2],
      seconds.front(), user, peak_gigabytes(), loss, nis, gradient);
}
