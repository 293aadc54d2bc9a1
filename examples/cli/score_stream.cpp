// negood score --stream: InterNeg's memory, learned from the images in the order they are given.
#include "commands.hpp"

#include <negood/io/atomic_file.hpp>
#include <negood/io/detector.hpp>
#include <negood/stream/interneg.hpp>

#include <map>

namespace negood::cli {
namespace {

interneg_options options_of(const score_options& o) {
  interneg_options out;
  if (o.stream.beta) out.beta = *o.stream.beta;
  if (o.stream.capacity) out.capacity = *o.stream.capacity;
  if (o.stream.steps) out.inversion.steps = *o.stream.steps;
  if (!o.stream.templates.empty()) out.inversion.templates = o.stream.templates;
  for (auto& t : out.inversion.templates)  // "$" is how the literature writes the place
    if (const auto at = t.find('$'); at != std::string::npos && t.find("{}") == std::string::npos)
      t.replace(at, 1, "{}");
  out.inversion.seed = o.common.seed;
  out.mode = choose<admission_mode>("--admission", o.stream.admission,
                                    {{"inline", admission_mode::immediate},
                                     {"deferred", admission_mode::deferred},
                                     {"frozen", admission_mode::frozen}});
  out.guards.duplicate_cosine = o.stream.duplicate_cosine;
  if (!o.stream.canaries.empty()) out.guards.canary_loss = o.stream.canary_loss;
  return out;
}

template <Backend B>
int score_stream(B& ctx, const score_options& o) {
  using real = real_t<B>;
  auto record = load_detector_record(o.detector);
  if (record.method != "interneg" || record.proxies.rows() == 0)
    fail(error_category::usage, "negood.cli.17", "--stream",
         o.detector + " is a detector of method " + record.method +
             (record.proxies.rows() == 0 ? " without image proxies" : ""),
         "only interneg detectors learn from a stream: negood fit --method interneg");
  if (!o.shard.empty())
    fail(error_category::usage, "negood.cli.17", "--stream", "a stream has one order: --shard does not go with it");
  const auto m = load_model(ctx, o.common, o.model);
  check_encoder(o.common, m.fingerprint, o.model, record.encoder_fingerprint, o.detector, o.force_encoder);
  const auto& text = clip::require_text(m, "--stream");

  host_matrix<real> features;
  std::string source = o.features;
  if (!o.features.empty()) {
    check_encoder(o.common, fingerprint_of_features(o.features), o.features, record.encoder_fingerprint, o.detector,
                  o.force_encoder);
    features = read_unit_features<real>(o.common, o.features, o.rows, true).rows;
  } else {
    features = encode_with_progress(ctx, o.common, m, read_images(o.images)).features;
    source = o.images.images;
  }
  check_same_width(features.cols(), source, record.positive.cols(), o.detector);
  host_matrix<real> canaries;
  if (!o.stream.canaries.empty()) {
    canaries = read_unit_features<real>(o.common, o.stream.canaries, o.rows).rows;
    check_same_width(canaries.cols(), o.stream.canaries, record.positive.cols(), o.detector);
  }

  const auto device = [&](const host_matrix<float>& x) { return ctx.from_host(cast<real>(x).view()); };
  interneg_stream<B> stream(ctx, text, m.tokenizer,
                            make_prompt_bank(ctx, device(record.positive), device(record.negative), record.logit_scale),
                            inter_modal_distances(record.positive.view(), record.proxies.view()), options_of(o),
                            std::move(canaries));

  std::vector<double> scores;
  std::vector<index_type> predictions;
  std::map<std::string_view, index_type> outcomes;
  std::string log;
  progress bar(o.common, "images", features.rows());
  constexpr index_type block = 256;  // how many at a time does not show in the result
  for (index_type first = 0; first < features.rows(); first += block) {
    throw_if_stopped("score");
    const auto n = std::min(block, features.rows() - first);
    const auto rows = features.view().slice_rows(first, n);
    std::vector<observation> who;
    for (index_type i = 0; i < n; ++i) who.push_back({static_cast<std::uint64_t>(first + i), 0});
    for (const auto& a : stream.observe(
             host_matrix<real>(n, features.cols(), std::vector<real>(rows.data, rows.data + rows.size())), who)) {
      if (!o.stream.log_out.empty())
        log += dump_json(ordered_json{{"sequence", scores.size()},
                                      {"score", a.score},
                                      {"label", a.label_index},
                                      {"outcome", format_admission(a.outcome)},
                                      {"margin", a.margin},
                                      {"inversion_cosine", a.inversion_cosine},
                                      {"memory_version", a.memory_version}}) +
               "\n";
      scores.push_back(a.score);
      predictions.push_back(a.label_index);
      ++outcomes[format_admission(a.outcome)];
      bar.tick();
    }
  }
  ordered_json settled = ordered_json::object();
  for (const auto& [who, outcome] : stream.settle())
    settled[std::string(format_admission(outcome))] = settled.value(format_admission(outcome), 0) + 1;

  write_npy(o.out, scores);
  if (!o.predictions.empty()) write_npy(o.predictions, predictions);
  if (!o.stream.log_out.empty()) write_file(o.stream.log_out, log);
  ordered_json j{{"out", o.out},
                 {"n", scores.size()},
                 {"method", record.method},
                 {"memory", stream.memory().size()},
                 {"memory_version", stream.memory().version()},
                 {"outcomes", outcomes}};
  if (!settled.empty()) j["settled"] = settled;
  if (!o.stream.memory_out.empty()) {
    // The memory's rows are negatives like any others: the detector that goes on has them among its own.
    const auto learned = stream.memory().features();
    host_matrix<float> all(record.negative.rows() + learned.rows, record.negative.cols());
    std::copy(record.negative.values().begin(), record.negative.values().end(), all.data());
    std::copy(learned.data, learned.data + learned.size(), all.data() + record.negative.size());
    record.negative = std::move(all);
    record.threshold.reset();  // scores of other negatives want another threshold
    save(record, o.stream.memory_out);
    j["memory_out"] = o.stream.memory_out;
  }
  say(o.common, escape(o.out) + ": " + std::to_string(scores.size()) + " scores of interneg, " +
                    std::to_string(stream.memory().size()) + " rows of memory learned");
  result(o.common, j);
  return 0;
}

}  // namespace

int run_score_stream(const score_options& o) {
  if (o.model.empty())
    fail(error_category::usage, "negood.cli.6", "score", "--stream needs --model", "its text tower inverts images");
  return with_backend(o.common, [&](auto& ctx) { return score_stream(ctx, o); });
}

}  // namespace negood::cli
