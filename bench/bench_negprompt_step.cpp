// NegPrompt's stage-2 step as `fit_negprompt` runs it, at the shape of ViT-B/16's text tower with random weights.
//   bench_negprompt_step --classes 100 --negatives 2 --context 16 --batch 64 --suffix . --threads 2 --precision f32
//       --repeats 7 --names imagenet_classes.txt --vocabulary bpe_simple_vocab_16e6.txt.gz
// Prints one JSON line: median seconds of a step, user CPU seconds, peak memory, the losses of the first step.
#include "random_tower.hpp"

#include <negood/prompt/fit_negprompt.hpp>

using namespace negood;

int main(int argc, char** argv) {
  auto defaults = bench::name_options;
  defaults.insert({{"classes", "100"},
                   {"negatives", "2"},
                   {"context", "16"},
                   {"batch", "64"},
                   {"suffix", "."},
                   {"threads", "2"},
                   {"precision", "f32"},
                   {"repeats", "7"},
                   {"budget-mb", "768"},
                   {"chunk-rows", "256"}});
  const bench::arguments o(argc, argv, defaults);
  const auto tokenizer = bench::read_tokenizer(o);
  const auto names = bench::read_class_names(o);
  const auto classes = static_cast<index_type>(names.size());

  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const auto tower = bench::vit_b16_text_tower(ctx, tokenizer.vocabulary_size());
  training_features<float> train;
  train.features = bench::unit_rows(std::max<index_type>(o.number("batch"), 64), 512, 1000);
  for (index_type i = 0; i < train.features.rows(); ++i) train.labels.push_back(i % classes);

  negprompt_options options;
  options.context_length = o.number("context");
  options.suffix = o.text("suffix");
  options.negatives = o.number("negatives");
  options.stage1.epochs = 0;
  options.stage2 = {.steps = o.number("repeats") + 1, .batch = o.number("batch")};
  options.memory_budget = static_cast<std::size_t>(o.number("budget-mb")) << 20;
  options.chunk_rows = o.number("chunk-rows");

  std::vector<double> seconds;
  double nis = 0, loss = 0, gradient = 0, user = 0;
  auto last = std::chrono::steady_clock::now();
  training_hooks<float> hooks;
  hooks.on_step = [&](const trace_row& row) {
    const auto now = std::chrono::steady_clock::now();
    if (row.step == 0) {  // the first step also packs the weights and encodes the positives: not timed
      nis = row.nis, loss = row.loss, gradient = row.gradient_norm, user = bench::user_seconds();
    } else {
      seconds.push_back(std::chrono::duration<double>(now - last).count());
    }
    last = std::chrono::steady_clock::now();
  };
  fit_negprompt(ctx, tower, tokenizer, 100.0, names, train, options, {}, hooks);
  user = (bench::user_seconds() - user) / static_cast<double>(seconds.size());
  std::ranges::sort(seconds);
  std::printf(
      "{\"bench\":\"negprompt_step\",\"classes\":%lld,\"negatives\":%s,\"context\":%s,\"batch\":%s,\"suffix\":\"%s\","
      "\"threads\":%lld,"
      "\"precision\":\"%s\",\"repeats\":%zu,\"median_s\":%.6f,\"min_s\":%.6f,\"user_s\":%.6f,\"peak_gb\":%.3f,\"loss\":"
      "%.6f,\"nis\":%.6f,"
      "\"gradient_norm\":%.6g}\n",
      static_cast<long long>(classes), o.text("negatives").c_str(), o.text("context").c_str(), o.text("batch").c_str(),
      o.text("suffix").c_str(), static_cast<long long>(ctx.threads()),
      std::string(format_precision(ctx.precision())).c_str(), seconds.size(), seconds[seconds.size() / 2],
      seconds.front(), user, bench::peak_gigabytes(), loss, nis, gradient);
}
