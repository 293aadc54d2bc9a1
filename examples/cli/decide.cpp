// negood decide: label, score, known or unknown, for each picture.
#include "commands.hpp"

#include <negood/io/detector.hpp>

namespace negood::cli {

namespace {

template <Backend B>
int decide(B& ctx, const decide_options& o) {
  auto record = load_detector_record(o.detector);
  if (!record.threshold)
    fail(error_category::usage, "negood.detector.2", o.detector, "the detector has no threshold",
         "negood calibrate sets one from ID scores");
  const std::string fingerprint = record.encoder_fingerprint;
  const detector<B> d(ctx, std::move(record));
  host_matrix<real_t<B>> features;
  std::vector<std::string> items = o.images;
  if (!o.features.empty()) {
    check_encoder(o.common, fingerprint_of_features(o.features), o.features, fingerprint, o.detector, o.force_encoder);
    features = read_unit_features<real_t<B>>(o.common, o.features, o.rows).rows;
    for (index_type i = 0; i < features.rows(); ++i) items.push_back(o.features + "[" + std::to_string(i) + "]");
  } else {
    const auto m = load_model(ctx, o.common, o.model);
    check_encoder(o.common, m.fingerprint, o.model, fingerprint, o.detector, o.force_encoder);
    image_list list;
    list.paths = o.images;
    list.labels.assign(o.images.size(), -1);
    features = encode_with_progress(ctx, o.common, m, list).features;
  }
  check_same_width(features.cols(), o.features.empty() ? o.model : o.features, d.record().positive.cols(), o.detector);
  const auto answers = d.decide_all(features);

  ordered_json images = ordered_json::array();
  index_type unknown = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& a = answers[i];
    unknown += a.is_unknown ? 1 : 0;
    say(o.common, escape(items[i]) + "\t" + escape(a.label) + "\t" + format_number(a.score) + "\t" +
                      (a.is_unknown ? "unknown" : "known"));
    images.push_back({{"image", items[i]},
                      {"label", a.label},
                      {"label_index", a.label_index},
                      {"score", a.score},
                      {"known", !a.is_unknown}});
  }
  result(o.common, {{"images", images},
                    {"n", answers.size()},
                    {"unknown", unknown},
                    {"threshold", *d.record().threshold},
                    {"threshold_policy", d.record().threshold_policy}});
  return o.fail_on_ood && unknown > 0 ? 1 : 0;
}

}  // namespace

int run_decide(const decide_options& o) {
  if (o.images.empty() == o.features.empty())
    fail(error_category::usage, "negood.cli.6", "decide", "give pictures with --model, or --features");
  return with_backend(o.common, [&](auto& ctx) { return decide(ctx, o); });
}

}  // namespace negood::cli
