// The goals of a GPU, on any backend that runs kernels: ceilings of the machine, then NegPrompt's text step and whole
// run, KR-NFT, scoring and inversion beside them. bench_gpu.cu runs it on CUDA, bench_gpu.cpp on OpenMP.
//   bench_gpu [--smoke] [--full] [--repeats N] [--precision f32,bf16x3,bf16] [--peer-f32 S] [--peer-bf16 S]
// --smoke: tiny shapes, to see that it runs. --full: every step of NegPrompt and KR-NFT in place of some of them.
// --peer-*: seconds of the published text step on this machine (bench/peers/), for the ratio.
#pragma once

#include <negood/backend/precision.hpp>
#include <negood/feature/fit_krnft.hpp>
#include <negood/loss/cross_entropy.hpp>
#include <negood/math/normalise.hpp>
#include <negood/prompt/fit_negprompt.hpp>
#include <negood/prompt/invert.hpp>
#include <negood/score/logit_statistics.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace bench_gpu {

using namespace negood;

struct arguments {
  bool smoke = false, full = false;
  index_type repeats = 5;
  std::vector<precision> precisions{precision::f32, precision::bf16x3, precision::bf16};
  double peer_f32 = 0, peer_bf16 = 0;

  static arguments of(int argc, char** argv) {
    arguments a;
    for (int i = 1; i < argc; ++i) {
      const std::string name = argv[i];
      if (name == "--smoke")
        a.smoke = true;
      else if (name == "--full")
        a.full = true;
      else if (i + 1 < argc && name == "--repeats")
        a.repeats = std::atoll(argv[++i]);
      else if (i + 1 < argc && name == "--peer-f32")
        a.peer_f32 = std::atof(argv[++i]);
      else if (i + 1 < argc && name == "--peer-bf16")
        a.peer_bf16 = std::atof(argv[++i]);
      else if (i + 1 < argc && name == "--precision") {
        a.precisions.clear();
        for (char* word = std::strtok(argv[++i], ","); word; word = std::strtok(nullptr, ","))
          a.precisions.push_back(parse_precision(word));
      } else {
        std::fprintf(stderr, "bench_gpu: unknown option %s\n", argv[i]);
        std::exit(2);
      }
    }
    return a;
  }
};

/// Sizes: ImageNet-1K under ViT-B/16's text tower.
struct shapes {
  index_type width = 512, heads = 8, layers = 12, classes = 1000, context = 16, shots = 16, square = 8192,
             copied = index_type{1} << 28, texts = 5000, negatives = 10000, steps = 12, inverted = 256;
  std::vector<index_type> images{10'000, 100'000, 1'000'000};

  static shapes tiny() {
    shapes s;
    s.width = 32, s.heads = 2, s.layers = 2, s.classes = 12, s.context = 4, s.shots = 16, s.square = 64;
    s.copied = 1 << 12, s.texts = 50, s.negatives = 40, s.steps = 5, s.inverted = 4;
    s.images = {70, 200};
    return s;
  }
};

/// Values of the given deviation.
inline host_matrix<float> random_matrix(index_type rows, index_type cols, double deviation, std::uint64_t seed,
                                        double centre = 0) {
  host_matrix<float> m(rows, cols);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (float& v : m.values()) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    v = static_cast<float>(centre + deviation * 1.7320508 * (static_cast<double>(state >> 40) / 8388608.0 - 1));
  }
  return m;
}
inline host_matrix<float> unit_matrix(index_type rows, index_type cols, std::uint64_t seed) {
  auto m = random_matrix(rows, cols, 1, seed);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (const float v : m.row(r)) n += double(v) * double(v);
    for (float& v : m.row(r)) v = static_cast<float>(v / std::sqrt(n));
  }
  return m;
}

template <class B>
clip::text_tower<B> random_tower(B& ctx, const shapes& s, index_type vocabulary) {
  std::uint64_t seed = 100;
  const index_type d = s.width;
  const double deviation = 1 / std::sqrt(double(d)), back = deviation / std::sqrt(2.0 * double(s.layers));
  const auto tensor = [&](index_type rows, index_type cols, double size, double centre = 0) {
    return ctx.from_host(random_matrix(rows, cols, size, seed++, centre).view());
  };
  const auto norm = [&] { return layer_norm_weights<B>{tensor(1, d, 0.02, 1), tensor(1, d, 0.02)}; };
  const auto affine = [&](index_type in, index_type out, double size) {
    return linear_weights<B>{ctx.freeze(tensor(in, out, size)), tensor(1, out, 0.01)};
  };
  std::vector<clip::transformer_layer<B>> layers;
  for (index_type i = 0; i < s.layers; ++i)
    layers.push_back({norm(), norm(), affine(d, d, deviation), affine(d, 2 * d, deviation), affine(d, d, back),
                      affine(d, 4 * d, deviation), affine(4 * d, d, back)});
  return {{.width = d,
           .heads = s.heads,
           .layers = s.layers,
           .context_length = 77,
           .vocabulary = vocabulary,
           .embedding = d},
          tensor(vocabulary, d, 0.02),
          tensor(77, d, 0.01),
          std::move(layers),
          norm(),
          ctx.freeze(tensor(d, d, deviation)),
          "bench"};
}

/// Different names of two to four letters, which are as many tokens: as long as ImageNet's on the average.
inline std::vector<std::string> names(index_type count) {
  std::vector<std::string> out;
  for (index_type i = 0; i < count; ++i) {
    std::string name;
    index_type left = i / 3;
    for (index_type j = 0; j < 2 + i % 3; ++j, left /= 26) name += static_cast<char>('a' + left % 26);
    out.push_back(name);
  }
  return out;
}

/// What the machine says of its memory.
struct machine {
  std::string name;
  std::function<double()> peak_gigabytes;  ///< since the last `forget_peak`
  std::function<void()> forget_peak;
};

template <class B>
class program {
 public:
  program(B& ctx, const arguments& a, const machine& m)
      : ctx_(ctx),
        a_(a),
        s_(a.smoke ? shapes::tiny() : shapes{}),
        machine_(m),
        precision_(format_precision(ctx.precision())) {}

  void run() {
    for (const auto part : {&program::ceilings, &program::text_step, &program::negprompt, &program::krnft,
                            &program::scoring, &program::inversion}) {
      machine_.forget_peak();
      (this->*part)();
    }
  }

 private:
  /// Median seconds of `work()` with all it started, after one call that warms up.
  template <class Work>
  double seconds(Work&& work) {
    std::vector<double> all;
    for (index_type i = 0; i <= a_.repeats; ++i) {
      ctx_.synchronize();
      const auto begin = std::chrono::steady_clock::now();
      work();
      ctx_.synchronize();
      if (i > 0) all.push_back(since(begin));
    }
    return median(std::move(all));
  }
  static double since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  static double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v[v.size() / 2];
  }

  void line(const char* what, double s, double flop, double bytes, const std::string& goal = "") {
    std::printf("%-7s %-34s %12.3f ms %9.2f TFLOP/s %5.1f %% %9.1f GB/s %5.1f %%  peak %6.2f GB  %s\n",
                precision_.c_str(), what, 1e3 * s, 1e-12 * flop / s, rate_ > 0 ? 100 * flop / s / rate_ : 100.0,
                1e-9 * bytes / s, bandwidth_ > 0 ? 100 * bytes / s / bandwidth_ : 100.0, machine_.peak_gigabytes(),
                goal.c_str());
    std::fflush(stdout);
  }
  std::string goal(const std::string& wanted, bool met) const {
    return a_.smoke ? "" : "goal " + wanted + (met ? ": met" : ": MISSED");
  }
  auto upload(const host_matrix<float>& m) { return ctx_.from_host(m.view()); }

  /// The largest product by constants, and copying: what the percentages are of.
  void ceilings() {
    const index_type n = s_.square;
    const auto x = upload(random_matrix(n, n, 1, 1));
    const auto w = ctx_.freeze(upload(random_matrix(n, n, 1, 2)));
    const double flop = 2.0 * double(n) * double(n) * double(n), product = seconds([&] { ctx_.matmul(x, w); });
    const auto long_one = ctx_.zeros(s_.copied >> 9, 512);
    const double bytes = 8.0 * double(ctx_.rows(long_one)) * 512, copy = seconds([&] { ctx_.clone(long_one); });
    line("ceiling: product", product, flop, 12.0 * double(n) * double(n));
    line("ceiling: copy", copy, 0, bytes);
    rate_ = flop / product;
    bandwidth_ = bytes / copy;
  }

  /// Products with weights of a text tower, value and gradient; `rows` behind the shared context, `sequences` of them.
  /// The first layer's rows enter once and for all, the last layer asks one row a sequence.
  double text_flop(double rows, double sequences) const {
    const double d = double(s_.width), layers = double(s_.layers);
    return 2 * d * d * (rows * (24 * layers - 26) + sequences * 22);
  }
  /// What a layer reads and writes, value and gradient: about 126 numbers for each of a row's.
  double text_bytes(double rows) const { return 4.0 * 126 * rows * double(s_.width) * double(s_.layers); }

  void text_step() {
    const auto t = bpe_tokenizer::from_merges(no_merges);
    const auto tower = random_tower(ctx_, s_, t.vocabulary_size());
    const auto suffixes = name_suffixes(t, names(s_.classes), ".", s_.context, 77);
    double rows = 0;
    for (const auto& suffix : suffixes) rows += double(suffix.size());
    const prompt_encoder<B> encoder(ctx_, tower, suffixes, t.sos(), s_.context);
    for (const index_type p : {index_type{2}, index_type{3}}) {
      const auto contexts = upload(random_matrix(p * s_.context, s_.width, 0.02, 3));
      const auto d_unit = upload(random_matrix(s_.classes * p, s_.width, 1, 4));
      const double time = seconds([&] {
        typename prompt_encoder<B>::state state;
        const auto unit = normalise_rows(ctx_, encoder.encode(ctx_, contexts, p, &state));
        encoder.pullback(ctx_, state, normalise_rows_t::pullback(ctx_, unit, d_unit));
      });
      const double peer = ctx_.precision() == precision::bf16 ? a_.peer_bf16 : a_.peer_f32;
      const double wanted = ctx_.precision() == precision::bf16 ? 100 : 25;
      std::string verdict = "goal < 5 GB, >= " + std::to_string(int(wanted)) + "x the published form";
      if (p == 3 && peer > 0)
        verdict = goal(verdict.substr(5) + ", is " + std::to_string(peer / time) + "x", peer / time >= wanted);
      line(("text step, " + std::to_string(p) + " prompts a class").c_str(), time,
           text_flop(rows * double(p), double(s_.classes * p)), text_bytes(rows * double(p)), verdict);
    }
  }

  /// Both stages on cached features; some steps of each, whose median stands for the rest, or all of them.
  void negprompt() {
    const auto t = bpe_tokenizer::from_merges(no_merges);
    const auto tower = random_tower(ctx_, s_, t.vocabulary_size());
    training_features<float> train;
    train.features = unit_matrix(s_.classes * s_.shots, s_.width, 5);
    for (index_type i = 0; i < train.features.rows(); ++i) train.labels.push_back(i % s_.classes);
    negprompt_options o;
    o.context_length = s_.context;
    const index_type images = train.features.rows();
    const index_type all[2] = {o.stage1.epochs * (images / o.stage1.batch),
                               o.stage2.epochs * (images / o.stage2.batch)};
    if (!a_.full) o.stage1.steps = o.stage2.steps = s_.steps;
    std::vector<double> step[2];
    auto last = std::chrono::steady_clock::now();
    training_hooks<float> hooks;
    hooks.on_step = [&](const trace_row& row) {
      if (row.step > 1) step[row.stage - 1].push_back(since(last));  // the first ones pack and warm up
      last = std::chrono::steady_clock::now();
    };
    const auto begin = std::chrono::steady_clock::now();
    fit_negprompt(ctx_, tower, t, 100.0, names(s_.classes), train, o, {}, hooks);
    ctx_.synchronize();
    const double whole = since(begin), one = median(step[0]), two = median(step[1]);
    double rows = 0;
    for (const auto& suffix : name_suffixes(t, names(s_.classes), ".", s_.context, 77)) rows += double(suffix.size());
    line("NegPrompt, step of stage 1", one, text_flop(rows, double(s_.classes)), text_bytes(rows));
    line("NegPrompt, step of stage 2", two, text_flop(2 * rows, 2.0 * double(s_.classes)), text_bytes(2 * rows));
    const double total = a_.full ? whole : double(all[0]) * one + double(all[1]) * two;
    std::printf("%-7s %-34s %12.3f s  (%lld + %lld steps, %s)  %s\n", precision_.c_str(), "NegPrompt, whole run", total,
                static_cast<long long>(all[0]), static_cast<long long>(all[1]), a_.full ? "measured" : "extrapolated",
                goal("<= 180 s", total <= 180).c_str());
  }

  void krnft() {
    constexpr index_type stored = 32, kept = 32;
    const krnft_texts<float> texts{unit_matrix(s_.classes, s_.width, 6), unit_matrix(s_.negatives, s_.width, 7)};
    krnft_training_data<float> data;
    data.positives = unit_matrix(stored * kept, s_.width, 8);
    data.negatives = unit_matrix(stored * kept, s_.width, 9);
    for (index_type i = 0; i < stored; ++i) data.labels.push_back(i % s_.classes);
    auto o = krnft_options::paper();
    const index_type all = o.steps;
    if (!a_.full) o.steps = 4 * s_.steps;
    if (a_.smoke) o.groups = 2, o.hidden = 8;
    std::vector<double> steps;
    auto last = std::chrono::steady_clock::now();
    krnft_hooks<float> hooks;
    hooks.on_step = [&](const krnft_trace_row& row) {
      if (row.step > 1) steps.push_back(since(last));
      last = std::chrono::steady_clock::now();
    };
    fit_krnft(ctx_, texts, data, o, {}, hooks);
    const double one = median(std::move(steps)), labels = double(s_.classes + s_.negatives);
    // At the least: the logits of 64 crops and their two gradients, and the matrix of labels once.
    line("KR-NFT, step of 64 crops", one, 3 * 2.0 * 64 * labels * double(s_.width), 4 * labels * double(s_.width));
    std::printf("%-7s %-34s %12.3f s  %s\n", precision_.c_str(), "KR-NFT, 1,200 steps", one * double(all),
                goal("<= 5 s", one * double(all) <= 5).c_str());
  }

  void scoring() {
    const auto texts = ctx_.freeze(upload(unit_matrix(s_.texts, s_.width, 10)));
    const index_type unit = s_.images.front();
    const auto some = upload(unit_matrix(unit, s_.width, 11));
    const double flop_each = 2.0 * double(s_.texts) * double(s_.width);
    const double bare = seconds([&] { ctx_.matmul_nt(some, texts); });
    line("bare product of scoring", bare, flop_each * double(unit), 4.0 * double(unit) * double(s_.texts + s_.width));
    for (const index_type n : s_.images) {
      auto images = ctx_.zeros(n, s_.width);
      for (index_type first = 0; first + unit <= n; first += unit) ctx_.paste(images, some, first, 0);
      const double time = seconds([&] { logit_statistics(ctx_, images, texts, 100.0); });
      const double share = bare * double(n) / double(unit) / time;
      line(("scoring " + std::to_string(n) + " images").c_str(), time, flop_each * double(n),
           4.0 * double(n) * double(s_.width),
           goal(">= 70 % of the bare product, is " + std::to_string(int(100 * share)) + " %", share >= 0.7));
    }
  }

  void inversion() {
    const auto t = bpe_tokenizer::from_merges(no_merges);
    const auto tower = random_tower(ctx_, s_, t.vocabulary_size());
    const modality_inverter<B> invert(ctx_, tower, t, {.templates = {"of {}"}});
    const auto images = unit_matrix(s_.inverted, s_.width, 12);
    std::vector<std::uint64_t> sequence;
    for (index_type i = 0; i < s_.inverted; ++i) sequence.push_back(static_cast<std::uint64_t>(i));
    const double time = seconds([&] { invert(ctx_, images, sequence); });
    // The pseudo-word and the end token; ten values with gradients and one value.
    const double rows = 2.0 * double(s_.inverted), n = double(s_.inverted);
    line(("inversion of " + std::to_string(s_.inverted) + " images").c_str(), time, 10.5 * text_flop(rows, n),
         10.5 * text_bytes(rows), goal("< 20 ms", time < 0.02));
  }

  static constexpr const char* no_merges = "#version: 0.2\na b\nc d</w>\n";

  B& ctx_;
  const arguments& a_;
  shapes s_;
  const machine& machine_;
  std::string precision_;
  double rate_ = 0, bandwidth_ = 0;  // of the ceilings
};

/// `make(precision)` gives a context.
template <class Make>
int main_of(const arguments& a, const machine& m, Make make) {
  std::printf("%s%s; medians of %lld; percentages are of the two ceilings\n", m.name.c_str(),
              a.smoke ? "; tiny shapes, no figure means anything" : "", static_cast<long long>(a.repeats));
  for (const precision p : a.precisions) {
    auto ctx = make(p);
    if (ctx.precision() != p) {
      std::printf("%-7s is not there: it would run as %s\n", std::string(format_precision(p)).c_str(),
                  std::string(format_precision(ctx.precision())).c_str());
      continue;
    }
    program(ctx, a, m).run();
  }
  return 0;
}

}  // namespace bench_gpu
