// KR-NFT's head: loss and all gradients of a step, training from cached crops, and scoring.
//   bench_krnft --mode step  --images 32 --crops 1   one row an image, each under its own condition
//   bench_krnft --mode step  --images 4 --crops 64   half of the crops positives, one condition an image
//   bench_krnft --mode train --steps 100             steps of 64 crops of one image, with the optimiser
//   bench_krnft --mode score --images 512            scores, all at once and one image at a time
// Prints one JSON line: median seconds, user CPU seconds, peak memory, and what the matrices alone take.
#include "random_tower.hpp"

#include <negood/krnft.hpp>

using namespace negood;

int main(int argc, char** argv) {
  const bench::arguments o(argc, argv,
                           {{"mode", "step"},
                            {"images", "32"},
                            {"crops", "1"},
                            {"positive", "1000"},
                            {"negative", "10000"},
                            {"dim", "512"},
                            {"hidden", "64"},
                            {"groups", "10"},
                            {"knowledge", "1"},
                            {"steps", "50"},
                            {"threads", "2"},
                            {"precision", "f32"},
                            {"repeats", "15"}});
  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const index_type n = o.number("positive"), m = o.number("negative"), dim = o.number("dim");
  const index_type images = o.number("images"), crops = o.number("crops");
  const auto classes = bench::unit_rows(n, dim, 1), negatives = bench::unit_rows(m, dim, 2);
  const auto values = bench::unit_rows(images * crops, dim, 3);
  const auto model = feature_models::kr_nft;
  auto parameters = initial_feature_parameters<float>(model, dim, o.number("hidden"));
  std::uint64_t drawn = 10;
  for (auto& part : parameters.parts)  // as trained: nothing is zero
    for_each_tensor(part, [&](const char*, host_matrix<float>& w) {
      const auto noise = bench::random_rows(w.rows(), w.cols(), 0.003, drawn++);
      for (index_type i = 0; i < w.size(); ++i) w.data()[i] += noise.data()[i];
    });

  bench::timing time{};
  double single = 0, check = 0, before_gb = 0;
  if (o.text("mode") == "step") {
    const auto labels = make_label_set(ctx, model, classes.view(), negatives.view(), {.groups = o.number("groups")});
    const auto device = upload_parameters(ctx, parameters);
    std::vector<index_type> condition_of, label;
    std::vector<double> weights;
    host_matrix<float> anchors(images, dim);
    for (index_type r = 0; r < images * crops; ++r) {
      const bool id = crops == 1 ? r % 2 == 0 : r % crops < crops / 2;
      condition_of.push_back(r / crops);
      label.push_back(id ? r % n : -1);
      weights.push_back(2.0 / static_cast<double>(images * crops));
      if (r % crops == 0) std::ranges::copy(values.row(r), anchors.row(r / crops).begin());
    }
    const auto x = ctx.from_host(anchors.view());
    const krnft_loss_options options{.knowledge_weight = o.number("knowledge") ? 100.0 : 0.0,
                                     .measure_knowledge = o.number("knowledge") != 0};
    const auto step = [&] {
      const auto maps = residual_maps(ctx, model, device, x);
      const auto value =
          krnft_objective(ctx, model, labels, device, maps, {values.view(), condition_of, label, weights}, options);
      krnft_parameter_gradients(ctx, model, device, maps, x, value.gradients);
      check = value.loss;
    };
    time = bench::measure(o.number("repeats"), step);
  } else if (o.text("mode") == "train") {
    krnft_texts<float> texts{classes, negatives};
    krnft_training_data<float> data;
    constexpr index_type kept = 32, stored = 32;
    data.positives = bench::unit_rows(stored * kept, dim, 4);
    data.negatives = bench::unit_rows(stored * kept, dim, 5);
    for (index_type i = 0; i < stored; ++i) data.labels.push_back(i);
    auto options = krnft_options::paper();
    options.steps = o.number("steps") + 1;
    options.hidden = o.number("hidden");
    options.groups = o.number("groups");
    std::vector<double> seconds;
    auto last = std::chrono::steady_clock::now();
    double user = 0;
    krnft_hooks<float> hooks;
    hooks.on_step = [&](const krnft_trace_row& row) {
      const auto now = std::chrono::steady_clock::now();
      if (row.step == 0)  // packs the matrices
        user = bench::user_seconds();
      else
        seconds.push_back(std::chrono::duration<double>(now - last).count());
      check = row.loss;
      last = now;
    };
    fit_krnft(ctx, texts, data, options, {}, hooks);
    time = {bench::median(seconds), (bench::user_seconds() - user) / static_cast<double>(seconds.size())};
  } else {
    const tuned_features<float> features{parameters, 100.0, 0, {}};
    const auto scorer = features.bind(ctx, classes.view(), negatives.view());
    before_gb = bench::peak_gigabytes();
    time = bench::measure(o.number("repeats"), [&] {
      const auto s = grouped_log_odds(scorer(ctx, values.view()));
      check = s.front();
    });
    single = bench::measure(50, [&] { grouped_log_odds(scorer(ctx, values.view().slice_rows(0, 1))); }).median_s;
  }
  const double matrices_gb = 4e-9 * static_cast<double>((n + m) * dim);
  std::printf(
      "{\"bench\":\"krnft\",\"mode\":\"%s\",\"images\":%s,\"crops\":%s,\"labels\":%lld,\"dim\":%s,\"hidden\":%s,"
      "\"threads\":%lld,\"precision\":\"%s\",\"median_s\":%.6f,\"user_s\":%.6f,\"single_image_s\":%.6f,\"peak_gb\":%."
      "3f,"
      "\"one_matrix_gb\":%.3f,\"bound_gb\":%.3f,\"check\":%.6f}\n",
      o.text("mode").c_str(), o.text("images").c_str(), o.text("crops").c_str(), static_cast<long long>(n + m),
      o.text("dim").c_str(), o.text("hidden").c_str(), static_cast<long long>(ctx.threads()),
      std::string(format_precision(ctx.precision())).c_str(), time.median_s, time.user_s, single,
      bench::peak_gigabytes(), matrices_gb, before_gb, check);
}
