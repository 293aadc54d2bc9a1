// negood score: one score an image, higher = more in-distribution.
#include "commands.hpp"

#include <negood/io/detector.hpp>

namespace negood::cli {

namespace {

struct row_range {
  index_type first = 0, count = 0;
};

/// Rows of shard i of n (1 <= i <= n): runs of nearly equal length, in order.
row_range rows_of_shard(const std::string& shard, index_type rows) {
  if (shard.empty()) return {0, rows};
  const auto slash = shard.find('/');
  const auto i = parse_number<index_type>(shard.substr(0, slash));
  const auto n = slash == std::string::npos ? std::nullopt : parse_number<index_type>(shard.substr(slash + 1));
  if (!i || !n || *i < 1 || *i > *n || *n > 1'000'000)
    fail(error_category::usage, "negood.cli.7", "--shard", "'" + shard + "' is not i/n with 1 <= i <= n",
         "for example --shard 1/4");
  const index_type first = rows / *n * (*i - 1) + rows % *n * (*i - 1) / *n;
  const index_type end = rows / *n * *i + rows % *n * *i / *n;
  return {first, end - first};
}

template <class T>
host_matrix<T> rows_of(host_matrix<T> m, row_range r) {
  if (r.count == m.rows()) return m;
  const auto part = m.view().slice_rows(r.first, r.count);
  return host_matrix<T>(r.count, m.cols(), std::vector<T>(part.data, part.data + part.size()));
}

template <Backend B>
int score(B& ctx, const score_options& o) {
  using real = real_t<B>;
  auto record = load_detector_record(o.detector);
  const std::string fingerprint = record.encoder_fingerprint;
  const detector<B> d(ctx, std::move(record));
  host_matrix<real> features;
  bool forced = false;
  std::string source = o.features;
  if (!o.features.empty()) {
    forced = check_encoder(o.common, fingerprint_of_features(o.features), o.features, fingerprint, o.detector,
                           o.force_encoder);
    auto file = read_features<real>(o.features, {.dequant_scale = o.rows.dequant});
    if (!file.notice.empty()) note(o.common, file.notice);
    const auto part = rows_of_shard(o.shard, file.values.rows());
    features = rows_of(std::move(file.values), part);
  } else {
    const auto m = load_model(ctx, o.common, o.model);
    forced = check_encoder(o.common, m.fingerprint, o.model, fingerprint, o.detector, o.force_encoder);
    auto list = read_images(o.images);
    const auto part = rows_of_shard(o.shard, list.size());
    list.paths.erase(list.paths.begin() + part.first + part.count, list.paths.end());
    list.paths.erase(list.paths.begin(), list.paths.begin() + part.first);
    list.labels.assign(list.paths.size(), -1);
    features = encode_with_progress(ctx, o.common, m, list).features;
    source = o.images.images;
  }
  check_same_width(features.cols(), source, d.record().positive.cols(), o.detector);

  // Odd rows are set aside once, here, where the remarks can be passed on; inside they are rows of zeros.
  feature_report report;
  std::vector<double> scores;
  std::vector<index_type> predictions;
  const index_type n = features.rows();
  if (n == 0) {
    note(o.common, source + ": there are no rows; the score file is empty");
  } else {
    report = check_features(features, o.rows.policy(), source);
    if (report.warn)
      note(o.common, source + ": rows are not unit (a norm is off by " + format_number(report.max_deviation) + "); " +
                         (o.rows.assume_normalized ? "taken as they are" : "normalised"));
    const feature_options inside{.zero_norm = zero_norm_policy::ood, .assume_normalized = true};
    if (!o.predictions.empty()) predictions = d.predict(features, inside);
    scores = d.score(std::move(features), inside);
    mark_scores<double>(scores, report);
  }
  if (!report.nonfinite_rows.empty() || !report.zero_rows.empty())
    note(o.common, source + ": " + std::to_string(report.nonfinite_rows.size()) + " rows with NaN or infinities, " +
                       std::to_string(report.zero_rows.size()) + " of zeros, scored as --nan and --zero-norm say");
  write_npy(o.out, scores);
  if (!o.predictions.empty()) write_npy(o.predictions, predictions);
  say(o.common, escape(o.out) + ": " + std::to_string(n) + " scores of " + d.record().method);
  ordered_json j{{"out", o.out},
                 {"n", n},
                 {"method", d.record().method},
                 {"nonfinite_rows", report.nonfinite_rows.size()},
                 {"zero_rows", report.zero_rows.size()},
                 {"normalised_rows", report.changed_rows},
                 {"forced_encoder", forced}};
  if (!o.shard.empty()) j["shard"] = o.shard;
  result(o.common, j);
  return 0;
}

}  // namespace

int run_score(const score_options& o) {
  if (o.streaming && !o.stream.replay.empty()) return run_score_stream(o);
  if (o.out.empty()) fail(error_category::usage, "negood.cli.6", "score", "--out is missing", "the file of the scores");
  if (o.features.empty() == o.images.images.empty())
    fail(error_category::usage, "negood.cli.6", "score", "give either --features or --images with --model");
  if (o.streaming) return run_score_stream(o);
  return with_backend(o.common, [&](auto& ctx) { return score(ctx, o); });
}

}  // namespace negood::cli
