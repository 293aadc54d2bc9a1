// The text step (value and gradient of learned prompts, ViT-B/16's text tower) and scoring on every backend that was
// built, in interleaved rounds.
//   bench_backends --classes 50 --prompts 3 --context 16 --images 2000 --texts 2000 --threads 1 --rounds 5
// Prints one JSON line a backend: median wall and user CPU seconds, and user seconds as a multiple of Eigen's.
#if __has_include(<negood/backend/torch.hpp>)
#include <negood/backend/torch.hpp>
#endif
#if __has_include(<negood/backend/thrust_omp.hpp>)
#include <negood/backend/thrust_omp.hpp>
#endif
#if __has_include(<negood/backend/xtensor.hpp>)
#include <negood/backend/xtensor.hpp>
#endif

#include "random_tower.hpp"

#include <negood/prompt/prompt_encoder.hpp>
#include <negood/score/scores.hpp>

#include <functional>

using namespace negood;

namespace {

struct shape {
  index_type classes, prompts, context, images, texts;
};

template <class B>
clip::text_tower<B> text_tower(B& ctx) {
  constexpr index_type width = 512, layers = 12, vocabulary = 1000;
  std::uint64_t index = 0;
  const auto tensor = [&](index_type rows, index_type cols, double deviation, double centre = 0) {
    return ctx.from_host(bench::random_rows(rows, cols, deviation, index++, centre).view());
  };
  const auto norm = [&] { return layer_norm_weights<B>{tensor(1, width, 0.02, 1), tensor(1, width, 0.02)}; };
  const auto affine = [&](index_type in, index_type out) {
    return linear_weights<B>{ctx.freeze(tensor(in, out, 0.04)), tensor(1, out, 0.01)};
  };
  std::vector<clip::transformer_layer<B>> all;
  for (index_type i = 0; i < layers; ++i)
    all.push_back({norm(), norm(), affine(width, width), affine(width, 2 * width), affine(width, width),
                   affine(width, 4 * width), affine(4 * width, width)});
  return {
      {.width = width, .heads = 8, .layers = layers, .context_length = 77, .vocabulary = vocabulary, .embedding = 512},
      tensor(vocabulary, width, 0.02),
      tensor(77, width, 0.01),
      std::move(all),
      norm(),
      ctx.freeze(tensor(width, 512, 0.04)),
      "bench"};
}

struct subject {
  std::string name;
  std::function<void()> step, score;
  std::vector<double> step_s, step_user, score_s, score_user;
};

template <class B>
struct work {
  B ctx;
  shape s;
  clip::text_tower<B> tower;
  std::vector<std::vector<index_type>> suffixes;
  prompt_encoder<B> encoder;
  tensor_t<B> contexts, cotangent, images;
  prompt_bank<B> bank;

  work(B c, const shape& how)
      : ctx(std::move(c)),
        s(how),
        tower(text_tower(ctx)),
        suffixes(make_suffixes(how.classes)),
        encoder(ctx, tower, suffixes, 998, how.context),
        contexts(ctx.from_host(bench::random_rows(how.prompts * how.context, 512, 0.02, 500).view())),
        cotangent(ctx.from_host(bench::random_rows(how.classes * how.prompts, 512, 0.05, 501).view())),
        images(ctx.from_host(bench::unit_rows(how.images, 512, 502).view())),
        bank(make_prompt_bank(ctx, ctx.from_host(bench::unit_rows(how.texts / 2, 512, 503).view()),
                              ctx.from_host(bench::unit_rows(how.texts - how.texts / 2, 512, 504).view()), 100.0)) {}

  /// Names of two to five tokens, the last the end token.
  static std::vector<std::vector<index_type>> make_suffixes(index_type classes) {
    std::vector<std::vector<index_type>> out;
    for (index_type k = 0; k < classes; ++k) {
      std::vector<index_type> tokens(static_cast<std::size_t>(1 + k % 4), k % 900);
      tokens.push_back(999);
      out.push_back(std::move(tokens));
    }
    return out;
  }
  void step() {
    typename prompt_encoder<B>::state kept;
    encoder.encode(ctx, contexts, s.prompts, &kept);
    encoder.pullback(ctx, kept, cotangent);
    ctx.synchronize();
  }
  void score() { ctx.to_host(neg_label{}(ctx, images, bank)); }
};

template <class B>
subject make_subject(std::string name, B ctx, const shape& s) {
  const auto w = std::make_shared<work<B>>(std::move(ctx), s);
  return {std::move(name), [w] { w->step(); }, [w] { w->score(); }, {}, {}, {}, {}};
}

void time(const std::function<void()>& f, std::vector<double>& wall, std::vector<double>& user) {
  const double before = bench::user_seconds();
  const auto begin = std::chrono::steady_clock::now();
  f();
  wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  user.push_back(bench::user_seconds() - before);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::arguments o(argc, argv,
                           {{"classes", "50"},
                            {"prompts", "3"},
                            {"context", "16"},
                            {"images", "2000"},
                            {"texts", "2000"},
                            {"threads", "1"},
                            {"rounds", "5"}});
  const shape s{o.number("classes"), o.number("prompts"), o.number("context"), o.number("images"), o.number("texts")};
  const index_type threads = o.number("threads");
  std::vector<subject> subjects;
  subjects.push_back(make_subject("eigen", eigen::context<float>({.threads = threads}), s));
#if __has_include(<negood/backend/xtensor.hpp>)
  subjects.push_back(make_subject("xtensor", xtensor::context<float>({.threads = threads}), s));
#endif
#if __has_include(<negood/backend/thrust_omp.hpp>)
  subjects.push_back(make_subject("thrust-omp", thrust_omp::context<float>({.threads = threads}), s));
#endif
#if __has_include(<negood/backend/torch.hpp>)
  subjects.push_back(make_subject("torch", libtorch::context<float>({.threads = threads}), s));
  subjects.push_back(
      make_subject("torch, ATen alone", libtorch::context<float>({.threads = threads, .kernels = false}), s));
#endif
  for (index_type round = -1; round < o.number("rounds"); ++round)  // the first one warms up
    for (subject& b : subjects) {
      time(b.step, b.step_s, b.step_user);
      time(b.score, b.score_s, b.score_user);
      if (round < 0)
        for (auto* v : {&b.step_s, &b.step_user, &b.score_s, &b.score_user}) v->clear();
    }
  const double step = bench::median(subjects[0].step_user), score = bench::median(subjects[0].score_user);
  for (const subject& b : subjects)
    std::printf(
        "{\"bench\":\"backends\",\"backend\":\"%s\",\"threads\":%lld,\"step_s\":%.4f,\"step_user_s\":%.4f,"
        "\"step_of_eigen\":%.2f,\"score_s\":%.4f,\"score_user_s\":%.4f,\"score_of_eigen\":%.2f}\n",
        b.name.c_str(), static_cast<long long>(threads), bench::median(b.step_s), bench::median(b.step_user),
        bench::median(b.step_user) / step, bench::median(b.score_s), bench::median(b.score_user),
        bench::median(b.score_user) / score);
}
